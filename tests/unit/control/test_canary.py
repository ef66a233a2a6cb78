"""The canary's pace and patience, and what a policy's status makes of what it found."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.cluster.errors import refusal, unreachable
from bailiwick.control.canary import CanaryLoop, identities
from bailiwick.control.chart import Chart
from bailiwick.control.policy_status import summarise
from bailiwick.control.stores import Stores
from bailiwick.control.world import World
from bailiwick.residency import border
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy
from bailiwick.residency.probes import Attempt, Identity
from bailiwick.residency.proofs import Outcome, Proof
from bailiwick.residency.territories import GOVERNED_LABEL, compile_territory

if TYPE_CHECKING:
    from bailiwick.cluster.api import Raw

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SPEC = {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": {"allow": ["DE"]}}
GUARDS = (
    "pods", "bindings", "nodes", "namespaces", "namespaces-governed", "territories", "canary", "models", "propagation",
    "claims", "networks",
)  # fmt: skip
STATIC = ("nodes", "namespaces-governed", "territories", "canary")
ADMISSION = "admissionregistration.k8s.io/v1"
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"


def shipped() -> Chart:
    """A chart of nothing but names."""
    policies = [(POLICY, f"bailiwick-{name}", {"validations": [{"expression": "true"}]}) for name in GUARDS]
    bound = [(BINDING, f"bailiwick-{name}", {"policyName": f"bailiwick-{name}"}) for name in STATIC]
    objects = {
        (kind, name): {"apiVersion": ADMISSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, name, spec in (*policies, *bound)
    }
    return Chart(version="1", objects=objects, manager="helm", marks={})


class Server:
    """Stands for the API server: refuses as the guards do, except for what a test opens."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.down = False
        self.asked = 0

    async def create(self, _: Any, body: Raw, **__: Any) -> Raw:
        match body["kind"]:
            case "Binding":
                return self._judge("bailiwick-bindings", "bailiwick-bindings.health", "WrongPlace")
            case "Node":
                return self._refuse("is not allowed to set the following labels: x")
            case _ if "nodeName" in body["spec"]:
                return self._judge("bailiwick-pods", "bailiwick-pods.health", "WrongPlace")
            case _ if "elsewhere" in body["spec"]["nodeSelector"].values():
                return self._judge("bailiwick-pods", "bailiwick-pods.health", "NotPinned")
        self._answer()
        return {}

    async def post_subresource(self, _: Any, __: str, ___: str, ____: str, body: Raw, **_____: Any) -> Raw:
        return await self.create(_, body)

    async def patch_merge(self, resource: Any, _: str, __: str | None, body: Raw, **___: Any) -> Raw:
        guard, reason = {
            "Node": ("bailiwick-nodes", "ProtectedLabel"),
            "Namespace": ("bailiwick-namespaces", "ProtectedLabel"),
            "Territory": ("bailiwick-territories", "OperatorOnly"),
        }[resource.kind]
        if not body:
            guard, reason = "bailiwick-canary", "DryRunOnly"
        elif GOVERNED_LABEL in body["metadata"]["labels"] if "metadata" in body else False:
            guard = "bailiwick-namespaces-governed"
        return self._judge(guard, guard, reason)

    def _answer(self) -> None:
        self.asked += 1
        if self.down:
            raise unreachable("create pods", OSError("no route"))

    def _judge(self, guard: str, binding: str, reason: str) -> Raw:
        if guard in self.open:
            self._answer()
            return {}
        return self._refuse(
            f"ValidatingAdmissionPolicy '{guard}' with binding '{binding}' denied request: {reason}: because"
        )

    def _refuse(self, message: str) -> Raw:
        self._answer()
        raise refusal("create pods", 403, b'{"reason":"Forbidden","message":"' + message.encode() + b'"}')


