"""Waivers on a real API server, with the operator at work: who gets in by them, and how that ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError, eventually
from tests.apiserver.realm import OURS, Realm, fresh, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client, Manifest
    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Policy

pytestmark = pytest.mark.apiserver

VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
BARE = "bare://rack-1/7"
TERMS = {"approvals": 2, "maxDuration": "4h"}


@pytest.fixture(autouse=True)
def _at_work(operator: OperatorProcess) -> None:
    """The operator works in every test of this module."""


@dataclass(slots=True)
class People:
    """Those who ask and approve. All of them may do everything; the border is not about their rights."""

    realm: Realm
    known: dict[str, Client]

    def named(self, name: str) -> Client:
        if name not in self.known:
            self.known[name] = self.realm.client.impersonate(name, ["system:masters"])
        return self.known[name]

    def ask(self, policy: Policy, node: str, *lifts: str, name: str = "", seconds: float = 3600) -> Manifest:
        """Anna asks for a waiver of a node that has a providerID; the waiver."""
        machine = self.realm.client.get("v1", "Node", node)["spec"]["providerID"]
        now = datetime.now(UTC)
        spec = {
            "policy": policy.name,
            "requester": "anna",
            "node": {"name": node, "providerID": machine},
            "dimensions": list(lifts),
            "reason": "a test",
            "notBefore": stamp(now - timedelta(hours=1)),
            "expiresAt": stamp(now + timedelta(seconds=seconds)),
        }
        return self._made("anna", "ResidencyWaiver", name or fresh("waiver"), spec)

    def approve(self, waiver: Manifest, *approvers: str, **spec: Any) -> list[str]:
        """Everybody approves of a waiver; names of the approvals."""
        of = waiver["metadata"]
        whole = {"waiver": of["name"], "waiverUID": of["uid"], "requester": "anna", **spec}
        return [
            self._made(each, "WaiverApproval", fresh("approval"), {**whole, "approver": each})["metadata"]["name"]
            for each in approvers
        ]

    def _made(self, by: str, kind: str, name: str, spec: Manifest) -> Manifest:
        made = self.named(by).create({"apiVersion": OURS, "kind": kind, "metadata": {"name": name}, "spec": spec})
        self.realm.made.append((OURS, kind, name, None))
        return made


@pytest.fixture
def people(realm: Realm) -> Iterator[People]:
    made = People(realm, {})
    yield made
    for client in made.known.values():
        client.close()


def stated(realm: Realm, waiver: Manifest) -> dict[str, tuple[str, str]]:
    """Status and reason of the conditions of a waiver; AssertionError while they are not up to date."""
    name = waiver["metadata"]["name"]
    return {
        aspect: (found["status"], found["reason"])
        for aspect in ("Approved", "Active", "Ready")
        for found in [realm.condition("ResidencyWaiver", aspect, name)]
    }


def says(realm: Realm, waiver: Manifest, **conditions: tuple[str, str]) -> None:
    """Wait until these conditions of a waiver are so."""

    def so() -> bool:
        seen = stated(realm, waiver)
        assert conditions.items() <= seen.items(), seen
        return True

    eventually(so, what=f"{waiver['metadata']['name']} says {conditions}")


def bind(realm: Realm, policy: Policy, namespace: str, node: str) -> None:
    """Send a new pod to a node, as a scheduler would; by dry run, because nobody is there who would end the pod."""
    name = fresh("pod")
    container = {"name": "main", "image": "registry.example/image"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], "nodeSelector": {policy.label: "resident"}},
    }
    realm.create(pod)
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace}}
    realm.client.create({**binding, "target": target}, subresource="binding", dry_run=True)


def test_a_waiver_needs_others_puts_its_machine_inside_and_ends_by_itself(
    realm: Realm, people: People, operator: OperatorProcess
) -> None:
    node = realm.node(VIRGINIA)
    policy = realm.policy("DE", waivers=TERMS).in_force()
    namespace = realm.namespace(policy.selects)
    waiver = people.ask(policy, node, "place", seconds=30)
    ends = datetime.fromisoformat(waiver["spec"]["expiresAt"])
    people.approve(waiver, "bert")
    # Neither by lying about who asked, nor twice, does anybody become the second.
    people.approve(waiver, "anna", requester="somebody")
    people.approve(waiver, "bert")
    says(realm, waiver, Approved=("False", "ApprovalsMissing"), Active=("False", "NotApproved"))
    policy.holds()

    people.approve(waiver, "cleo")
    policy.holds(node)
    territory = realm.find("Territory", policy.name)
    assert territory
    assert territory["spec"]["nodes"] == {node: "US"}
    assert territory["spec"]["waived"] == {node: waiver["metadata"]["name"]}
    says(realm, waiver, Approved=("True", "Approved"), Active=("True", "InForce"), Ready=("True", "NodeInside"))
    eventually(lambda: (policy.status()["counts"]["nodesWaived"], policy.status()["counts"]["waivers"]) == (1, 1),
               what="the policy counts")  # fmt: skip
    state = {"policy": policy.name, "state": "active"}
    eventually(lambda: operator.metrics()["bailiwick_waivers", frozenset(state.items())] == 1, what="the metric")
    bind(realm, policy, namespace, node)

    eventually(lambda: not policy.inside(), what="the waiver ends", seconds=60, every=0.02)
    lag = (datetime.now(UTC) - ends).total_seconds()
    assert 0 <= lag < 10, f"left {lag:.2f} s after the waiver's end: not by its time, but by the minute"
    policy.holds()

    def refused() -> bool:
        try:
            bind(realm, policy, namespace, node)
        except ApiError as error:
            return f"'bailiwick-bindings.{policy.name}' denied request: WrongPlace: " in error.message
        return False

    eventually(refused, what="nobody is sent there any more")
    says(realm, waiver, Approved=("True", "Approved"), Active=("False", "Expired"), Ready=("False", "Expired"))
    assert policy.outside() == {"WrongPlace": [node]}
    assert policy.status()["counts"]["waivers"] == 0
    assert "waived" not in (realm.find("Territory", policy.name) or {})["spec"]
    told = {("Normal", "Approved"), ("Normal", "InForce"), ("Normal", "NodeInside"), ("Warning", "Expired")}
    name = waiver["metadata"]["name"]
    eventually(lambda: set(realm.events("ResidencyWaiver", name)) == told, what="Events tell what turned")


def test_a_withdrawn_approval_other_terms_and_a_new_waiver_of_that_name_end_it_at_once(
    realm: Realm, people: People
) -> None:
    node = realm.node(BARE)  # nobody knows where it stands
    policy = realm.policy("DE", waivers=TERMS).in_force()
    waiver = people.ask(policy, node, "place", "assurance")
    first, _ = people.approve(waiver, "bert", "cleo")
    policy.holds(node)
    assert (realm.find("Territory", policy.name) or {})["spec"]["nodes"] == {node: "ZZ"}

    realm.client.delete(OURS, "WaiverApproval", first)
    policy.holds()
    people.approve(waiver, "dora")
    policy.holds(node)
    policy.patch({"waivers": {"approvals": 3}})
    policy.holds()
    policy.patch({"waivers": {"approvals": 2, "maxDuration": "1h"}})
    says(realm, waiver, Approved=("False", "WaiverTooLong"))
    assert policy.inside() == set()
    policy.patch({"waivers": {"maxDuration": "4h"}})
    policy.holds(node)
    policy.patch({"waivers": None})
    policy.holds()
    says(realm, waiver, Approved=("False", "NoWaivers"))
    policy.patch({"waivers": TERMS})
    policy.holds(node)

    name = waiver["metadata"]["name"]
    realm.client.delete(OURS, "ResidencyWaiver", name)
    policy.holds()
    again = people.ask(policy, node, "place", "assurance", name=name)
    says(realm, again, Approved=("False", "ApprovalsMissing"), Active=("False", "NotApproved"))
    assert policy.inside() == set()
    people.approve(again, "bert", "cleo")
    policy.holds(node)


def test_two_waivers_do_not_add_up_and_are_nothing_to_another_policy(realm: Realm, people: People) -> None:
    node = realm.node(VIRGINIA)
    policy = realm.policy("DE", control={"allow": ["DE"]}, waivers=TERMS).in_force()
    other = realm.policy("DE", waivers=TERMS).in_force()
    place, control = (people.ask(policy, node, lifted) for lifted in ("place", "control"))
    for each in (place, control):
        people.approve(each, "bert", "cleo")
    says(realm, place, Active=("True", "InForce"), Ready=("False", "WrongControl"))
    says(realm, control, Active=("True", "InForce"), Ready=("False", "WrongPlace"))
    eventually(lambda: policy.status()["counts"]["waivers"] == 2, what="both are in force")
    assert policy.inside() == set()
    whole = people.ask(policy, node, "place", "control")
    people.approve(whole, "bert", "cleo")
    policy.holds(node)
    other.holds()


def test_a_machine_that_took_over_the_name_stays_outside(realm: Realm, people: People) -> None:
    node = realm.node(VIRGINIA)
    policy = realm.policy("DE", waivers=TERMS).in_force()
    waiver = people.ask(policy, node, "place")
    people.approve(waiver, "bert", "cleo")
    policy.holds(node)
    realm.client.delete("v1", "Node", node)
    policy.holds()
    says(realm, waiver, Active=("True", "InForce"), Ready=("False", "NodeUnknown"))
    spec = {"providerID": VIRGINIA + "f"}
    realm.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "spec": spec})
    says(realm, waiver, Active=("True", "InForce"), Ready=("False", "IdentityMismatch"))
    assert policy.inside() == set()
