"""The canary on a real API server, with the rights that the chart gives and no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from bailiwick.residency.probes import Attempt
from e2e.client import ApiError, eventually
from e2e.cluster.apiserver import ApiServer
from tests.apiserver.operator_process import SERVICE_ACCOUNTS, SYSTEM, OperatorProcess
from tests.apiserver.realm import OURS, Policy, Realm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.client import Manifest

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
PERIOD = 1.0
POLICY = "ValidatingAdmissionPolicy"
CANARY = f"system:serviceaccount:{SYSTEM}:bailiwick-canary"
KUBELET = "system:node:bailiwick-canary"


class WithoutNodeRestriction(ApiServer):
    """An API server as many are: the plug-in is not among those that are on by default."""

    def _run(self, name: str, *arguments: str) -> None:
        super()._run(name, *(each for each in arguments if "NodeRestriction" not in each))


@pytest.fixture
def realm(granted: Realm) -> Iterator[Realm]:
    """The same, and what a test makes there goes when the test is over."""
    yield granted
    granted.clear()


@pytest.fixture(scope="module")
def operator(granted: Realm) -> Iterator[OperatorProcess]:
    """The operator at work, with its own rights and a canary that is in a hurry."""
    process = OperatorProcess(granted.server, "canary", SERVICE_ACCOUNTS, BAILIWICK_CANARY_SECONDS=str(PERIOD))
    try:
        yield process.until_leading()
    finally:
        process.stop()


@pytest.fixture
def governed(realm: Realm, operator: OperatorProcess) -> Policy:
    """A policy that is proved: two nodes, one of them inside, and one namespace."""
    assert operator.ready()
    inside = realm.node(FRANKFURT)
    realm.node(VIRGINIA)
    policy = realm.policy("DE")
    realm.namespace(policy.selects)
    policy.holds(inside)
    proved(policy)
    return policy


def enforced(policy: Policy) -> tuple[str, str]:
    condition = policy.condition("Enforced")
    return condition["status"], condition["reason"]


def proved(policy: Policy) -> None:
    def look() -> bool:
        assert enforced(policy) == ("True", "Proved"), policy.condition("Enforced")
        return True

    eventually(look, what=f"{policy.name} is proved")


def refuted(policy: Policy) -> str:
    """Wait until it is told that the policy is open; what is said about it."""
    eventually(lambda: enforced(policy)[0] == "False", what=f"{policy.name} is called open")
    message: str = policy.condition("Enforced")["message"]
    return message


def attempts(operator: OperatorProcess, policy: Policy) -> Mapping[tuple[str, str], float]:
    """How often each attempt had each outcome."""
    return {
        (dict(labels)["attempt"], dict(labels)["outcome"]): value
        for (name, labels), value in operator.metrics().items()
        if name == "bailiwick_canary_attempts_total" and dict(labels)["policy"] == policy.name
    }


def shown(operator: OperatorProcess, policy: Policy) -> float | None:
    """What the metric says about a policy."""
    return operator.metrics().get(("bailiwick_policy_enforced", frozenset({("policy", policy.name)})))


def test_a_border_is_proved_by_every_attempt(realm: Realm, operator: OperatorProcess, governed: Policy) -> None:
    tried = attempts(operator, governed)
    assert {attempt for attempt, outcome in tried if outcome == "held"} == set(Attempt)
    status = governed.status()
    assert status["lastProof"] >= status["enforcedSince"]
    eventually(lambda: governed.condition("Ready")["status"] == "True", what="it is ready")
    eventually(lambda: shown(operator, governed) == 1, what="the metric says so")
    eventually(lambda: ("Normal", "Proved") in realm.events("ResidencyPolicy", governed.name), what="an Event")
    assert realm.client.find("v1", "Node", "bailiwick-canary") is None
    assert realm.client.list("v1", "Pod") == []


def test_two_policies_on_one_namespace_are_proved_apart(realm: Realm, governed: Policy) -> None:
    wider = realm.policy("DE", "US", namespaceSelector={"matchLabels": governed.selects})
    proved(wider)
    proved(governed)


def test_what_cannot_be_tried_says_so(realm: Realm, operator: OperatorProcess) -> None:
    assert operator.ready()
    alone, quiet = realm.policy("DE"), realm.policy("DE", mode="Audit")
    realm.namespace(quiet.selects)
    eventually(lambda: enforced(alone) == ("Unknown", "NothingGoverned"), what="nothing is governed")
    eventually(lambda: enforced(quiet) == ("Unknown", "NotAsked"), what="nothing is refused")
    realm.namespace(alone.selects)
    proved(alone)


def test_it_is_no_flood(operator: OperatorProcess, governed: Policy) -> None:
    def counted() -> tuple[float, float]:
        tried = sum(attempts(operator, governed).values())
        return tried, operator.writes().get(("patch", "residencypolicies/status"), 0)

    begun, before = time.monotonic(), counted()
    for number in range(40):
        governed.realm.client.patch(
            OURS, "ResidencyPolicy", governed.name, {"metadata": {"labels": {"n": str(number)}}}
        )
        time.sleep(0.25)
    tried, written = (after - known for after, known in zip(counted(), before, strict=True))
    took = time.monotonic() - begun
    assert tried <= len(Attempt) * (took / PERIOD + 2), "no more than one round in each period, whatever changes"
    assert tried > len(Attempt)
    assert written <= 1 + took // 60, "a proof that changes nothing is written once a minute"


@pytest.mark.parametrize(("user", "groups"), [(CANARY, SERVICE_ACCOUNTS), (KUBELET, ("system:nodes",))])
def test_the_canary_changes_nothing_for_whoever_becomes_it(
    realm: Realm, granted: Realm, user: str, groups: tuple[str, ...]
) -> None:
    space: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": realm.namespace()}}
    node: Manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": KUBELET.removeprefix("system:node:")}}
    wish = space if user == CANARY else node
    with granted.client.impersonate(user, groups) as canary:
        assert canary.apply(wish, dry_run=True)
        with pytest.raises(ApiError, match="'bailiwick-canary' denied request: DryRunOnly: "):
            canary.apply(wish)


def test_the_operator_may_ask_as_nobody_else(realm: Realm, granted: Realm) -> None:
    identity = granted.server.as_user(f"system:serviceaccount:{SYSTEM}:bailiwick-operator", SERVICE_ACCOUNTS)
    for user, groups in (
        ("jane", ()),
        (f"system:serviceaccount:{SYSTEM}:other", ()),
        ("system:serviceaccount:default:bailiwick-canary", ()),
        ("system:node:real", ("system:nodes",)),
        (CANARY, ("system:masters",)),
    ):
        with identity.impersonate(user, groups) as somebody, pytest.raises(ApiError, match="cannot impersonate"):
            somebody.list("v1", "Namespace")


def test_without_node_restriction_nothing_counts_as_enforced(tmp_path_factory: pytest.TempPathFactory) -> None:
    realm = Realm.start(WithoutNodeRestriction)
    process = None
    try:
        realm.grant(tmp_path_factory.mktemp("helm"))
        realm.node(FRANKFURT)
        policy = realm.policy("DE")
        realm.namespace(policy.selects)
        process = OperatorProcess(realm.server, "loose", SERVICE_ACCOUNTS, BAILIWICK_CANARY_SECONDS=str(PERIOD))
        process.until_leading()
        assert "--enable-admission-plugins=NodeRestriction" in refuted(policy)
        assert enforced(policy) == ("False", "NodeRestrictionOff")
    finally:
        if process:
            process.stop()
        realm.server.stop()
