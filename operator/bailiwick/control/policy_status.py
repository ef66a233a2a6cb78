"""The status of a ResidencyPolicy: what was made of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, settle, true, unknown
from bailiwick.residency.audit import Audited, compliant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.errors import ApiError
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.territories import CompiledTerritory


def summarise(  # noqa: PLR0913 - by keyword
    manifest: Raw,
    policy: CompiledPolicy,
    territory: CompiledTerritory,
    *,
    namespaces: int,
    failure: ApiError | None,
    now: datetime,
    audited: Audited | None = None,
) -> Mapping[str, Any]:
    """The status of a policy whose border was just brought in line, or could not be because of ``failure``.

    ``namespaces`` says how many it governs, ``audited`` what became of the pods there: None before the first sweep.
    """
    previous = manifest.get("status") or {}
    generation = manifest["metadata"].get("generation", 0)
    accepted = _accepted(policy)
    return {
        "observedGeneration": generation,
        "conditions": settle(
            previous.get("conditions", ()),
            (accepted, _not_yet_proved(), compliant(audited), _ready(accepted, policy, territory, failure)),
            generation=generation,
            now=now,
        ),
        "counts": {
            "namespaces": namespaces,
            "nodes": len(territory.spec.nodes),
            "nodesOutside": sum(count.count for count in territory.outside),
            **(audited.counts if audited else {}),
        },
        "outside": [count.model_dump(mode="json", by_alias=True) for count in territory.outside],
        "digest": territory.spec.digest,
    }


def _accepted(policy: CompiledPolicy) -> Stated:
    if not policy.problems:
        return true("Accepted", "Accepted", "every name in the policy is known")
    first, *others = policy.problems
    more = f" (and {len(others)} more)" if others else ""
    return false("Accepted", first.reason, f"{first.message}{more}")


def _not_yet_proved() -> Stated:
    """What only a canary can say. Nobody looked, so nobody may claim it."""
    return unknown("Enforced", "NotProved", "the border is written, but no canary has tried to cross it yet")


def _ready(accepted: Stated, policy: CompiledPolicy, territory: CompiledTerritory, failure: ApiError | None) -> Stated:
    if failure:
        return false("Ready", "NotWritten", f"the border could not be written and stays as it was: {failure}")
    if accepted.status != "True":
        return false("Ready", accepted.reason, accepted.message)
    if not territory.spec.nodes:
        first = territory.outside[0].message if territory.outside else "the cluster has no nodes"
        return false("Ready", "NoNodeInside", f"no node is inside, so nothing can run: {first}")
    inside = len(territory.nodes)
    return true("Ready", "InForce", f"{inside} {'node is' if inside == 1 else 'nodes are'} inside; mode {policy.mode}")
