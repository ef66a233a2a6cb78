"""Only the operator draws the border (charts/bailiwick/policies/territories.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.api.resource import API_VERSION
from tests.border.ground import Governed, Ground, refused, territory

if TYPE_CHECKING:
    from e2e.client import Client

TERRITORIES = "bailiwick-territories"
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
API_SERVICE = ("apiregistration.k8s.io/v1", "APIService")


@pytest.fixture(params=["lite", "admin", "garbage collector"])
def who(request: pytest.FixtureRequest, ground: Ground) -> Client:
    if request.param == "garbage collector":
        account = "system:serviceaccount:kube-system:generic-garbage-collector"
        return ground.person(account, ["system:masters"])
    client: Client = getattr(ground, request.param)
    return client


def test_nobody_else_writes_a_territory(who: Client, health: Governed) -> None:
    wider = {"spec": {"nodes": {health.abroad: "DE"}}}
    with refused(TERRITORIES, "OperatorOnly") as refusal:
        who.patch(API_VERSION, "Territory", health.policy, wider, dry_run=True)
    assert f"asks to update Territory {health.policy}; change the ResidencyPolicy" in refusal.message
    with refused(TERRITORIES, "OperatorOnly"):
        who.apply(territory(health, nodes={health.abroad: "DE"}), manager="bailiwick", dry_run=True)
    with refused(TERRITORIES, "OperatorOnly"):
        who.patch(API_VERSION, "Territory", health.policy, {"metadata": {"ownerReferences": None}}, dry_run=True)


def test_nobody_else_makes_a_territory(who: Client, health: Governed) -> None:
    own = Governed("smugglers", health.namespace, health.abroad, health.inside)
    with refused(TERRITORIES, "OperatorOnly"):
        who.create(territory(own), dry_run=True)


def test_nobody_else_deletes_a_territory(who: Client, health: Governed, ground: Ground) -> None:
    with refused(TERRITORIES, "OperatorOnly"):
        who.delete(API_VERSION, "Territory", health.policy)
    with refused(TERRITORIES, "OperatorOnly"):
        who.delete_all(API_VERSION, "Territory")
    assert ground.admin.get(API_VERSION, "Territory", health.policy)["spec"]["nodes"] == {health.inside: "DE"}


@pytest.mark.parametrize("which", ["one", "all"])
def test_nobody_deletes_all_of_them_with_their_crd(who: Client, health: Governed, ground: Ground, which: str) -> None:
    with refused(TERRITORIES, "OperatorOnly") as refusal:
        if which == "one":
            who.delete(*CRD, "territories.bailiwick.dev")
        else:
            path = who.path(*CRD)
            who.request("DELETE", path, params={"fieldSelector": "metadata.name=territories.bailiwick.dev"})
    assert "asks to delete CustomResourceDefinition territories.bailiwick.dev; to remove" in refusal.message
    assert "deletionTimestamp" not in ground.admin.get(*CRD, "territories.bailiwick.dev")["metadata"]


@pytest.mark.parametrize("plural", ["residencypolicies", "jurisdictions", "authorities"])
@pytest.mark.usefixtures("health")
def test_a_kind_that_the_border_is_compiled_from_keeps_its_crd(ground: Ground, plural: str) -> None:
    """With its kind every policy would go, and the operator would withdraw the border; so it would for a lost field."""
    name = f"{plural}.bailiwick.dev"
    with refused(TERRITORIES, "OperatorOnly"):
        ground.lite.request("DELETE", ground.lite.path(*CRD, name=name), params={"dryRun": "All"})
    loose = ground.admin.get(*CRD, name)
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    loose["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": anything}
    with refused(TERRITORIES, "OperatorOnly"):
        ground.lite.replace(loose, dry_run=True)
    ground.admin.replace(loose, dry_run=True)  # an upgrade
    ground.lite.patch(*CRD, name, {"metadata": {"annotations": {"team": "a"}}}, dry_run=True)


@pytest.mark.parametrize("name", ["v1alpha1.bailiwick.dev", "v1.admissionregistration.k8s.io", "v1."])
def test_no_other_program_serves_what_the_border_is_read_from(who: Client, name: str) -> None:
    """The API server would ask it for Territories, policies and the labels of namespaces."""
    service = {"name": "impostor", "namespace": "default", "port": 443}
    unmanaged = {"labels": {"kube-aggregator.kubernetes.io/automanaged": None}}
    taken = {"metadata": unmanaged, "spec": {"service": service, "insecureSkipTLSVerify": True}}
    with refused(TERRITORIES, "OperatorOnly") as refusal:
        who.patch(*API_SERVICE, name, taken, dry_run=True)
    assert f"asks to update APIService {name} with a spec.service; leave that out" in refusal.message
    who.patch(*API_SERVICE, name, {"metadata": {"annotations": {"team": "a"}}}, dry_run=True)


def test_other_groups_are_served_by_whom_they_like(ground: Ground) -> None:
    service = {"name": "metrics-server", "namespace": "kube-system", "port": 443}
    spec = {
        "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "service": service, "insecureSkipTLSVerify": True,
    }  # fmt: skip
    metadata = {"name": "v1beta1.metrics.k8s.io"}
    made = {"apiVersion": API_SERVICE[0], "kind": API_SERVICE[1], "metadata": metadata, "spec": spec}
    ground.lite.create(made, dry_run=True)
    spec["group"], metadata["name"] = "bailiwick.dev", "v1beta1.bailiwick.dev"
    with refused(TERRITORIES, "OperatorOnly"):
        ground.lite.create(made, dry_run=True)


def test_other_crds_are_not_ours_to_guard(ground: Ground) -> None:
    names = {"plural": "boats", "singular": "boat", "kind": "Boat"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]}
    ground.lite.create({"apiVersion": CRD[0], "kind": CRD[1], "metadata": {"name": "boats.example.com"}, "spec": spec})
    ground.lite.delete(*CRD, "boats.example.com")


def test_the_operator_does(ground: Ground, health: Governed) -> None:
    ground.operator.apply(territory(health, nodes={health.inside: "AT"}), dry_run=True)
    own = Governed("harbour", health.namespace, health.inside, health.abroad)
    ground.operator.apply(territory(own))
    ground.operator.delete(API_VERSION, "Territory", "harbour")
    assert ground.admin.find(API_VERSION, "Territory", "harbour") is None


def test_everybody_may_look(ground: Ground, health: Governed) -> None:
    assert ground.lite.get(API_VERSION, "Territory", health.policy)["spec"]["policy"] == health.policy