class Scene:
    """One policy, one governed namespace, two nodes, and a canary on a clock of ours."""

    def __init__(self) -> None:
        self.server = Server()
        self.stores = Stores()
        self.seconds = 0.0
        self.told: list[str] = []
        self.attempts: list[tuple[str, str]] = []
        self.chart: Chart | None = shipped()
        self._version = 0
        world = World(self.stores, clock=lambda: NOW + timedelta(seconds=self.seconds), exempt=frozenset())
        self.loop = CanaryLoop(
            world=world,
            chart=lambda: self.chart,
            webhook="bailiwick-admission",
            speaks=dict.fromkeys(Identity, self.server),  # type: ignore[arg-type]
            tell=self.told.append,
            observer=self,
            clock=lambda: self.seconds,
        )
        self.put("policies", "health", spec=SPEC, generation=3)
        self.put("namespaces", "clinic", labels={"data": "health", GOVERNED_LABEL: "true"})
        self.webhook("Fail", "Fail")
        self.put("nodes", "abroad")
        self.put("nodes", "inside")
        self.put("territories", "health", spec={"nodes": {"inside": "DE"}})
        (policy,) = world.policies().values()
        ours = (*border.bindings(policy, exempt=()), border.namespaces_binding(exempt=()))
        for manifest in (*shipped().objects.values(), *ours):
            store = {POLICY: "validating_policies", BINDING: "validating_bindings"}.get(manifest["kind"])
            if store:
                self.put(store, spec=manifest["spec"], **manifest["metadata"])

    def put(self, store: str, name: str, *, spec: Any = None, happens: str = "MODIFIED", **metadata: Any) -> None:
        self._happens(store, happens, {"spec": spec or {}}, name=name, **metadata)

    def webhook(self, *failure_policies: str, happens: str = "MODIFIED") -> None:
        webhooks = [{"failurePolicy": each} for each in failure_policies]
        self._happens("webhooks", happens, {"webhooks": webhooks}, name="bailiwick-admission")

    def _happens(self, store: str, happens: str, content: Raw, **metadata: Any) -> None:
        self._version += 1
        head = {"uid": metadata["name"], "resourceVersion": str(self._version), "labels": {}, **metadata}
        getattr(self.stores, store).apply_event(happens, {"metadata": head, **content})

    def tried(self, policy: str, attempt: str, outcome: str) -> None:
        assert policy == "health"
        self.attempts.append((attempt, outcome))

    def retired(self, policy: str) -> None:
        self.attempts.append(("retired", policy))

    @property
    def outcome(self) -> str | None:
        proof = self.loop.proof("health")
        return str(proof.outcome) if proof else None


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_whole_border_is_proved_and_looked_at_again_in_a_minute(scene: Scene) -> None:
    assert await scene.loop.reconcile("health") == 60
    assert scene.outcome == "held"
    assert scene.told == ["health"]
    assert {attempt for attempt, outcome in scene.attempts if outcome == "held"} == set(Attempt)
    assert scene.loop.keys() == ["health"]


async def test_however_often_it_changes_it_is_tried_every_ten_seconds(scene: Scene) -> None:
    await scene.loop.reconcile("health")
    asked = scene.server.asked
    scene.seconds = 3
    assert await scene.loop.reconcile("health") == 7
    assert scene.server.asked == asked
    scene.seconds = 10
    assert await scene.loop.reconcile("health") == 60
    assert scene.server.asked == 2 * asked
    assert asked <= len(Attempt)


@pytest.mark.parametrize("guard", ["pods", "bindings", "nodes", "namespaces", "namespaces-governed", "territories"])
async def test_a_breach_is_told_when_it_is_seen_twice(scene: Scene, guard: str) -> None:
    await scene.loop.reconcile("health")
    scene.server.open = {f"bailiwick-{guard}"}
    scene.seconds = 60
    assert await scene.loop.reconcile("health") == 2
    assert scene.outcome == "held"
    assert await scene.loop.reconcile("health") == 2, "a change in between does not hurry it"
    scene.seconds = 62
    assert await scene.loop.reconcile("health") == 60
    assert scene.outcome == "breached"
    scene.seconds = 122
    assert await scene.loop.reconcile("health") == 60, "what is known to be open needs no second look"
    scene.server.open = set()
    scene.seconds = 182
    await scene.loop.reconcile("health")
    assert scene.outcome == "held"


