"""The audit on a real API server: pods that are found outside climb the ladder, others are left alone."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.residency.quarantine import BY, NETWORK_POLICY, QUARANTINED, SINCE
from bailiwick.residency.quarantine import LABELS as TAKEN
from e2e.client import ApiError, eventually
from tests.apiserver.operator_process import SYSTEM
from tests.apiserver.realm import OURS, Policy, Realm, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client
    from tests.apiserver.operator_process import OperatorProcess

pytestmark = pytest.mark.apiserver

VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
LABELS = {"app": "chat", "team": "clinic"}
FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
SOON = 15.0
"""Seconds in which a pod has to be cut off when its node has left."""
Raw = dict[str, Any]


class Shift:
    """The operator at work, one for all tests; another may take its place."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self.now: OperatorProcess = realm.operator("audit").until_leading()

    def lose(self) -> None:
        """It ends without a word. What its lease has left to run is spared."""
        self.now.kill()
        self._realm.client.delete("coordination.k8s.io/v1", "Lease", "bailiwick-operator", SYSTEM)

    def start(self) -> None:
        """Another begins, and need not lead yet."""
        self.now = self._realm.operator("next")


@pytest.fixture(scope="module", autouse=True)
def shift(cleared: Realm) -> Iterator[Shift]:
    found = Shift(cleared)
    yield found
    found.now.stop()


@pytest.fixture(scope="module")
def realm(cleared: Realm, shift: Shift) -> Iterator[Realm]:
    """Emptied once: to wait after every test until its namespaces are gone takes longer than the tests."""
    assert shift.now.ready()
    yield cleared
    cleared.clear()


@pytest.fixture(scope="module")
def forger(cleared: Realm) -> Client:
    """Somebody with the operator's token: the only one whom the in-tree policies let through."""
    return cleared.forger


def pod(realm: Realm, namespace: str, node: str, resident: str = "", /, **labels: str) -> str:
    """A pod on a node, as a scheduler of before the policy left it there, or with a policy's node label; its name."""
    name = fresh("pod")
    container = {"name": "main", "image": "registry.example/app:1"}
    realm.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "containers": [container],
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                **({"nodeSelector": {resident: "resident"}} if resident else {}),
            },
        }
    )
    # Budgets protect only what runs and is ready.
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    realm.client.patch("v1", "Pod", name, {"status": status}, namespace, subresource="status")
    return name


def there(realm: Realm, namespace: str, name: str) -> Raw:
    found: Raw = realm.client.get("v1", "Pod", name, namespace)["metadata"]
    return found


def quarantined(realm: Realm, namespace: str, name: str) -> Raw:
    """The pod's metadata; empty while it is not in quarantine."""
    found = there(realm, namespace, name)
    return found if found.get("labels", {}).get(QUARANTINED) == "true" else {}


def ending(realm: Realm, namespace: str, name: str) -> bool:
    found = realm.client.find("v1", "Pod", name, namespace)
    return found is None or "deletionTimestamp" in found["metadata"]


def wall(realm: Realm, namespace: str) -> Raw | None:
    return realm.client.find("networking.k8s.io/v1", "NetworkPolicy", NETWORK_POLICY, namespace)


def budget(realm: Realm, namespace: str) -> None:
    """A budget that lets no pod go. Its controller does not run, so its status is written here."""
    spec = {"maxUnavailable": 0, "selector": {"matchLabels": LABELS}}
    made = realm.create(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "all", "namespace": namespace},
            "spec": spec,
        }
    )
    status = {"observedGeneration": made["metadata"]["generation"], "disruptionsAllowed": 0, "currentHealthy": 1,
              "desiredHealthy": 1, "expectedPods": 1}  # fmt: skip
    realm.client.patch("policy/v1", "PodDisruptionBudget", "all", {"status": status}, namespace, subresource="status")


def settled(realm: Realm, action: str, after: str = "1h", **spec: Any) -> tuple[Policy, str, str, list[str]]:
    """A namespace with two pods on a node inside that a policy with this ladder governs."""
    node = inland(realm)
    namespace = realm.namespace()
    names = [pod(realm, namespace, node, **LABELS) for _ in range(2)]
    policy = realm.policy("DE", **spec)  # the ladder comes last: the operator may hear of the pods before their node
    realm.client.patch("v1", "Namespace", namespace, {"metadata": {"labels": policy.selects}})
    eventually(lambda: node in policy.inside(), what="the node is inside")
    eventually(lambda: policy.status()["counts"].get("pods") == 2, what="both pods are counted")
    eventually(lambda: policy.condition("Compliant")["status"] == "True", what="all are inside")
    policy.patch({"violation": {"action": action, "after": after}})
    eventually(policy.status, what="the ladder is known")
    return policy, namespace, node, names


