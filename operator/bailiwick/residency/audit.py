"""Whether a running pod is where its policies allow, and what is done about one that is not. Pure.

The ladder is Report → Quarantine → Evict → Delete. A policy names the last step that may be taken, and the time from
detection to it. Quarantine comes at once, because it can be taken back; a policy that ends in Delete evicts at once
too, and leaves PodDisruptionBudgets until its deadline to give way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, true, unknown
from bailiwick.api.residencypolicy import Mode
from bailiwick.api.timestamps import span
from bailiwick.residency.quarantine import QUARANTINED, SINCE, labels_before
from bailiwick.residency.rules import judge
from bailiwick.residency.verdict import Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy

GROUP_LABELS = ("leaderworkerset.sigs.k8s.io/group-key", "bailiwick.dev/group")
"""Pods with the same value in one namespace are one engine: together they hold the weights, and act as one."""

_FINISHED = frozenset({"Succeeded", "Failed"})
_MIRROR = "kubernetes.io/config.mirror"
_EXAMPLES = 5
MOST_ENTRIES = 20
_LONGEST_GRACE = 30


class Step(IntEnum):
    """What is done about a violation; a later step is a harder one."""

    REPORT = 0
    QUARANTINE = 1
    EVICT = 2
    DELETE = 3

    @property
    def word(self) -> str:
        """As policies, Events and metrics spell it."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as far as its residency counts.

    ``labels`` are those that it had before a quarantine. ``since`` is when it was found outside, as it says itself.
    """

    namespace: str
    name: str
    uid: str
    node: str
    labels: Mapping[str, str]
    since: datetime | None
    quarantined: bool
    terminating: bool
    grace_seconds: int
    """How long it is given to end when it is deleted: what it asks for, from 1 to 30 seconds."""
    ends_in_time: bool
    """It is terminating, and by no longer grace than that."""
    mirror: bool

    @property
    def group(self) -> str:
        """What the pods of one multi-node engine share; empty for a pod that is alone."""
        return next((f"{label}={self.labels[label]}" for label in GROUP_LABELS if self.labels.get(label)), "")


def read_pod(raw: Mapping[str, Any]) -> Pod:
    """The pod from its manifest, whole or trimmed."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    grace = min(max(spec.get("terminationGracePeriodSeconds", _LONGEST_GRACE), 1), _LONGEST_GRACE)
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        node=spec.get("nodeName") or "",
        labels=labels_before(metadata),
        since=_moment(annotations.get(SINCE)),
        quarantined=(metadata.get("labels") or {}).get(QUARANTINED) == "true",
        terminating="deletionTimestamp" in metadata,
        grace_seconds=grace,
        ends_in_time="deletionTimestamp" in metadata and metadata.get("deletionGracePeriodSeconds", 0) <= grace,
        mirror=_MIRROR in annotations,
    )


def runs(raw: Mapping[str, Any]) -> bool:
    """Whether a pod is on a node, and not finished: only then it can be in the wrong place."""
    node = (raw.get("spec") or {}).get("nodeName")
    return bool(node) and (raw.get("status") or {}).get("phase") not in _FINISHED


@dataclass(frozen=True, slots=True)
class Violation:
    """A policy that a pod violates, and why."""

    policy: CompiledPolicy
    verdict: Verdict


class Judge:
    """Judges many pods as of one moment: nodes are judged once for each policy."""

    def __init__(self, facts: Mapping[str, NodeFacts], now: datetime) -> None:
        self._facts = facts
        self._now = now
        self._known: dict[tuple[str, str], Verdict] = {}

    def violations(self, node: str, policies: Iterable[CompiledPolicy]) -> tuple[Violation, ...]:
        """The policies that a pod on this node violates, by name. Cordoned and unready nodes are no violation."""
        judged = ((policy, self._verdict(policy, node)) for policy in policies)
        found = (Violation(policy, verdict) for policy, verdict in judged if not verdict.allowed)
        return tuple(sorted(found, key=lambda violation: violation.policy.name))

    def _verdict(self, policy: CompiledPolicy, node: str) -> Verdict:
        key = (policy.name, node)
        if key not in self._known:
            facts = self._facts.get(node)
            self._known[key] = judge(policy, facts, self._now) if facts else _nobody_knows(policy, node)
        return self._known[key]


def _nobody_knows(policy: CompiledPolicy, node: str) -> Verdict:
    return refuse(
        Reason.PLACE_UNKNOWN, f"{policy.by} asks where pods run, but there is no node {node}; delete pods that it left"
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a pod now, for which policy, and in how many seconds the ladder goes on."""

    step: Step
    policy: str
    look_again_in: float | None


def plan(violated: Sequence[CompiledPolicy], since: datetime, now: datetime) -> Plan:
    """The furthest step that any of the violated policies allows now, whatever their order.

    ``violated`` is not empty. ``since`` is the moment of detection; one that lies ahead counts as now.
    """
    passed = max((now - since).total_seconds(), 0.0)
    steps = [(*_step(policy, passed), policy.name) for policy in violated]
    furthest = max(step for step, _, _ in steps)
    waits = [wait for _, wait, _ in steps if wait is not None]
    name = min(name for step, _, name in steps if step is furthest)
    return Plan(furthest, name, min(waits, default=None))


def last_step(policy: CompiledPolicy) -> Step:
    """The last step that a policy may take. One that does not enforce only reports."""
    violation = policy.spec.violation
    return Step[violation.action.upper()] if violation and policy.mode is Mode.ENFORCE else Step.REPORT


def _step(policy: CompiledPolicy, passed: float) -> tuple[Step, float | None]:
    last = last_step(policy)
    violation = policy.spec.violation
    if violation is None or last <= Step.QUARANTINE:
        return last, None
    wait = span(violation.after).total_seconds() - passed
    return (last, None) if wait <= 0 else (Step(last - 1), wait)


def _moment(written: str | None) -> datetime | None:
    """A moment as we write it. Whatever else somebody wrote there says nothing."""
    try:
        moment = datetime.fromisoformat(written or "")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit found about one policy: its pods, those of them outside, and what else is wrong.

    ``outside`` and ``others`` are sentences about single objects, in any order.
    """

    pods: int
    outside: tuple[str, ...]
    others: tuple[str, ...] = ()
    entries: tuple[Mapping[str, Any], ...] = ()
    """Of the pods outside the first so many, as the policy's status has them."""
    unseen: str = ""
    """Why volumes and Services could not be judged."""

    @property
    def counts(self) -> Mapping[str, int]:
        """As the policy's status has them."""
        return {"pods": self.pods, "violations": len(self.outside)}


def compliant(audited: Audited | None) -> Stated:
    """The condition Compliant of a policy: unknown before its first sweep."""
    if audited is None:
        return unknown("Compliant", "NotAudited", "pods that were there before the policy have not been judged")
    found = [*sorted(audited.outside), *sorted(audited.others)]
    if not found:
        if audited.unseen:
            return unknown("Compliant", "NotAudited", f"volumes and Services could not be judged: {audited.unseen}")
        return true(
            "Compliant", "Compliant", "every running pod, volume and Service is where and what the policy allows"
        )
    reason = "PodsOutside" if audited.outside else "DataPaths"
    more = f" (and {len(found) - _EXAMPLES} more)" if len(found) > _EXAMPLES else ""
    counted = f"{len(audited.outside)} of {audited.pods} pods are outside"
    return false("Compliant", reason, f"{counted}; {'; '.join(found[:_EXAMPLES])}{more}"[:4096])