async def test_what_was_open_for_a_moment_is_not_told(scene: Scene) -> None:
    scene.server.open = {"bailiwick-pods"}
    assert await scene.loop.reconcile("health") == 2
    scene.server.open, scene.seconds = set(), 2
    await scene.loop.reconcile("health")
    assert scene.outcome == "held"
    scene.server.open, scene.seconds = {"bailiwick-pods"}, 62
    assert await scene.loop.reconcile("health") == 2, "the next one is looked at twice again"


@pytest.mark.parametrize(
    ("store", "name", "change", "said"),
    [
        ("validating_policies", "bailiwick-models", None, f"{POLICY} bailiwick-models is gone"),
        (
            "validating_policies",
            "bailiwick-claims",
            {"validations": [{"expression": "false"}]},
            "bailiwick-claims is not as it must be",
        ),
        ("validating_bindings", "bailiwick-models.health", None, f"{BINDING} bailiwick-models.health is gone"),
        ("validating_bindings", "bailiwick-nodes", {"policyName": "other"}, f"{BINDING} bailiwick-nodes is not as"),
        ("validating_bindings", "bailiwick-namespaces", None, f"{BINDING} bailiwick-namespaces is gone"),
    ],
)
async def test_what_no_attempt_needs_is_missed_too(scene: Scene, store: str, name: str, change: Any, said: str) -> None:
    scene.put(store, name, spec=change, happens="MODIFIED" if change else "DELETED")
    await scene.loop.reconcile("health")
    scene.seconds = 2
    await scene.loop.reconcile("health")
    proof = scene.loop.proof("health")
    assert proof
    assert proof.outcome == "breached"
    assert said in proof.message


@pytest.mark.parametrize(
    ("left", "happens", "said"),
    [
        (("Fail", "Ignore"), "MODIFIED", "does not fail closed"),
        ((), "MODIFIED", "is gone"),
        (("Fail",), "DELETED", "is gone"),
    ],
    ids=["opened", "emptied", "deleted"],
)
async def test_a_webhook_that_is_not_asked_is_missed(
    scene: Scene, left: tuple[str, ...], happens: str, said: str
) -> None:
    scene.webhook(*left, happens=happens)
    await scene.loop.reconcile("health")
    scene.seconds = 2
    await scene.loop.reconcile("health")
    proof = scene.loop.proof("health")
    assert proof
    assert proof.outcome == "breached"
    assert f"ValidatingWebhookConfiguration bailiwick-admission {said}" in proof.message


async def test_a_guard_that_the_chart_does_not_know_is_no_proof(scene: Scene) -> None:
    assert scene.chart
    known = {key: manifest for key, manifest in scene.chart.objects.items() if key[1] != "bailiwick-pods"}
    scene.chart = dataclasses.replace(scene.chart, objects=known)
    await scene.loop.reconcile("health")
    scene.seconds = 2
    await scene.loop.reconcile("health")
    proof = scene.loop.proof("health")
    assert proof
    assert "bailiwick-pods is unknown to the chart" in proof.message


async def test_without_the_chart_nobody_can_say_that_all_is_there(scene: Scene) -> None:
    scene.chart = None
    await scene.loop.reconcile("health")
    proof = scene.loop.proof("health")
    assert proof
    assert (proof.outcome, proof.reason) == ("unclear", "NotProved")
    assert "ConfigMap bailiwick-border" in proof.message


