"""The last release on a real API server, this one over it, and back: what people made stays, and nothing crosses."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.client import ApiError, documents, eventually
from e2e.cluster import last_release
from e2e.cluster.apiserver import ApiServer
from tests.apiserver.realm import CONTROLLERS, OURS
from tests.chart.ground_of_upgrades import MODEL, Ground, last_code, next_code, version_of
from tests.chart.helm import CHART, NAMESPACE, Helm
from tests.in_tree import needs_pin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.client import Manifest

pytestmark = [pytest.mark.apiserver, needs_pin]  # before that, the operator of 0.1.0 never leads

CHOSEN = {"operator": {"replicas": 3}, "ungoverned": "Allow"}
"""Values that an administrator of the last release chose."""
REPORTS = {
    (group, reports, verb)
    for group, reports in (("openreports.io", "reports"), ("wgpolicyk8s.io", "policyreports"))
    for verb in ("get", "list", "watch", "create", "patch", "delete")
}
NEW_RIGHTS = {"": REPORTS, "--reuse-values": set()}
"""Flags of `helm upgrade`, and what the operator may do then that the last release's may not."""
LEFT_OUT: set[tuple[str, str]] = set()
"""What the last release's chart makes and this one's does not; docs/upgrade.md names it."""


@pytest.fixture(scope="module")
def ground(helm: Helm) -> Iterator[Ground]:
    """The last release at work: a policy in force, a model with its children, a waiver."""
    server = ApiServer.start()
    try:
        server.start_controller_manager(CONTROLLERS)
        laid = Ground.lay(server, Helm(helm.program, helm.home, server.kubeconfig()), **CHOSEN)
        laid.leader = laid.start("last", last_code())
        try:
            laid.leader.until_leading()
            laid.policy.in_force()
            eventually(lambda: laid.realm.marked(laid.namespace), what="the namespace is marked")
            laid.closed()
            laid.realm.model(laid.namespace, MODEL)
            laid.realm.served(laid.namespace, MODEL)
            laid.runs()
            laid.stands()
            laid.enforced()
            yield laid
        finally:
            laid.leader.stop()
    finally:
        server.stop()


def rights(ground: Ground) -> set[tuple[str, str, str]]:
    """The groups and resources that the chart lets the operator do something with in the whole cluster, and what."""
    rules = ground.realm.client.get("rbac.authorization.k8s.io/v1", "ClusterRole", "bailiwick-operator")["rules"]
    return {
        (group, each, verb)
        for rule in rules
        for group in rule.get("apiGroups", ())
        for each in rule["resources"]
        for verb in rule["verbs"]
    }


