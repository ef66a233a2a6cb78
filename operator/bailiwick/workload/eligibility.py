"""Which nodes could run a model, and why not the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.api.quantities import amount
from bailiwick.api.resource import Count
from bailiwick.residency.policies import compile_residency
from bailiwick.residency.rules import judge_all
from bailiwick.residency.territories import changes
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from bailiwick.api.acceleratorclass import AcceleratorClass
    from bailiwick.api.sovereignmodel import Residency
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.jurisdictions import Atlas
    from bailiwick.residency.nodes import Node
    from bailiwick.residency.policies import CompiledPolicy

_EXAMPLES = 5
_LONGEST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Names of nodes that could run a model, and the others by the reason that is reported for them.

    ``until`` is the first moment at which time alone may change the answer; None when only something new can.
    """

    nodes: tuple[str, ...]
    ineligible: tuple[Count, ...]
    until: datetime | None = None


def eligibility(  # noqa: PLR0913 - everything that counts
    policies: Sequence[CompiledPolicy],
    residency: Residency | None,
    accelerator: AcceleratorClass | None,
    nodes: Iterable[NodeFacts],
    *,
    atlas: Atlas,
    now: datetime,
) -> Eligibility:
    """Judge every node: residency first, because that is what nobody can mend by adding hardware."""
    limits = [*policies, *([compile_residency(residency, atlas, by="the model")] if residency else [])]
    eligible: list[str] = []
    refused: defaultdict[Reason, list[tuple[str, str]]] = defaultdict(list)
    moments: list[datetime] = []
    for facts in nodes:
        moments.extend(moment for limit in limits for moment in changes(limit, facts, now))
        verdict = judge_all(limits, facts, now)
        if verdict.allowed:
            verdict = _can_carry(facts.node, accelerator)
        if verdict.allowed:
            eligible.append(facts.name)
        else:
            refused[verdict.reason].append((facts.name, verdict.message))
    return Eligibility(tuple(sorted(eligible)), _counts(refused), min(moments, default=None))


def _can_carry(node: Node, accelerator: AcceleratorClass | None) -> Verdict:
    """The node is in service and has the devices."""
    if not node.ready:
        return refuse(Reason.NOT_READY, f"node {node.name} is inside, but not Ready; mend the node")
    if node.cordoned:
        return refuse(Reason.CORDONED, f"node {node.name} is inside, but cordoned; uncordon it")
    if accelerator is None:
        return refuse(Reason.NO_ACCELERATOR, "none of the model's accelerator classes exists")
    spec, name = accelerator.spec, accelerator.metadata.name
    if spec.node_selector and not spec.node_selector.matches(node.labels):
        return refuse(Reason.NO_ACCELERATOR, f"node {node.name} lacks the labels of accelerator class {name}")
    if spec.resources and not any(amount(node.allocatable.get(resource, "0")) > 0 for resource in spec.resources):
        wanted = " or ".join(spec.resources)
        return refuse(Reason.NO_ACCELERATOR, f"node {node.name} has no {wanted} to give (class {name})")
    return ALLOWED


def _counts(refused: dict[Reason, list[tuple[str, str]]]) -> tuple[Count, ...]:
    return tuple(
        Count(
            reason=reason,
            count=len(found),
            message=found[0][1][:_LONGEST_MESSAGE],
            examples=tuple(sorted(name for name, _ in found)[:_EXAMPLES]),
        )
        for reason, found in sorted(refused.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    )