async def test_what_was_broken_is_not_enforced_until_it_is_proved_anew(scene: Scene) -> None:
    await scene.loop.reconcile("health")
    scene.told.clear()
    assert scene.loop.broken("health", "something was gone")
    assert scene.outcome == "breached"
    assert scene.told == ["health"]
    scene.seconds = 1
    assert await scene.loop.reconcile("health") == 2, "the API server has not taken it up yet"
    scene.seconds = 3
    assert await scene.loop.reconcile("health") == 60
    assert scene.outcome == "held"


async def test_a_round_during_which_something_broke_proves_nothing(scene: Scene) -> None:
    answer = scene.server.create

    async def breaks(*parts: Any, **more: Any) -> Raw:
        scene.loop.broken("health", "something was gone")
        return await answer(*parts, **more)

    scene.server.create = breaks  # type: ignore[method-assign]
    assert await scene.loop.reconcile("health") == 3
    assert scene.outcome == "breached"


def test_what_cannot_be_tried_cannot_break(scene: Scene) -> None:
    scene.put("namespaces", "clinic")
    assert not scene.loop.broken("health", "something was gone")
    assert scene.outcome is None


async def test_a_server_that_does_not_answer_is_asked_once_and_accuses_nobody(scene: Scene) -> None:
    scene.server.down = True
    assert await scene.loop.reconcile("health") == 60
    assert scene.outcome == "unclear"
    assert scene.server.asked == 1


@pytest.mark.parametrize("why", ["mode", "namespace", "terminating", "policy"])
async def test_what_cannot_be_tried_is_not_tried(scene: Scene, why: str) -> None:
    await scene.loop.reconcile("health")
    asked, scene.seconds = scene.server.asked, 60
    match why:
        case "mode":
            scene.put("policies", "health", spec={**SPEC, "mode": "Warn"})
        case "namespace":
            scene.put("namespaces", "clinic")
        case "terminating":
            scene.put("namespaces", "clinic", labels={"data": "health"}, deletionTimestamp="2026-11-21T00:00:00Z")
        case "policy":
            scene.put("policies", "health", happens="DELETED")
    assert await scene.loop.reconcile("health") is None
    assert scene.server.asked == asked
    assert scene.loop.proof("health") is None
    assert scene.attempts[-1] == ("retired", "health")


def test_the_identities_are_two_that_nobody_else_has() -> None:
    known = {identity: person.headers for identity, person in identities("bw").items()}
    assert known == {
        Identity.CANARY: {"Impersonate-User": "system:serviceaccount:bw:bailiwick-canary"},
        Identity.KUBELET: {
            "Impersonate-User": "system:node:bailiwick-canary",
            "Impersonate-Group": "system:nodes",
        },
    }


# What the status makes of it


def proof(outcome: Outcome, *, generation: int = 3, seconds: float = 0) -> Proof:
    reason = {Outcome.HELD: "Proved", Outcome.BREACHED: "NotEnforced", Outcome.UNCLEAR: "NotProved"}[outcome]
    at = NOW + timedelta(seconds=seconds)
    return Proof(generation=generation, at=at, outcome=outcome, reason=reason, message=f"it is {outcome}")


def status(found: Proof | None = None, before: Any = None, *, seconds: float = 0, **parts: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"mode": "Enforce", "namespaces": 1, "generation": 3} | parts
    manifest = {
        "metadata": {"name": "health", "generation": known["generation"]},
        "spec": {**SPEC, "mode": known["mode"]},
        **({"status": before} if before else {}),
    }
    policy = compile_policy(ResidencyPolicy.read(manifest), Atlas(()))
    now = NOW + timedelta(seconds=seconds)
    territory = compile_territory(policy, (), now)
    namespaces = known["namespaces"]
    return dict(summarise(manifest, policy, territory, namespaces=namespaces, failure=None, proof=found, now=now))


def condition(of: dict[str, Any], kind: str = "Enforced") -> tuple[str, str]:
    return next((each["status"], each["reason"]) for each in of["conditions"] if each["type"] == kind)


