"""The NetworkPolicies by which the operator closes governed namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.client import eventually

if TYPE_CHECKING:
    from e2e.client import Manifest
    from tests.apiserver.realm import Policy, Realm

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("operator")]

NETWORKING = "networking.k8s.io/v1"
CLOSED, EGRESS = "bailiwick-closed", "bailiwick-egress"
LAKE, SHORE, SEA = "10.20.0.0/16", "10.20.30.0/24", "192.0.2.0/24"


def both_there(realm: Realm, namespace: str) -> dict[str, Manifest]:
    found = {name: realm.client.find(NETWORKING, "NetworkPolicy", name, namespace) for name in (CLOSED, EGRESS)}
    return {name: manifest for name, manifest in found.items() if manifest}


def open_to(realm: Realm, namespace: str) -> set[str]:
    """The address ranges that pods of a namespace may reach; AssertionError when it is not closed at all."""
    made = both_there(realm, namespace)
    assert made.keys() == {CLOSED, EGRESS}, made.keys()
    peers = [peer for rule in made[EGRESS]["spec"]["egress"] for peer in rule.get("to", ())]
    return {peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer}


def egress(*cidrs: str) -> Manifest:
    return {"egress": [{"cidr": cidr} for cidr in cidrs]}


def reached(realm: Realm, namespace: str, *cidrs: str) -> None:
    eventually(lambda: open_to(realm, namespace) == set(cidrs), what=f"pods of {namespace} reach {cidrs}")


def untouched(realm: Realm, namespace: str) -> None:
    eventually(lambda: not both_there(realm, namespace), what=f"nothing closes {namespace}")


@pytest.fixture
def law(realm: Realm) -> Policy:
    return realm.policy("DE", network=egress(LAKE, SEA)).in_force()


def test_a_governed_namespace_is_closed_but_for_what_its_policy_lists(realm: Realm, law: Policy) -> None:
    namespace, other = realm.namespace(law.selects), realm.namespace()
    reached(realm, namespace, LAKE, SEA)
    untouched(realm, other)
    law.patch({"network": egress(SEA)})
    reached(realm, namespace, SEA)


def test_two_policies_open_what_both_list_and_the_end_of_one_opens_what_the_other_lists(
    realm: Realm, law: Policy
) -> None:
    second = realm.policy("DE", network=egress(SHORE)).in_force()
    second.patch({"namespaceSelector": {"matchLabels": law.selects}})
    namespace = realm.namespace(law.selects)
    reached(realm, namespace, SHORE)
    second.delete()
    reached(realm, namespace, LAKE, SEA)
    law.delete()
    untouched(realm, namespace)


def test_a_policy_that_only_watches_or_does_not_ask_closes_nothing(realm: Realm) -> None:
    watching = realm.policy("DE", network=egress(), mode="Audit")
    silent = realm.policy("DE").in_force()
    namespaces = [realm.namespace(watching.selects), realm.namespace(silent.selects)]
    eventually(lambda: all(realm.marked(namespace) for namespace in namespaces), what="both are governed")
    watching.patch({"mode": "Enforce"})
    reached(realm, namespaces[0])
    watching.patch({"mode": "Warn"})
    untouched(realm, namespaces[0])
    untouched(realm, namespaces[1])


def test_what_is_deleted_or_changed_comes_back(realm: Realm, law: Policy) -> None:
    namespace = realm.namespace(law.selects)
    reached(realm, namespace, LAKE, SEA)
    realm.forger.delete(NETWORKING, "NetworkPolicy", CLOSED, namespace)
    realm.forger.patch(NETWORKING, "NetworkPolicy", EGRESS, {"spec": {"egress": [{}]}}, namespace)
    reached(realm, namespace, LAKE, SEA)
    eventually(lambda: {} not in both_there(realm, namespace)[EGRESS]["spec"]["egress"], what="it is closed again")


def test_a_namespace_that_ends_troubles_nobody(realm: Realm, law: Policy) -> None:
    ending, staying = realm.namespace(law.selects), realm.namespace(law.selects)
    reached(realm, ending, LAKE, SEA)
    realm.client.delete("v1", "Namespace", ending)
    law.patch({"network": egress(SEA)})
    reached(realm, staying, SEA)
    seen = eventually(lambda: law.condition("Ready"), what="the change is seen")
    assert seen["reason"] != "NotWritten"
    eventually(lambda: not realm.client.find("v1", "Namespace", ending), what="the namespace is gone")
