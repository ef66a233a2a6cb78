"""The status of a ResidencyWaiver: who approved, whether it is in force, and what that changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, settle, true
from bailiwick.residency.facts import strange_identity
from bailiwick.residency.rules import judge
from bailiwick.residency.stalled import with_stalled
from bailiwick.residency.waivers import approvers, objection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bailiwick.api.residencywaiver import ResidencyWaiver, WaiverApproval
    from bailiwick.cluster.api import Raw
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.waivers import Waiver

_MOST_APPROVERS = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """A waiver, the approvals that name it, and its policy and node as far as they are there."""

    waiver: ResidencyWaiver
    approvals: Sequence[WaiverApproval]
    policy: CompiledPolicy | None
    compiled: Waiver | None
    facts: NodeFacts | None


def summarise(manifest: Raw, seen: Seen, *, now: datetime) -> Mapping[str, Any]:
    """The status of a waiver as of now."""
    previous = manifest.get("status") or {}
    generation = manifest["metadata"].get("generation", 0)
    approved = _approved(seen)
    active = _active(seen, approved, now)
    cause = approved.reason if active.reason == "NotApproved" else None
    return {
        "observedGeneration": generation,
        "conditions": settle(
            previous.get("conditions", ()),
            (approved, active, *with_stalled(_ready(seen, active, now), cause=cause)),
            generation=generation,
            now=now,
        ),
        "approvers": list(approvers(seen.waiver, seen.approvals)[:_MOST_APPROVERS]),
    }


def _approved(seen: Seen) -> Stated:
    if seen.policy is None:
        name = seen.waiver.spec.policy
        said = f"there is no ResidencyPolicy {name} that can be read, so no waiver of it counts; correct or make it"
        return false("Approved", "PolicyUnknown", said)
    wrong = objection(seen.policy, seen.waiver, seen.approvals)
    if wrong:
        return false("Approved", wrong.reason, wrong.message)
    return true("Approved", "Approved", f"approved by {', '.join(approvers(seen.waiver, seen.approvals))}")


def _active(seen: Seen, approved: Stated, now: datetime) -> Stated:
    spec = seen.waiver.spec
    if now >= spec.expires_at:
        said = f"it ended at {_moment(spec.expires_at)}; ask for a new one if it is still needed"
        return false("Active", "Expired", said)
    if approved.status != "True":
        return false("Active", "NotApproved", f"it is not approved: {approved.message}")
    if now < spec.not_before:
        return false("Active", "NotYet", f"it begins at {_moment(spec.not_before)}")
    return true("Active", "InForce", f"it is in force until {_moment(spec.expires_at)}")


def _ready(seen: Seen, active: Stated, now: datetime) -> Stated:
    """Whether it does what it was asked for, or why not."""
    node = seen.waiver.spec.node
    if active.status != "True" or seen.policy is None or seen.compiled is None:
        return false("Ready", active.reason, active.message)
    if seen.facts is None:
        said = f"there is no node {node.name}; the waiver counts as soon as the machine joins under that name"
        return false("Ready", "NodeUnknown", said)
    if strange := strange_identity(seen.facts.node, node):
        what, given, found = strange
        said = (
            f"it is about a machine with {what} {given!r}, but node {node.name} has {found!r}; ask for a waiver of "
            f"the machine that is there"
        )
        return false("Ready", "IdentityMismatch", said)
    if judge(replace(seen.policy, waivers={}), seen.facts, now).allowed:
        return true("Ready", "NotNeeded", f"node {node.name} is inside without it")
    verdict = judge(seen.compiled.limits, seen.facts, now)
    if not verdict.allowed:
        return false("Ready", verdict.reason, f"the waiver does not lift enough: {verdict.message}")
    return true("Ready", "NodeInside", f"node {node.name} is inside by this waiver until {_moment(seen.compiled.ends)}")


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