HELD, BREACHED, UNCLEAR = Outcome.HELD, Outcome.BREACHED, Outcome.UNCLEAR
PROVED = status(proof(HELD))
OPEN = status(proof(BREACHED))


@pytest.mark.parametrize(
    ("told", "enforced"),
    [
        (status(), ("Unknown", "NotProved")),
        (PROVED, ("True", "Proved")),
        (OPEN, ("False", "NotEnforced")),
        (status(proof(UNCLEAR)), ("Unknown", "NotProved")),
        (status(proof(HELD), mode="Warn"), ("Unknown", "NotAsked")),
        (status(proof(HELD), namespaces=0), ("Unknown", "NothingGoverned")),
        (status(proof(HELD, generation=2)), ("Unknown", "NotProved")),
        (status(proof(HELD), PROVED, seconds=181), ("Unknown", "NotProved")),
        (status(proof(UNCLEAR, seconds=180), PROVED, seconds=180), ("True", "Proved")),
        (status(proof(UNCLEAR, seconds=181), PROVED, seconds=181), ("Unknown", "NotProved")),
        (status(proof(UNCLEAR, seconds=999), OPEN, seconds=999), ("False", "NotEnforced")),
        (status(None, PROVED, seconds=60), ("True", "Proved")),
        (status(None, PROVED, seconds=181), ("Unknown", "NotProved")),
        (status(None, PROVED, seconds=1, generation=4), ("Unknown", "NotProved")),
        (status(None, OPEN, seconds=999), ("False", "NotEnforced")),
        (status(None, status(proof(UNCLEAR))), ("Unknown", "NotProved")),
        (status(None, OPEN, generation=4), ("Unknown", "NotProved")),
        (status(proof(HELD, seconds=60), OPEN, seconds=60), ("True", "Proved")),
    ],
)
def test_enforced_is_what_was_proved_lately_about_this_policy(told: Any, enforced: tuple[str, str]) -> None:
    assert condition(told) == enforced
    assert ("enforcedSince" in told) == (enforced[0] == "True")


def test_a_policy_that_is_not_enforced_is_not_ready() -> None:
    assert condition(OPEN, "Ready") == ("False", "NotEnforced")
    assert condition(PROVED, "Ready") == ("False", "NoNodeInside")


def test_an_unclear_answer_is_told_once_the_proof_is_too_old() -> None:
    told = status(proof(UNCLEAR, seconds=200), PROVED, seconds=200)
    assert next(each for each in told["conditions"] if each["type"] == "Enforced")["message"] == "it is unclear"
    assert told["lastProof"] == "2026-11-21T12:00:00Z"


def test_a_new_operator_says_what_was_said_until_it_knows_better() -> None:
    before = status(proof(UNCLEAR))
    assert status(None, before, seconds=5) == before
    assert status(None, status(), seconds=5) == status()


@pytest.mark.parametrize(("seconds", "last"), [(10, "12:00:00"), (58, "12:00:00"), (60, "12:01:00")])
def test_a_proof_is_written_down_once_a_minute(seconds: float, last: str) -> None:
    told = status(proof(HELD, seconds=seconds), PROVED, seconds=seconds)
    assert told["lastProof"] == f"2026-11-21T{last}Z"
    assert told["enforcedSince"] == "2026-11-21T12:00:00Z"
    assert (told == PROVED) == (seconds < 59)


def test_enforced_since_begins_anew_after_a_breach_and_with_another_policy() -> None:
    mended = status(proof(HELD, seconds=30), status(proof(BREACHED, seconds=20), PROVED, seconds=20), seconds=30)
    assert mended["enforcedSince"] == mended["lastProof"] == "2026-11-21T12:00:30Z"
    changed = status(proof(HELD, generation=4, seconds=30), PROVED, seconds=30, generation=4)
    assert changed["enforcedSince"] == "2026-11-21T12:00:30Z"