def inland(realm: Realm) -> str:
    """A node that stands in Germany, as a statement says; its name."""
    node = realm.node()
    realm.statement(node, "DE")
    return node


def expel(realm: Realm, node: str) -> str:
    """The node leaves the territory of everybody: a second statement disputes where it stands; its name."""
    return realm.statement(node, "US")


def passed(found: Raw) -> float:
    """Seconds since a pod was found outside."""
    since = datetime.fromisoformat(found["annotations"][SINCE])
    return (datetime.now(since.tzinfo) - since).total_seconds()


def told(policy: Policy, step: str) -> list[str]:
    """The pods about which the policy's status says that a step was taken; empty until it says so of both."""
    entries = policy.status().get("violations", ())
    names = [each["pod"] for each in entries if each["step"] == step]
    return names if len(names) == 2 else []


def test_a_pod_whose_node_left_is_cut_off_within_seconds_and_let_back_in(
    realm: Realm, shift: Shift, forger: Client
) -> None:
    policy, namespace, node, (first, second) = settled(realm, "Quarantine")
    realm.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "chat", "namespace": namespace},
            "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80}]},
        }
    )
    statement = expel(realm, node)
    for name in (first, second):
        found = eventually(lambda name=name: quarantined(realm, namespace, name), what="quarantined", seconds=SOON)  # type: ignore[misc]
        assert "app" not in found["labels"]
        assert found["labels"]["team"] == "clinic"
        assert SINCE in found["annotations"]
    built = wall(realm, namespace)
    assert built
    assert built["spec"] == {
        "podSelector": {"matchLabels": {QUARANTINED: "true"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    eventually(lambda: policy.status()["counts"].get("violations") == 2, what="the status counts them")
    assert policy.condition("Compliant")["reason"] == "PodsOutside"
    eventually(
        lambda: ("Warning", "Quarantined") in realm.events("Pod", first)
        and ("Warning", "Quarantined") in realm.events("ResidencyPolicy", policy.name),
        what="pod and policy tell",
    )  # fmt: skip
    forger.delete("networking.k8s.io/v1", "NetworkPolicy", NETWORK_POLICY, namespace)
    eventually(lambda: wall(realm, namespace), what="the wall is back")
    forger.patch("v1", "Pod", first, {"metadata": {"labels": {QUARANTINED: None}}}, namespace)
    realm.client.patch("v1", "Pod", second, {"metadata": {"labels": {"app": "chat"}}}, namespace)
    eventually(lambda: quarantined(realm, namespace, first), what="the label is back")
    eventually(lambda: "app" not in there(realm, namespace, second)["labels"], what="out of the Service")
    assert not ending(realm, namespace, first)
    entries = eventually(lambda: told(policy, "Quarantine"), what="the status says the step")
    assert entries == sorted([f"{namespace}/{first}", f"{namespace}/{second}"])
    assert shift.now.labelled("bailiwick_violations", policy=policy.name) == 2
    assert shift.now.labelled("bailiwick_audit_steps_total", policy=policy.name, step="Quarantine") >= 2
    realm.client.delete(OURS, "NodeStatement", statement)
    for name in (first, second):
        eventually(lambda name=name: there(realm, namespace, name)["labels"] == LABELS, what="released")  # type: ignore[misc]
        assert not there(realm, namespace, name).get("annotations")
    assert shift.now.labelled("bailiwick_audit_steps_total", policy=policy.name, step="Release") == 2
    assert shift.now.labelled("bailiwick_violations", policy=policy.name) == 0
    eventually(lambda: not wall(realm, namespace), what="the wall is gone")
    eventually(lambda: policy.condition("Compliant")["status"] == "True", what="compliant again")


def test_a_pod_outside_is_evicted_at_the_deadline(realm: Realm) -> None:
    _, namespace, node, names = settled(realm, "Evict", "3s")
    expel(realm, node)
    found = eventually(lambda: quarantined(realm, namespace, names[0]), what="quarantined first")
    for name in names:
        eventually(lambda name=name: ending(realm, namespace, name), what="evicted")  # type: ignore[misc]
    assert passed(found) >= 3


def test_a_disruption_budget_holds_a_pod_until_the_deadline_and_no_longer(realm: Realm) -> None:
    _, namespace, node, (name, _) = settled(realm, "Delete", "5s")
    budget(realm, namespace)
    expel(realm, node)
    eventually(lambda: ending(realm, namespace, name), what="deleted in spite of the budget")
    found = there(realm, namespace, name)
    asked = datetime.fromisoformat(found["deletionTimestamp"]) - timedelta(seconds=found["deletionGracePeriodSeconds"])
    # The API server writes whole seconds.
    assert asked - datetime.fromisoformat(found["annotations"][SINCE]) > timedelta(seconds=4)
    eventually(lambda: ("Warning", "EvictionBlocked") in realm.events("Pod", name), what="the budget held it")
    eventually(lambda: ("Warning", "Deleted") in realm.events("Pod", name), what="it is told")
    for each in realm.client.list("v1", "Pod", namespace):  # no kubelet says that they ended
        realm.client.delete("v1", "Pod", each["metadata"]["name"], namespace, grace_seconds=0)


def test_a_disruption_budget_holds_a_pod_for_ever_where_only_eviction_is_allowed(realm: Realm) -> None:
    _, namespace, node, (name, _) = settled(realm, "Evict", "1s")
    budget(realm, namespace)
    expel(realm, node)
    eventually(lambda: ("Warning", "EvictionBlocked") in realm.events("Pod", name), what="the budget holds it")
    assert not ending(realm, namespace, name)


@pytest.mark.parametrize("spec", [{"action": "Report"}, {"action": "Delete", "after": "1s", "mode": "Audit"}])
def test_who_may_only_report_touches_nothing(realm: Realm, spec: Any) -> None:
    policy, namespace, node, names = settled(realm, **spec)
    before = [there(realm, namespace, name)["resourceVersion"] for name in names]
    expel(realm, node)
    eventually(lambda: policy.status()["counts"].get("violations") == 2, what="both are counted")
    eventually(lambda: realm.events("Pod", names[0]), what="the pod is reported")
    assert [there(realm, namespace, name)["resourceVersion"] for name in names] == before
    assert not wall(realm, namespace)


def test_pods_inside_ungoverned_pods_and_cordoned_nodes_are_left_alone(realm: Realm) -> None:
    policy, namespace, node, (stays, _) = settled(realm, "Delete", "1s")
    abroad = realm.node(VIRGINIA)
    free = realm.namespace()
    elsewhere = pod(realm, free, abroad)
    before = [there(realm, namespace, stays)["resourceVersion"], there(realm, free, elsewhere)["resourceVersion"]]
    realm.client.patch("v1", "Node", node, {"spec": {"unschedulable": True}})
    moved = settled(realm, "Quarantine")
    expel(realm, moved[2])
    eventually(lambda: quarantined(realm, moved[1], moved[3][0]), what="another pod is quarantined")
    assert policy.status()["counts"].get("violations") == 0
    assert before == [
        there(realm, namespace, stays)["resourceVersion"], there(realm, free, elsewhere)["resourceVersion"],
    ]  # fmt: skip


def test_members_of_a_group_share_their_fate(realm: Realm) -> None:
    inside, leaves = inland(realm), inland(realm)
    namespace = realm.namespace()
    group = {"leaderworkerset.sigs.k8s.io/group-key": "engine-0"}
    leader, worker = pod(realm, namespace, inside, **group), pod(realm, namespace, leaves, **group)
    alone = pod(realm, namespace, inside)
    policy = realm.policy("DE", violation={"action": "Quarantine"})
    realm.client.patch("v1", "Namespace", namespace, {"metadata": {"labels": policy.selects}})
    eventually(lambda: policy.inside() & policy.labelled() >= {inside, leaves}, what="both nodes are inside")
    expel(realm, leaves)
    for name in (worker, leader):
        eventually(lambda name=name: quarantined(realm, namespace, name), what="quarantined")  # type: ignore[misc]
    assert QUARANTINED not in there(realm, namespace, alone).get("labels", {})
    eventually(lambda: policy.status()["counts"].get("violations") == 1, what="one is outside")


def test_the_clock_runs_on_while_no_operator_does(realm: Realm, shift: Shift) -> None:
    _, namespace, node, (name, _) = settled(realm, "Evict", "8s")
    expel(realm, node)
    since = eventually(lambda: quarantined(realm, namespace, name), what="quarantined")["annotations"][SINCE]
    shift.lose()
    shift.start()
    shift.now.until_leading()
    begun = time.monotonic()
    written = set()
    with suppress(ApiError):  # evicted, it is gone
        while not ending(realm, namespace, name):
            written.add(there(realm, namespace, name)["annotations"][SINCE])
            # The whole of a clock that began anew would still lie ahead.
            assert time.monotonic() < begun + 8, "not evicted in time"
    assert written <= {since}


@pytest.mark.parametrize("subresource", ["", "status"])
def test_nobody_turns_back_the_clock_or_leaves_a_quarantine(realm: Realm, subresource: str) -> None:
    namespace = realm.namespace()
    name = pod(realm, namespace, realm.node(), **LABELS)
    notes = {SINCE: "2026-01-01T00:00:00Z", TAKEN: "{}", BY: "law"}
    for patch in (*({"annotations": {key: value}} for key, value in notes.items()), {"labels": {QUARANTINED: "true"}}):
        with pytest.raises(ApiError, match=r"bailiwick-quarantine.*OperatorOnly"):
            realm.client.patch("v1", "Pod", name, {"metadata": patch}, namespace, subresource=subresource)
    realm.client.patch("v1", "Pod", name, {"metadata": {"labels": {"app": "free"}}}, namespace)


def joins(realm: Realm, forger: Client, policy: Policy, namespace: str) -> str:
    """A node, and a pod on it as soon as the Territory says so, whoever wrote that; the pod's name."""
    node = realm.node(FRANKFURT)

    def bound() -> str:
        forger.patch(OURS, "Territory", policy.name, {"spec": {"nodes": {node: "DE"}}})
        return pod(realm, namespace, node, policy.label)

    return eventually(bound, what="the pod is admitted", every=0.02)


def test_a_pod_on_a_node_that_just_joined_is_never_taken_for_outside(
    realm: Realm, shift: Shift, forger: Client
) -> None:
    """Before an operator, while one begins, and beside one: Territory, node and pod come to it in any order."""
    policy, namespace, _, _ = settled(realm, "Delete", "1s")
    begin = realm.client.request("GET", f"/api/v1/namespaces/{namespace}/pods").json()["metadata"]["resourceVersion"]
    shift.lose()
    made = [joins(realm, forger, policy, namespace)]
    shift.start()
    while shift.now.metric("bailiwick_leader") != 1 or not shift.now.ready():
        made.append(joins(realm, forger, policy, namespace))
    made += [joins(realm, forger, policy, namespace) for _ in range(3)]
    eventually(lambda: policy.status()["counts"].get("pods") == 2 + len(made), what="all are counted")
    eventually(lambda: policy.status()["counts"]["violations"] == 0, what="all are inside")
    late = inland(realm)
    eventually(lambda: late in policy.inside(), what="the operator has gone on")
    history = realm.history("v1", "Pod", begin)
    seen = [each["metadata"] for _, each in history if each["metadata"]["name"] in made]
    assert {each["name"] for each in seen} == set(made)
    assert not any("deletionTimestamp" in each or QUARANTINED in each.get("labels", {}) for each in seen)
    assert all(realm.client.find("v1", "Pod", name, namespace) for name in made)


def test_volumes_and_services_that_lead_outside_are_reported(realm: Realm) -> None:
    policy, namespace, _, _ = settled(realm, "Report", mode="Audit")
    realm.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "open", "namespace": namespace},
            "spec": {"type": "NodePort", "ports": [{"port": 80}]},
        }
    )
    realm.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": fresh("volume")},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "abroad",
                "nfs": {"server": "203.0.113.1", "path": "/"}, "claimRef": {"namespace": namespace, "name": "data"},
            },
        }
    )  # fmt: skip
    policy.patch({"storage": {"classes": ["inside"]}, "network": {"services": ["ClusterIP"]}})
    eventually(lambda: policy.condition("Compliant")["reason"] == "DataPaths", what="the sweep finds both")
    message = policy.condition("Compliant")["message"]
    assert "ServiceNotAllowed" in message
    assert "ClassNotAllowed" in message
    assert policy.status()["counts"].get("violations") == 0
