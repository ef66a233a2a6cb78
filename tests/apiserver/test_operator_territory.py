"""The territory loop on a real API server: from policies and nodes to the border, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import eventually
from tests.apiserver.realm import ADMISSION, ENFORCED, GUARDS, MUTATING, OURS, VALIDATING, Realm
from tests.in_tree import PINS

if TYPE_CHECKING:
    from tests.apiserver.operator_process import OperatorProcess

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
GUARD = "bailiwick-namespaces"


def eligible(realm: Realm, namespace: str) -> int:
    """How many nodes could run the model, by its status."""
    status: dict[str, Any] = realm.client.get(OURS, "SovereignModel", "chat", namespace)["status"]
    return int(status["nodes"]["eligible"])


@pytest.fixture(autouse=True)
def _at_work(operator: OperatorProcess) -> None:
    """The operator works in every test of this module."""


def test_a_policy_becomes_a_border(realm: Realm) -> None:
    frankfurt, stated = realm.node(FRANKFURT), realm.node()
    realm.statement(stated, "DE-BY")
    abroad, unknown = realm.node(VIRGINIA), realm.node()
    policy = realm.policy("DE")
    namespace = realm.namespace(policy.selects)
    policy.holds(frankfurt, stated)
    territory = realm.find("Territory", policy.name)
    assert territory
    assert territory["spec"]["nodes"] == {frankfurt: "DE", stated: "DE-BY"}
    assert policy.in_force().bindings().keys() == ENFORCED
    assert realm.client.get(ADMISSION, VALIDATING, GUARD)["spec"]["validationActions"] == ["Deny", "Audit"]
    labels = eventually(
        lambda: (found := realm.client.get("v1", "Namespace", namespace)["metadata"]["labels"])
        and found.get("bailiwick.dev/governed") and found, what="the namespace is marked",
    )  # fmt: skip
    assert labels["bailiwick.dev/governed"] == "true"
    counts = {"namespaces": 1, "nodes": 2, "nodesOutside": 2, "pods": 0, "violations": 0}
    eventually(lambda: policy.status()["counts"] == counts, what="the status counts")
    reasons = policy.outside()
    assert reasons == {"WrongPlace": [abroad], "PlaceUnknown": [unknown]}
    assert policy.status()["digest"] == territory["spec"]["digest"]
    assert {each["type"]: each["status"] for each in policy.status()["conditions"]} == {
        "Accepted": "True", "Enforced": "Unknown", "Compliant": "True", "Ready": "True",
    }  # fmt: skip


def test_a_better_assurance_than_anybody_gives_leaves_nobody_inside(realm: Realm) -> None:
    node = realm.node()
    realm.statement(node, "DE")
    policy = realm.policy("DE", place={"assurance": "Verified"})
    policy.in_force().holds()
    assert policy.condition("Ready")["reason"] == "NoNodeInside"
    assert list(policy.outside()) == ["AssuranceTooLow"]


def test_a_node_is_labelled_before_it_is_inside_and_leaves_before_its_label_goes(realm: Realm) -> None:
    node = realm.node()
    since = realm.client.get("v1", "Node", node)["metadata"]["resourceVersion"]
    policy = realm.policy("DE")
    policy.in_force().holds()
    statement = realm.statement(node, "DE")
    policy.holds(node)
    realm.client.delete(OURS, "NodeStatement", statement)
    policy.holds()
    labelled = [
        (revision, policy.label in each["metadata"].get("labels", {}))
        for revision, each in realm.history("v1", "Node", since)
        if each["metadata"]["name"] == node
    ]
    inside = [
        (revision, node in each["spec"].get("nodes", {}))
        for revision, each in realm.history(OURS, "Territory", since)
        if each["metadata"]["name"] == policy.name
    ]
    first_label = min(revision for revision, there in labelled if there)
    last_label = max(revision for revision, there in labelled if not there)
    first_inside = min(revision for revision, there in inside if there)
    last_inside = max(revision for revision, there in inside if not there)
    assert first_label < first_inside < last_inside < last_label


def test_a_statement_that_expires_puts_its_node_and_its_models_out_without_any_event(realm: Realm) -> None:
    node = realm.node()
    policy = realm.policy("DE")
    policy.in_force()
    namespace = realm.namespace(policy.selects)
    realm.statement(node, "DE", seconds=30)
    policy.holds(node)
    eventually(lambda: realm.model(namespace), what="the model is admitted")
    realm.served(namespace)
    assert eligible(realm, namespace) == 1
    eventually(lambda: not policy.inside(), what="the statement ends", seconds=50)
    policy.holds()
    eventually(lambda: "StatementExpired" in policy.outside(), what="the status says why")
    eventually(lambda: eligible(realm, namespace) == 0, what="the model's status says it too", seconds=10)
    assert realm.condition("SovereignModel", "Placed", "chat", namespace)["reason"] == "NoEligibleNode"


def test_a_statement_that_becomes_too_old_for_a_policy_puts_its_node_and_its_models_out(realm: Realm) -> None:
    node = realm.node()
    realm.statement(node, "DE")  # issued an hour ago
    policy = realm.policy("DE", place={"maxAge": "3630s"})
    policy.in_force().holds(node)
    namespace = realm.namespace(policy.selects)
    eventually(lambda: realm.model(namespace), what="the model is admitted")
    realm.served(namespace)
    assert eligible(realm, namespace) == 1
    eventually(lambda: not policy.inside(), what="the statement is too old", seconds=50)
    policy.holds()
    eventually(lambda: eligible(realm, namespace) == 0, what="the model's status says it too", seconds=10)


def test_a_list_that_becomes_empty_allows_nothing_any_more(realm: Realm) -> None:
    rules = {
        "models": {"sources": ["oci://registry.example/"]},
        "images": {"registries": ["registry.example/"]},
        "storage": {"classes": ["fast"]},
        "network": {"services": ["NodePort"]},
    }
    policy = realm.policy("DE", **rules)
    policy.in_force()
    policy.patch({kind: {name: [] for name in lists} for kind, lists in rules.items()})

    def emptied() -> bool:
        spec = (realm.find("Territory", policy.name) or {})["spec"]
        found = (spec["models"]["sources"], spec["images"]["registries"], spec["storage"]["classes"])
        return (*found, spec["network"]["services"]) == ([], [], [], [])

    eventually(emptied, what="the Territory allows nothing")


def test_a_policy_says_where_pods_must_pin_themselves(realm: Realm) -> None:
    realm.node(FRANKFURT)
    policy = realm.policy("DE")
    eventually(lambda: policy.condition("Ready")["status"] == "True", what="the policy is ready")
    assert ("bailiwick-pin is not there" in policy.condition("Ready")["message"]) is not PINS


def test_another_mode_changes_what_the_bindings_do_and_pins_nothing(realm: Realm) -> None:
    policy = realm.policy("DE")
    policy.in_force()
    eventually(lambda: policy.bindings().keys() == ENFORCED, what="pods are pinned")
    policy.patch({"mode": "Audit"})
    eventually(lambda: policy.bindings().keys() == set(GUARDS), what="the pin goes")
    eventually(
        lambda: all(each["spec"]["validationActions"] == ["Audit"] for each in policy.bindings().values()),
        what="every guard only audits",
    )
    policy.patch({"mode": "Enforce"})
    eventually(lambda: policy.bindings().keys() == ENFORCED, what="the pin comes back")
    eventually(
        lambda: policy.bindings()["bailiwick-pods"]["spec"]["validationActions"] == ["Deny", "Audit"],
        what="pods are denied again",
    )


def test_what_somebody_deletes_of_a_border_comes_back(realm: Realm) -> None:
    node = realm.node(FRANKFURT)
    policy = realm.policy("DE")
    policy.in_force().holds(node)
    # Only who got hold of the operator's token can do that.
    realm.forger.delete(OURS, "Territory", policy.name)
    for guard in GUARDS:
        realm.client.delete(ADMISSION, VALIDATING, f"{guard}.{policy.name}")
    if PINS:
        realm.client.delete(ADMISSION, MUTATING, f"bailiwick-pin.{policy.name}")
    realm.client.delete(ADMISSION, VALIDATING, GUARD)
    eventually(lambda: policy.bindings().keys() == ENFORCED, what="the bindings come back")
    policy.holds(node)
    eventually(lambda: realm.client.find(ADMISSION, VALIDATING, GUARD), what="the guard of labels comes back")


def test_what_somebody_writes_into_a_border_is_undone(realm: Realm) -> None:
    inside, abroad = realm.node(FRANKFURT), realm.node(VIRGINIA)
    policy = realm.policy("DE")
    policy.in_force().holds(inside)
    operator = realm.forger
    operator.patch(OURS, "Territory", policy.name, {"spec": {"nodes": {abroad: "DE"}}})
    operator.patch("v1", "Node", abroad, {"metadata": {"labels": {policy.label: "resident"}}})
    operator.patch("v1", "Node", inside, {"metadata": {"labels": {policy.label: "no"}}})
    operator.patch(
        ADMISSION, VALIDATING, f"bailiwick-pods.{policy.name}",
        {"spec": {"validationActions": ["Audit"], "matchResources": {"excludeResourceRules": [
            {"apiGroups": [""], "apiVersions": ["*"], "operations": ["*"], "resources": ["pods"]}]}}},
    )  # fmt: skip
    policy.holds(inside)

    def restored() -> bool:
        spec = policy.bindings()["bailiwick-pods"]["spec"]
        return spec["validationActions"] == ["Deny", "Audit"] and not spec["matchResources"].get("excludeResourceRules")

    eventually(restored, what="the binding is as it was")


def test_a_namespace_that_nobody_governs_loses_the_mark(realm: Realm) -> None:
    policy = realm.policy("DE")
    policy.in_force()
    namespace = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(namespace), what="the namespace is marked")
    realm.client.patch("v1", "Namespace", namespace, {"metadata": {"labels": {"data": None}}})
    eventually(lambda: not realm.marked(namespace), what="the mark goes")


def test_a_jurisdiction_that_nobody_defines_lets_nobody_in_until_somebody_does(realm: Realm) -> None:
    node = realm.node(FRANKFURT)
    policy = realm.policy("NOWHERE")
    policy.in_force().holds()
    assert policy.condition("Accepted")["status"] == "False"
    assert "NOWHERE" in policy.condition("Accepted")["message"]
    assert policy.condition("Ready")["reason"] == policy.condition("Accepted")["reason"] == "UnknownJurisdiction"
    spec = {"members": ["DE"], "asOf": "2026-01-01", "source": "a test"}
    realm.create({"apiVersion": OURS, "kind": "Jurisdiction", "metadata": {"name": "nowhere"}, "spec": spec})
    policy.holds(node)
    eventually(lambda: policy.condition("Ready")["status"] == "True", what="the policy is ready")


def test_the_end_of_the_last_policy_frees_the_labels_of_namespaces(realm: Realm) -> None:
    assert not realm.client.list(OURS, "ResidencyPolicy"), "this test needs to have the only policy"
    node = realm.node(FRANKFURT)
    policy = realm.policy("DE")
    policy.in_force().holds(node)
    namespace = realm.namespace(policy.selects)
    eventually(lambda: realm.client.find(ADMISSION, VALIDATING, GUARD), what="labels of namespaces are guarded")
    tenant = realm.server.as_user("jane", ["system:masters"])
    new = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jane"}}
    policy.delete()
    while realm.find("Territory", policy.name):
        assert tenant.create(new, dry_run=True), "nobody is refused while the border goes"
    for _ in range(100):
        assert tenant.create(new, dry_run=True), "nor after it"
    policy.withdrawn()
    assert realm.client.find(ADMISSION, VALIDATING, GUARD) is None
    labels = realm.client.get("v1", "Namespace", namespace)["metadata"]["labels"]
    assert "bailiwick.dev/governed" not in labels
    change = {"metadata": {"labels": {"data": None}}}
    eventually(lambda: tenant.patch("v1", "Namespace", namespace, change), what="labels can be changed")


def test_events_tell_what_turned_and_nothing_twice(realm: Realm) -> None:
    node = realm.node()
    policy = realm.policy("DE")
    policy.in_force()
    statement = realm.statement(node, "DE")
    policy.holds(node)
    policy.patch({"mode": "Warn"})  # changes the status, and turns nothing
    eventually(lambda: "mode Warn" in policy.condition("Ready")["message"], what="the status tells the mode")
    realm.client.delete(OURS, "NodeStatement", statement)
    expected = [("Normal", "Accepted"), ("Normal", "Compliant"), ("Normal", "InForce"), ("Warning", "NoNodeInside")]
    eventually(lambda: realm.events("ResidencyPolicy", policy.name) == expected, what="four Events")
