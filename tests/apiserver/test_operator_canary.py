"""The canary on a real API server, with the rights that the chart gives and no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.residency.probes import Attempt
from e2e.client import ApiError, eventually
from e2e.cluster.apiserver import ApiServer
from e2e.cluster.binaries import binary
from tests.apiserver.realm import ADMISSION, OURS, ROOT, SYSTEM, OperatorProcess, Policy, Realm, fresh
from tests.chart.helm import Helm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.client import Manifest

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
PERIOD = 1.0
POLICY = "ValidatingAdmissionPolicy"
SERVICE_ACCOUNTS = ("system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}")
CANARY = f"system:serviceaccount:{SYSTEM}:bailiwick-canary"
KUBELET = "system:node:bailiwick-canary"


class WithoutNodeRestriction(ApiServer):
    """An API server as many are: the plug-in is not among those that are on by default."""

    def _run(self, name: str, *arguments: str) -> None:
        super()._run(name, *(each for each in arguments if "NodeRestriction" not in each))


def grant(realm: Realm, folder: Any) -> None:
    """Give operator and canary what the chart gives them."""
    helm = Helm(binary("helm"), folder)
    for right in helm.template("--show-only=templates/rbac.yaml", "--show-only=templates/canary.yaml"):
        realm.client.apply(right)


@pytest.fixture(scope="module")
def granted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A server of its own: nobody else wants its policies to go, nor to be proved."""
    realm = Realm.start()
    try:
        grant(realm, tmp_path_factory.mktemp("helm"))
        yield realm
    finally:
        realm.server.stop()


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
    eventually(lambda: enforced(policy)[0] == "False", what=f"{policy.name} is called open", seconds=15)
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
    assert governed.condition("Ready")["status"] == "True"
    eventually(lambda: shown(operator, governed) == 1, what="the metric says so")
    eventually(lambda: ("Normal", "Proved") in realm.events("ResidencyPolicy", governed.name), what="an Event")
    assert realm.client.find("v1", "Node", "bailiwick-canary") is None
    assert realm.client.list("v1", "Pod") == []


@pytest.mark.parametrize(
    "gone",
    [
        "bailiwick-pods",
        "bailiwick-bindings",
        "bailiwick-nodes",
        "bailiwick-namespaces",
        "bailiwick-namespaces-governed",
        "bailiwick-territories",
        "bailiwick-canary",
    ],
)
def test_a_policy_that_is_gone_is_named(realm: Realm, operator: OperatorProcess, governed: Policy, gone: str) -> None:
    since = governed.status()["enforcedSince"]
    file = ROOT / f"charts/bailiwick/policies/{gone.removeprefix('bailiwick-')}.yaml"
    realm.client.delete(ADMISSION, POLICY, gone)
    try:
        begun = time.monotonic()
        said = refuted(governed)
        took = time.monotonic() - begun
        assert enforced(governed) == ("False", "NotEnforced")
        assert f"{POLICY} {gone} is gone" in said
        assert "was admitted" in said
        assert governed.condition("Ready")["status"] == "False"
        assert "enforcedSince" not in governed.status()
        assert any(outcome == "breached" for _, outcome in attempts(operator, governed))
        eventually(lambda: shown(operator, governed) == 0, what="the metric says so")
        # The tick of the API server, one period, and the second look.
        assert took < PERIOD + 6, took
    finally:
        realm.client.apply_file(file)
    proved(governed)
    assert governed.status()["enforcedSince"] >= since


def test_a_binding_of_the_chart_that_is_gone_is_noticed(realm: Realm, governed: Policy) -> None:
    realm.client.delete(ADMISSION, f"{POLICY}Binding", "bailiwick-nodes")
    try:
        assert "bailiwick-nodes should refuse it with ProtectedLabel" in refuted(governed)
    finally:
        realm.client.apply_file(ROOT / "charts/bailiwick/policies/nodes.yaml")
    proved(governed)


def test_who_cannot_ask_proves_nothing(realm: Realm, governed: Policy) -> None:
    """A refusal by RBAC looks like a border and is none. What was proved stays so until it is too old."""
    right = ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "bailiwick-canary")
    kept = realm.client.get(*right)
    realm.client.delete(*right)
    try:
        time.sleep(3 * PERIOD)
        assert enforced(governed) == ("True", "Proved")
        fresh_policy = realm.policy("DE")
        realm.namespace(fresh_policy.selects)
        eventually(lambda: "cannot" in fresh_policy.condition("Enforced")["message"], what="it says who cannot ask")
        assert enforced(fresh_policy) == ("Unknown", "NotProved")
    finally:
        kept["metadata"] = {"name": kept["metadata"]["name"]}
        realm.client.apply(kept)
    proved(fresh_policy)


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

    before = counted()
    for number in range(40):
        governed.realm.client.patch(
            OURS, "ResidencyPolicy", governed.name, {"metadata": {"labels": {"n": str(number)}}}
        )
        time.sleep(0.25)
    tried, written = (after - known for after, known in zip(counted(), before, strict=True))
    assert tried <= len(Attempt) * (10 / PERIOD + 2), "no more than one round in each period, whatever changes"
    assert tried > len(Attempt)
    assert written <= 1, "a proof that changes nothing is written once a minute"


@pytest.mark.parametrize(("user", "groups"), [(CANARY, SERVICE_ACCOUNTS), (KUBELET, ("system:nodes",))])
def test_the_canary_changes_nothing_for_whoever_becomes_it(
    realm: Realm, granted: Realm, user: str, groups: tuple[str, ...]
) -> None:
    canary = granted.client.impersonate(user, groups)
    space = realm.namespace()
    container = {"name": "c", "image": "registry.example/c"}
    pod: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": fresh("p"), "namespace": space},
        "spec": {"containers": [container]},
    }
    node: Manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bailiwick-canary"}}
    wish = pod if user == CANARY else node
    with canary:
        assert canary.create(wish, dry_run=True)
        with pytest.raises(ApiError, match="'bailiwick-canary' denied request: DryRunOnly: "):
            canary.create(wish)


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
        grant(realm, tmp_path_factory.mktemp("helm"))
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