def chart_there(ground: Ground) -> str:
    """The version of the chart that is installed, by the label of its Deployment; the values chosen must be there."""
    deployment = ground.realm.client.get("apps/v1", "Deployment", "bailiwick-operator", NAMESPACE)
    assert deployment["spec"]["replicas"] == CHOSEN["operator"]["replicas"]  # type: ignore[index]
    given = {each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert given["BAILIWICK_UNGOVERNED"] == CHOSEN["ungoverned"]
    return str(deployment["metadata"]["labels"]["helm.sh/chart"])


def made_by(ground: Ground, *revision: str) -> dict[tuple[str, str], Any]:
    """What one revision of the release holds, by kind and name; without one, the newest."""
    return {(each["kind"], each["metadata"]["name"]): each for each in ground.helm.manifest(*revision)}


def test_the_two_operators_are_of_two_releases() -> None:
    assert version_of(last_code()) == f"bailiwick {last_release.version()}"
    assert version_of(next_code()) == f"bailiwick {yaml.safe_load((CHART / 'Chart.yaml').read_text())['version']}"
    assert version_of(last_code()) != version_of(next_code())


@pytest.mark.parametrize("flag", NEW_RIGHTS, ids=lambda flag: flag or "no flag")
def test_an_upgrade_and_a_rollback_keep_everything_and_let_nothing_cross(ground: Ground, flag: str) -> None:
    before, knew = ground.objects(), rights(ground)
    with ground.trespasser() as trespasser:
        ground.upgrade(CHART, *flag.split())
        assert chart_there(ground) == f"bailiwick-{version_of(next_code()).split()[1]}"
        assert rights(ground) - knew == NEW_RIGHTS[flag]
        ground.stands()  # the last release's operator leads still, under the new chart
        assert ground.objects() == before
        upgraded = ground.hand_over("next", next_code())
        ground.proved_anew()
        ground.stands()
        assert ground.objects() == before, "not so much as a pod template is another"
        counted = partial(upgraded.labelled, "bailiwick_api_requests_total", verb="patch", resource="leases")
        eventually(counted, what="what it writes is counted")  # it may have nothing to write but that it leads
        assert all(kind.endswith("/status") for _, kind in upgraded.writes())
        ground.acts()
        ground.helm.run("rollback", "bailiwick", "1", f"--namespace={NAMESPACE}")
        assert chart_there(ground) == f"bailiwick-{last_release.version()}"
        assert rights(ground) == knew
        ground.hand_over("last-again", last_code())
        ground.proved_anew()
        ground.stands()
        assert ground.objects() == before
        ground.acts()
    assert trespasser.tried > 50
    assert trespasser.crossed == []
    assert trespasser.otherwise == []
    assert trespasser.turned_away == []


def test_what_the_new_chart_leaves_out_is_told_and_however_values_are_kept_they_are_those_of_no_flag(
    ground: Ground, tmp_path: Path
) -> None:
    ground.upgrade(CHART)
    plain = made_by(ground)
    assert made_by(ground, "--revision=1").keys() - plain.keys() == LEFT_OUT
    page = (CHART.parents[1] / "docs/upgrade.md").read_text()
    assert all(name in page for _, name in LEFT_OUT)
    ground.upgrade(CHART, "--reset-then-reuse-values")
    assert made_by(ground) == plain
    chosen = ground.helm.run("get", "values", "bailiwick", f"--namespace={NAMESPACE}", "-o", "yaml")
    assert yaml.safe_load(chosen) == CHOSEN
    (values := tmp_path / "values.yaml").write_text(chosen)
    ground.upgrade(CHART, "-f", str(values))
    assert made_by(ground) == plain
    assert chart_there(ground)


def test_a_kind_that_was_there_is_served_in_every_version_that_it_had(ground: Ground) -> None:
    ground.upgrade(CHART)
    for file in (last_release.chart() / "files/crds").glob("*.yaml"):
        (crd,) = documents(file)
        live = ground.realm.client.get(crd["apiVersion"], crd["kind"], crd["metadata"]["name"])
        served = {each["name"] for each in live["spec"]["versions"] if each["served"]}
        assert {each["name"] for each in crd["spec"]["versions"] if each["served"]} <= served
        assert set(live["status"]["storedVersions"]) <= {each["name"] for each in live["spec"]["versions"]}


def loosened(ground: Ground) -> Manifest:
    """The kind of policies as Helm keeps it, but for a mode more."""
    kind: Manifest = made_by(ground)["CustomResourceDefinition", "residencypolicies.bailiwick.dev"]
    spec = kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["mode"]["enum"].append("Hesitate")
    return kind


def told(ground: Ground) -> dict[str, tuple[str, str]]:
    """Status and reason of the policy's conditions."""
    return {each["type"]: (each["status"], each["reason"]) for each in ground.policy.status()["conditions"]}


def hesitates(ground: Ground) -> bool:
    """Whether the API server takes the mode now."""
    ground.policy.patch({"mode": "Hesitate"})
    return True


def hesitates_no_more(ground: Ground) -> bool:
    """Whether the API server refuses the mode now."""
    spec = {"namespaceSelector": {"matchLabels": {"data": "none"}}, "place": {"allow": ["DE"]}, "mode": "Hesitate"}
    policy = {"apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": {"name": "hesitant"}, "spec": spec}
    try:
        ground.realm.client.create(policy, dry_run=True)
    except ApiError as error:
        return 'Unsupported value: "Hesitate"' in error.message
    return False


def models_reason(ground: Ground) -> str:
    """Why the model is not planned."""
    return str(ground.realm.condition("SovereignModel", "Planned", MODEL, ground.namespace)["reason"])


def test_a_policy_that_the_new_release_cannot_read_goes_on_refusing_and_says_why(ground: Ground) -> None:
    """As if its kind had taken before what it takes no more: the upgrade goes through, and nobody claims a border."""
    before = ground.objects()
    ground.leader.stop()
    ground.realm.client.apply(loosened(ground), manager="helm")
    ground.without_webhook()
    eventually(lambda: hesitates(ground), what="the mode is taken")
    with ground.trespasser() as trespasser:
        ground.upgrade(CHART)
        ground.without_webhook()
        eventually(lambda: hesitates_no_more(ground), what="the mode is taken no more")
        ground.leader = ground.start("next", next_code())
        ground.leader.until_leading()
        eventually(lambda: told(ground)["Ready"] == ("False", "InvalidPolicy"), what="the policy says why")
        assert told(ground)["Enforced"] == ("Unknown", "NotProved")
        eventually(lambda: models_reason(ground) == "InvalidPolicy", what="the model is looked at, and stays")
        eventually(lambda: ground.policy.inside() == {ground.inside}, what="who has a waiver leaves")
        seen = trespasser.tried
        eventually(lambda: trespasser.tried > seen + 20, what="more attempts")
        changed = {identity for identity, each in ground.objects().items() if before.get(identity) != each}
        of_it = {(kind, "", ground.policy.name) for kind in ("ResidencyPolicy", "Territory")}
        assert changed == of_it, "the other policy allows more by itself"
        assert ground.objects().keys() == before.keys()
    assert trespasser.crossed == []
    assert trespasser.turned_away == []
    ground.policy.patch({"mode": "Enforce"})
    ground.stands()
    assert ground.objects() == before
