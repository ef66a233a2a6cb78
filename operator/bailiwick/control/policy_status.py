"""The status of a ResidencyPolicy: what was made of it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, settle, true, unknown
from bailiwick.api.residencypolicy import Mode
from bailiwick.api.resource import ConditionStatus
from bailiwick.residency.audit import Audited, compliant
from bailiwick.residency.proofs import Outcome
from bailiwick.residency.stalled import with_stalled
from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.errors import ApiError
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.proofs import Proof
    from bailiwick.residency.territories import CompiledTerritory

GOOD_FOR = timedelta(minutes=3)
"""A proof that is older says nothing about now."""
_BY_THEMSELVES = (
    "; pods must bring the nodeSelector themselves, for MutatingAdmissionPolicy bailiwick-pin is not there "
    "(Kubernetes before 1.36, or the chart's value pin)"
)
BETWEEN = timedelta(seconds=59)
"""A proof that changes nothing is written down once a minute, whatever made the canary look more often."""


def summarise(  # noqa: PLR0913 - by keyword
    manifest: Raw,
    policy: CompiledPolicy,
    territory: CompiledTerritory,
    *,
    namespaces: int,
    failure: ApiError | None,
    proof: Proof | None = None,
    now: datetime,
    audited: Audited | None = None,
    pinned: bool = True,
) -> Mapping[str, Any]:
    """The status of a policy whose border was just brought in line, or could not be because of ``failure``.

    ``namespaces`` says how many it governs; ``proof`` is what the canary found last, since the operator began;
    ``audited`` is what the audit found in its last sweep, None before the first. ``pinned``: whether pods are pinned
    without their authors knowing.
    """
    previous = manifest.get("status") or {}
    generation = manifest["metadata"].get("generation", 0)
    accepted = _accepted(policy)
    enforced = _enforced(previous, policy, proof, namespaces=namespaces, generation=generation, now=now)
    compliance = _compliant(previous, audited, generation)
    ready = _ready(accepted, enforced, policy, territory, failure, pinned=pinned)
    return {
        "observedGeneration": generation,
        "conditions": settle(
            previous.get("conditions", ()),
            (accepted, enforced, compliance, *with_stalled(ready)),
            generation=generation,
            now=now,
        ),
        "counts": {
            "namespaces": namespaces,
            "nodes": len(territory.spec.nodes),
            "nodesOutside": sum(count.count for count in territory.outside),
            **_waived(policy, territory),
            **_audited_counts(previous, audited),
        },
        "outside": [count.model_dump(mode="json", by_alias=True) for count in territory.outside],
        "digest": territory.spec.digest,
        "violations": [dict(each) for each in audited.entries] if audited else previous.get("violations", []),
        **_times(previous, enforced, proof, generation=generation, now=now),
    }


def summarise_unreadable(manifest: Raw, problem: str, *, now: datetime) -> Mapping[str, Any]:
    """The status of a policy that an API server once took and we cannot read: its border goes on refusing, and narrows.

    Nobody tries it or judges by it any more, so what was found before says nothing about now.
    """
    previous = manifest.get("status") or {}
    generation = manifest["metadata"].get("generation", 0)
    message = f"the policy cannot be read; nodes only leave its border, and nobody repairs or proves it: {problem}"
    stated = (
        false("Accepted", Reason.INVALID_POLICY, message),
        unknown("Enforced", "NotProved", "nobody can try a policy that cannot be read"),
        compliant(None),
        *with_stalled(false("Ready", Reason.INVALID_POLICY, message)),
    )
    conditions = settle(previous.get("conditions", ()), stated, generation=generation, now=now)
    kept = {key: value for key, value in previous.items() if key != "enforcedSince"}
    return {**kept, "observedGeneration": generation, "conditions": conditions}


def _compliant(previous: Mapping[str, Any], audited: Audited | None, generation: int) -> Stated:
    """What the audit found; until an operator that began just now has looked, what was said before it."""
    before = _condition(previous, "Compliant")
    if audited is None and before.get("observedGeneration") == generation:
        return Stated("Compliant", ConditionStatus(before["status"]), before["reason"], before["message"])
    return compliant(audited)


def _audited_counts(previous: Mapping[str, Any], audited: Audited | None) -> Mapping[str, int]:
    if audited:
        return audited.counts
    before = previous.get("counts") or {}
    return {key: before[key] for key in ("pods", "violations") if key in before}


def _waived(policy: CompiledPolicy, territory: CompiledTerritory) -> Mapping[str, int]:
    if policy.spec.waivers is None:
        return {}
    return {"nodesWaived": len(territory.spec.waived or {}), "waivers": territory.waivers}


def _accepted(policy: CompiledPolicy) -> Stated:
    if not policy.problems:
        return true("Accepted", "Accepted", "every name in the policy is known")
    first, *others = policy.problems
    more = f" (and {len(others)} more)" if others else ""
    return false("Accepted", first.reason, f"{first.message}{more}")


def _enforced(  # noqa: PLR0913 - by keyword
    previous: Mapping[str, Any],
    policy: CompiledPolicy,
    proof: Proof | None,
    *,
    namespaces: int,
    generation: int,
    now: datetime,
) -> Stated:
    """What the canary proved, for as long as that holds: a newer policy, or a proof that grew old, is not proved."""
    if policy.mode is not Mode.ENFORCE:
        return unknown("Enforced", "NotAsked", f"mode {policy.mode} refuses nothing, so there is nothing to prove")
    if namespaces == 0:
        said = "the policy governs no namespace, so nothing can be tried; label one as its namespaceSelector asks"
        return unknown("Enforced", "NothingGoverned", said)
    current = proof if proof and proof.generation == generation else None
    return (
        (current and _found(current, now))
        or _known(previous, generation=generation, now=now)
        or unknown("Enforced", "NotProved", current.message if current else _unproved(previous, generation=generation))
    )


def _found(proof: Proof, now: datetime) -> Stated | None:
    if proof.outcome is Outcome.BREACHED:
        return false("Enforced", proof.reason, proof.message)
    if proof.outcome is Outcome.HELD and now - proof.at <= GOOD_FOR:
        return true("Enforced", proof.reason, proof.message)
    return None


def _known(previous: Mapping[str, Any], *, generation: int, now: datetime) -> Stated | None:
    """What was told before and was not looked at anew: a proof for a few minutes, a breach until it is disproved."""
    before, proved = _condition(previous, "Enforced"), _moment(previous.get("lastProof"))
    if before.get("observedGeneration") != generation:
        return None
    if before["status"] == "True" and proved and now - proved <= GOOD_FOR:
        return true("Enforced", before["reason"], before["message"])
    return false("Enforced", before["reason"], before["message"]) if before["status"] == "False" else None


def _unproved(previous: Mapping[str, Any], *, generation: int) -> str:
    """What an operator that began just now says: what was said before it, or that nobody tried."""
    before = _condition(previous, "Enforced")
    if before.get("observedGeneration") == generation and before["reason"] == "NotProved":
        return str(before["message"])
    return "the border is written, but the canary has not tried to cross it yet"


def _times(
    previous: Mapping[str, Any], enforced: Stated, proof: Proof | None, *, generation: int, now: datetime
) -> Mapping[str, str]:
    """When the canary last proved enforcement, to the minute or so, and since when it has."""
    before = _condition(previous, "Enforced")
    goes_on = before.get("status") == "True" and before.get("observedGeneration") == generation
    last, since = previous.get("lastProof"), None
    if proof and proof.outcome is Outcome.HELD and proof.generation == generation:
        known = _moment(last)
        if not goes_on or known is None or proof.at - known >= BETWEEN:
            last = _stamp(proof.at)
    if enforced.status == "True":
        since = (goes_on and previous.get("enforcedSince")) or last or _stamp(now)
    times = {"enforcedSince": since, "lastProof": last}
    return {key: value for key, value in times.items() if value}


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _ready(  # noqa: PLR0913 - what it sums up
    accepted: Stated,
    enforced: Stated,
    policy: CompiledPolicy,
    territory: CompiledTerritory,
    failure: ApiError | None,
    *,
    pinned: bool,
) -> Stated:
    if failure:
        return false("Ready", "NotWritten", f"the border could not be written and stays as it was: {failure}")
    if accepted.status != "True":
        return false("Ready", accepted.reason, accepted.message)
    if enforced.status == "False":
        return false("Ready", enforced.reason, enforced.message)
    if not territory.spec.nodes:
        first = territory.outside[0].message if territory.outside else "the cluster has no nodes"
        return false("Ready", "NoNodeInside", f"no node is inside, so nothing can run: {first}")
    inside = len(territory.nodes)
    said = f"{inside} {'node is' if inside == 1 else 'nodes are'} inside; mode {policy.mode}"
    if policy.mode is Mode.ENFORCE and not pinned:
        said += _BY_THEMSELVES
    return true("Ready", "InForce", said)
