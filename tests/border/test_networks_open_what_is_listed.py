"""To whom pods may open a connection (charts/bailiwick/policies/networks.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.residency.egress import network_policies
from tests.border.ground import Governed, Ground, Refusal, refused
from tests.border.stubs import serve, thing
from tests.unit.residency.given import policy

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

NETWORKS = "bailiwick-networks"
LAKE = {
    "cidr": "10.20.0.0/16",
    "ports": [
        {"protocol": "TCP", "port": 443, "endPort": 443},
        {"protocol": "TCP", "port": 8000, "endPort": 8080},
    ],
}
SHORE: dict[str, Any] = {"cidr": "192.0.2.0/24", "ports": []}
NETWORK = {"egress": [LAKE, SHORE], "services": ["ClusterIP"], "ingressClasses": [], "gatewayClasses": []}
CLEANERS = ("generic-garbage-collector", "namespace-controller")

Rule = dict[str, Any]


@pytest.fixture(scope="module")
def closed(ground: Ground) -> Governed:
    return ground.govern(network=NETWORK)


@pytest.fixture(scope="module")
def unasked(ground: Ground) -> Governed:
    return ground.govern()


def too_wide(governed: Governed) -> AbstractContextManager[Refusal]:
    return refused(NETWORKS, "EgressNotAllowed", f"{NETWORKS}.{governed.policy}")


def not_yours(governed: Governed) -> AbstractContextManager[Refusal]:
    return refused(NETWORKS, "OperatorOnly", f"{NETWORKS}.{governed.policy}")


def opening(namespace: str, *egress: Rule, name: str = "open", **metadata: Any) -> Rule:
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": list(egress)}
    where = {"name": name, "namespace": namespace, **metadata}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": where, "spec": spec}


def block(cidr: str, *ports: Rule) -> Rule:
    return {"to": [{"ipBlock": {"cidr": cidr}}], **({"ports": list(ports)} if ports else {})}


def pods_of(namespace: str, *ports: Rule) -> Rule:
    chosen = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"to": [{"namespaceSelector": chosen}], **({"ports": list(ports)} if ports else {})}


DNS = {"port": 53, "protocol": "UDP"}
TOO_WIDE: dict[str, Rule] = {
    "everything": {},
    "every port of everything": {"ports": [{"port": 443}]},
    "no peers": {"to": []},
    "the Internet": block("0.0.0.0/0"),
    "an address elsewhere": block("203.0.113.7/32", {"port": 443}),
    "more than a listed range": block("10.0.0.0/8", {"port": 443}),
    "every port of a listed range": block("10.20.0.0/16"),
    "another port": block("10.20.0.0/16", {"port": 22}),
    "another protocol": block("10.20.0.0/16", {"port": 443, "protocol": "UDP"}),
    "a range that goes beyond": block("10.20.0.0/16", {"port": 8000, "endPort": 9000}),
    "a port by name": block("10.20.0.0/16", {"port": "https"}),
    "one good and one bad": {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}, {"ipBlock": {"cidr": "198.51.100.0/24"}}]},
    "any namespace": {"to": [{"namespaceSelector": {}}]},
    "pods of another namespace": pods_of("elsewhere"),
    "whatever runs in kube-system": pods_of("kube-system"),
    "another port of kube-system": pods_of("kube-system", DNS, {"port": 443}),
}


@pytest.mark.parametrize("rule", TOO_WIDE.values(), ids=TOO_WIDE)
def test_what_opens_more_than_is_listed_is_refused(
    ground: Ground, closed: Governed, unasked: Governed, free: str, rule: Rule
) -> None:
    with too_wide(closed):
        ground.editor.create(opening(closed.namespace, rule), dry_run=True)
    for namespace in (unasked.namespace, free):
        ground.editor.create(opening(namespace, rule), dry_run=True)


WITHIN: dict[str, Rule] = {
    "own pods": {"to": [{"podSelector": {"matchLabels": {"app": "store"}}}]},
    "a listed range and port": block("10.20.0.0/16", {"port": 443}),
    "a part of a listed range": block("10.20.7.0/24", {"port": 8010, "endPort": 8020}),
    "every port where none is listed": block("192.0.2.7/32"),
    "the name service": pods_of("kube-system", DNS, {"port": 53, "protocol": "TCP"}),
}


@pytest.mark.parametrize("rule", WITHIN.values(), ids=WITHIN)
def test_what_is_listed_may_be_opened(ground: Ground, closed: Governed, rule: Rule) -> None:
    ground.editor.create(opening(closed.namespace, rule), dry_run=True)


def test_what_comes_in_is_not_its_business(ground: Ground, closed: Governed) -> None:
    ingress = opening(closed.namespace)
    ingress["spec"] = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
    ground.editor.create(ingress, dry_run=True)


def test_a_change_is_judged_and_an_old_one_can_be_taken_away(ground: Ground, closed: Governed) -> None:
    wide = opening(closed.namespace, {}, name="from-before")
    ground.operator.create(wide)
    ground.editor.patch(
        "networking.k8s.io/v1", "NetworkPolicy", "from-before", {"metadata": {"labels": {"seen": "yes"}}},
        closed.namespace,
    )  # fmt: skip
    with too_wide(closed):
        change = {"spec": {"podSelector": {"matchLabels": {"app": "all"}}}}
        ground.editor.patch("networking.k8s.io/v1", "NetworkPolicy", "from-before", change, closed.namespace)
    ground.editor.delete("networking.k8s.io/v1", "NetworkPolicy", "from-before", closed.namespace)


@pytest.mark.parametrize("name", ["bailiwick-closed", "bailiwick-egress"])
def test_what_closes_a_namespace_is_the_operators(ground: Ground, closed: Governed, name: str) -> None:
    ours = {each["metadata"]["name"]: each for each in network_policies(closed.namespace, [policy(network={})])}
    with not_yours(closed):
        ground.lite.create(ours[name])
    ground.operator.create(ours[name])
    where = ("networking.k8s.io/v1", "NetworkPolicy", name)
    for somebody in (ground.editor, ground.lite, ground.admin):
        with not_yours(closed):
            somebody.patch(*where, {"spec": {"podSelector": {"matchLabels": {"app": "none"}}}}, closed.namespace)
        with not_yours(closed):
            somebody.delete(*where, closed.namespace)
    ground.operator.delete(*where, closed.namespace)


def test_what_closes_an_engine_is_the_operators_and_goes_with_its_owner(ground: Ground, unasked: Governed) -> None:
    labels = {"app.kubernetes.io/managed-by": "bailiwick"}
    for cleaner in CLEANERS:
        ground.operator.create(opening(unasked.namespace, name="chat", labels=labels))
        where = ("networking.k8s.io/v1", "NetworkPolicy", "chat", unasked.namespace)
        with not_yours(unasked):
            ground.editor.delete(*where)
        with not_yours(unasked):
            ground.editor.patch(*where[:3], {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}, where[3])
        ground.person(f"system:serviceaccount:kube-system:{cleaner}", ["system:masters"]).delete(*where)


@pytest.mark.parametrize(
    ("group", "kind", "plural"),
    [
        ("cilium.io", "CiliumNetworkPolicy", "ciliumnetworkpolicies"),
        ("crd.projectcalico.org", "NetworkPolicy", "networkpolicies"),
        ("k8s.cni.cncf.io", "NetworkAttachmentDefinition", "network-attachment-definitions"),
    ],
)
def test_a_kind_that_opens_in_its_own_way_is_refused(  # noqa: PLR0917
    ground: Ground, closed: Governed, unasked: Governed, group: str, kind: str, plural: str
) -> None:
    serve(ground, group, kind, plural)
    with too_wide(closed):
        ground.lite.create(thing(f"{group}/v1", kind, closed.namespace, spec={}), dry_run=True)
    ground.lite.create(thing(f"{group}/v1", kind, unasked.namespace, spec={}), dry_run=True)
