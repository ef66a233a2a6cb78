"""Which nodes could run a model, and why not the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from bailiwick.api.quantities import amount
from bailiwick.api.resource import Count
from bailiwick.residency.facts import Fact
from bailiwick.residency.policies import compile_residency
from bailiwick.residency.rules import judge_all
from bailiwick.residency.territories import changes
from bailiwick.residency.verdict import ALLOWED, Problem, Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from bailiwick.api.acceleratorclass import AcceleratorClass, ServingEngine
    from bailiwick.api.sovereignmodel import Residency
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.jurisdictions import Atlas
    from bailiwick.residency.nodes import Node, Taint
    from bailiwick.residency.policies import CompiledPolicy, Limits

_EXAMPLES = 5
_LONGEST_MESSAGE = 1024
_KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})
_STATES = frozenset({
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
})  # fmt: skip
"""Taints by which Kubernetes says what NotReady and Cordoned already tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one replica asks of a node: devices of a class under one of its resource names, and what else it takes.

    ``resource`` is None on a plain CPU, and ``devices`` is 0 then. With ``device_class`` they are claimed: which nodes
    have such devices only the scheduler knows, so the class's labels alone tell the nodes. A replica that takes several
    ``nodes`` asks the same of each.
    """

    accelerator: AcceleratorClass
    serving: ServingEngine
    resource: str | None
    devices: int
    device_class: str | None = None
    nodes: int = 1

    @property
    def device(self) -> str | None:
        """By what name devices are asked for; None: there are none."""
        return self.resource or self.device_class

    @property
    def key(self) -> Hashable:
        """Needs of one key are the same as long as the class is."""
        return (self.accelerator.metadata.name, self.serving.name, self.device, self.devices)

    @property
    def requests(self) -> Mapping[str, str]:
        """Amounts that a replica takes of its node, beside the devices."""
        return self.serving.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """The nodes that could run a replica now, and the others by the reason that is reported for them.

    Three widening circles, sorted by name: ``nodes`` could take a pod now; ``capable`` have the devices, though they
    may be out of service for a while; ``inside`` are inside for every policy and for the model, and carry the labels
    of the class. ``places`` says in which jurisdictions those stand of which it is known. ``until`` is the first moment
    at which time alone may change the answer; None when only something new can. ``problems`` are names in the model's
    own residency that mean nothing.
    """

    nodes: tuple[str, ...] = ()
    capable: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    ineligible: tuple[Count, ...] = ()
    problems: tuple[Problem, ...] = ()
    until: datetime | None = None


class Circle(IntEnum):
    """How near a node is to taking a replica; the outermost first."""

    OUTSIDE = 0
    INSIDE = 1
    CAPABLE = 2
    ELIGIBLE = 3


def judge_node(limits: Iterable[Limits], facts: NodeFacts, need: Need, now: datetime) -> tuple[Circle, Verdict]:
    """The circle that a node is in, and what keeps it from the next one; residency comes first."""
    verdict = judge_all(limits, facts, now)
    inside = verdict
    if not verdict.allowed:
        return Circle.OUTSIDE, verdict
    for circle, rule in (
        (Circle.OUTSIDE, _belongs_to_class),
        (Circle.INSIDE, _can_carry),
        (Circle.CAPABLE, _is_in_service),
    ):
        verdict = rule(facts.node, need)
        if not verdict.allowed:
            return circle, verdict
    return Circle.ELIGIBLE, inside


def eligibility(  # noqa: PLR0913 - everything that counts
    policies: Sequence[CompiledPolicy],
    residency: Residency | None,
    need: Need,
    nodes: Iterable[NodeFacts],
    *,
    atlas: Atlas,
    now: datetime,
) -> Eligibility:
    """Judge every node: residency first, because that is what nobody can mend by adding hardware.

    The facts are those that territories are compiled from, or a node could be promised that no pod can reach. A pure
    function of its arguments: models that share policies, residency and need share the answer.
    """
    own = compile_residency(residency, atlas, by="the model") if residency else None
    limits: tuple[Limits, ...] = (*policies, own) if own else tuple(policies)
    eligible: list[str] = []
    capable: list[str] = []
    inside: list[str] = []
    places: dict[str, str] = {}
    refused: defaultdict[Reason, list[tuple[str, str]]] = defaultdict(list)
    moments: list[datetime] = []
    for facts in nodes:
        moments.extend(moment for limit in limits for moment in changes(limit, facts, now))
        circle, verdict = judge_node(limits, facts, need, now)
        if circle >= Circle.INSIDE:
            inside.append(facts.name)
            if isinstance(facts.place, Fact):
                places[facts.name] = facts.place.jurisdiction
        if circle >= Circle.CAPABLE:
            capable.append(facts.name)
        if circle is Circle.ELIGIBLE:
            eligible.append(facts.name)
        else:
            refused[verdict.reason].append((facts.name, verdict.message))
    return Eligibility(
        nodes=tuple(sorted(eligible)),
        capable=tuple(sorted(capable)),
        inside=tuple(sorted(inside)),
        places=places,
        ineligible=_counts(refused),
        problems=own.problems if own else (),
        until=min(moments, default=None),
    )


def _belongs_to_class(node: Node, need: Need) -> Verdict:
    selector, name = need.accelerator.spec.node_selector, need.accelerator.metadata.name
    if selector and not selector.matches(node.labels):
        return refuse(
            Reason.NO_ACCELERATOR,
            f"node {node.name} is inside, but lacks the labels of accelerator class {name}; label it, or correct "
            f"spec.nodeSelector of the class",
        )
    return ALLOWED


def _can_carry(node: Node, need: Need) -> Verdict:
    """The node has the devices and is large enough, whatever else runs on it now."""
    if need.resource:
        there = node.allocatable.get(need.resource)
        if there is None or 0 < amount(there) < need.devices:
            return refuse(
                Reason.NO_ACCELERATOR,
                f"node {node.name} is inside, but has {there or 'no'} {need.resource} and a replica needs "
                f"{need.devices} (class {need.accelerator.metadata.name}); add devices, or ask for fewer per replica",
            )
    for resource, asked in need.requests.items():
        there = node.allocatable.get(resource)
        if there is not None and amount(there) < amount(asked):
            return refuse(
                Reason.TOO_SMALL,
                f"node {node.name} is inside, but has {there} {resource} in all and a replica asks for {asked} (class "
                f"{need.accelerator.metadata.name}); use a larger node, or lower requests of the class",
            )
    return ALLOWED


def _is_in_service(node: Node, need: Need) -> Verdict:
    """Nothing keeps new pods away from the node at the moment."""
    if not node.ready:
        return refuse(Reason.NOT_READY, f"node {node.name} is inside, but not Ready; mend the node")
    if node.cordoned:
        return refuse(Reason.CORDONED, f"node {node.name} is inside, but cordoned; uncordon it")
    if need.resource and amount(node.allocatable[need.resource]) == 0:
        return refuse(
            Reason.NO_ACCELERATOR,
            f"node {node.name} is inside, but its {need.resource} are all out of order; see its device plug-in",
        )
    for taint in node.taints:
        if taint.effect in _KEEPS_AWAY and taint.key not in _STATES and not _tolerated(taint, need):
            told = f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
            return refuse(
                Reason.TAINTED,
                f"node {node.name} is inside, but has the taint {told}, which accelerator class "
                f"{need.accelerator.metadata.name} does not tolerate; remove the taint, or add the toleration",
            )
    return ALLOWED


def _tolerated(taint: Taint, need: Need) -> bool:
    return any(
        toleration.key == taint.key
        and toleration.effect in {None, taint.effect}
        and (toleration.operator == "Exists" or (toleration.value or "") == taint.value)
        for toleration in need.accelerator.spec.tolerations
    )


def _counts(refused: dict[Reason, list[tuple[str, str]]]) -> tuple[Count, ...]:
    return tuple(
        Count(
            reason=reason,
            count=len(found),
            message=min(found)[1][:_LONGEST_MESSAGE],
            examples=tuple(sorted(name for name, _ in found)[:_EXAMPLES]),
        )
        for reason, found in sorted(refused.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    )
