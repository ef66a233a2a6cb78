"""Where a pod or model may run and why not elsewhere, and what a node is for each policy. Pure, but for the World."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.facts import Fact
from bailiwick.residency.rules import judge, judge_all
from bailiwick.residency.territories import RESIDENT, label_of
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict
from bailiwick.workload.eligibility import Need, judge_node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.control.world import World
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy

Raw = dict[str, Any]

_EXAMPLES = 5
VERSION = 1
"""Of the JSON; it grows by fields, and changes its number when one goes or means something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One verdict: on a node for a pod or model (``where`` names the node), or for a policy (it names that)."""

    where: str
    place: str
    verdict: Verdict

    def as_json(self) -> Raw:
        """For programs."""
        verdict = self.verdict
        return {
            "name": self.where, "place": self.place, "allowed": verdict.allowed, "reason": verdict.reason.value,
            "message": verdict.message,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is told: a sentence on top, what it follows from, and every verdict, by name."""

    subject: str
    summary: str
    allowed: bool | None
    """Whether it is where it may be; None where it is nowhere."""
    facts: tuple[tuple[str, str], ...] = ()
    judged: tuple[Judged, ...] = ()
    by_policy: bool = False
    notes: tuple[str, ...] = ()

    def as_json(self) -> Raw:
        """For programs."""
        return {
            "version": VERSION,
            "subject": self.subject,
            "summary": self.summary,
            "allowed": self.allowed,
            "facts": dict(self.facts),
            "policies" if self.by_policy else "nodes": [each.as_json() for each in self.judged],
            "notes": list(self.notes),
        }


def explain_node(world: World, name: str, facts: NodeFacts) -> Explanation:
    """What is believed of a node, and what each policy makes of it."""
    now = world.clock()
    judged = tuple(
        Judged(where=policy.name, place=_place(facts), verdict=judge(policy, facts, now))
        for policy in sorted(world.policies().values(), key=lambda each: each.name)
    )
    inside = [each.where for each in judged if each.verdict.allowed]
    told = f"inside for {', '.join(inside)}" if inside else "inside for no policy"
    return Explanation(
        subject=f"node {name}",
        summary=f"node {name} is {told}" if judged else f"there is no policy, so nothing is asked of node {name}",
        allowed=None,
        facts=tuple((each.value, _answer(facts, each)) for each in Dimension),
        judged=judged,
        by_policy=True,
        notes=(
            *map(str, facts.problems),
            *_not_in_force(world, [facts], world.policies().values()),
            *_unread(sorted(world.unreadable())),
        ),
    )


def explain_pod(world: World, pod: Raw) -> Explanation:
    """Where the policies of its namespace let a pod run, and whether it is there."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    subject = f"pod {metadata['namespace']}/{metadata['name']}"
    policies, facts = world.governing(metadata["namespace"]), world.facts()
    node, unread = spec.get("nodeName") or "", _unread(world.unreadable_over(metadata["namespace"]))
    if not policies:
        on = f" and runs on node {node}" if node else ""
        governs = f"{'that can be read ' if unread else ''}governs namespace {metadata['namespace']}"
        free = f"nobody knows where {subject} may run" if unread else f"{subject} may run anywhere{on}"
        return Explanation(subject=subject, allowed=None, summary=f"no policy {governs}: {free}", notes=unread)
    now = world.clock()
    enforcing = [each for each in policies if each.mode is Mode.ENFORCE]
    judged = tuple(
        Judged(where=name, place=_place(each), verdict=_for_a_pod(policies, enforcing, each, now))
        for name, each in sorted(facts.items())
    )
    summary, allowed = _stands(subject, node, judged)
    return Explanation(
        subject=subject,
        summary=summary,
        allowed=None if allowed and unread else allowed,
        facts=(("policies", _named(policies)),),
        judged=judged,
        notes=(
            *_unpinned(spec, enforcing),
            *_waits(pod, node),
            *_not_in_force(world, facts.values(), policies),
            *unread,
        ),
    )


def explain_model(world: World, model: SovereignModel) -> Explanation:
    """Which nodes could take a replica as it is planned, and why the others could not."""
    metadata, status = model.metadata, model.status
    namespace = metadata.namespace or ""
    subject = f"model {namespace}/{metadata.name}"
    policies = world.governing(namespace)
    limits, now = world.limits(model, policies), world.clock()
    own = ("residency", "the model's own, besides") if model.spec.residency else None
    asked = (("policies", _named(policies) or "none"), *((own,) if own else ()))
    if model.spec.model.endpoint:
        return _served_outside(world, model, subject, policies, asked)
    need = need_of(world, model)
    judged = tuple(
        Judged(
            where=name, place=_place(facts),
            verdict=judge_node(limits, facts, need, now)[1] if need else judge_all(limits, facts, now),
        )
        for name, facts in sorted(world.facts().items())
    )  # fmt: skip
    fitting = sum(each.verdict.allowed for each in judged)
    planned = next((each for each in status.conditions if each.type == "Planned"), None) if status else None
    notes = () if need else (_why_no_plan(planned),)
    what = f"{fitting} of {len(judged)} nodes {'could take a replica now' if need else 'are inside'}"
    plan = f"{need.serving.name} on {need.accelerator.metadata.name}, {need.device or 'no device'}" if need else "none"
    return Explanation(
        subject=subject,
        summary=f"{subject}: {what}",
        allowed=None,
        facts=(*asked, ("plan", plan), *_replicas(model)),
        judged=judged,
        notes=(
            *notes,
            *_not_in_force(world, world.facts().values(), policies),
            *_unread(world.unreadable_over(namespace)),
        ),
    )


def _served_outside(
    world: World,
    model: SovereignModel,
    subject: str,
    policies: Sequence[CompiledPolicy],
    asked: tuple[tuple[str, str], ...],
) -> Explanation:
    judged = world.endpoint(model, policies)
    if judged is None:
        summary = f"{subject} is served outside, and nobody has stated anything of that endpoint"
        return Explanation(subject=subject, summary=summary, allowed=False, facts=asked)
    verdict, unread = judged.verdict, _unread(world.unreadable_over(model.metadata.namespace or ""))
    told = "which is inside" if verdict.allowed else f"which is not inside: {verdict}"
    facts = tuple((each.value, _answer(judged.facts, each)) for each in Dimension)
    summary = f"{subject} is served by endpoint {judged.name}, {told}"
    if unread:
        summary += "; nothing is sent there until every policy can be read that may govern the model"
    allowed = verdict.allowed and not unread
    return Explanation(subject=subject, summary=summary, allowed=allowed, facts=(*asked, *facts), notes=unread)


def _unread(policies: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        f"{Reason.INVALID_POLICY}: policy {name} cannot be read by this release, so nobody knows what it asks"
        for name in policies
    )


def need_of(world: World, model: SovereignModel) -> Need | None:
    """What a replica asks of a node, as it was planned; None where nothing was, or its class is gone."""
    plan = model.status.plan if model.status else None
    accelerator = world.classes().get(plan.accelerator_class) if plan else None
    if plan is None or accelerator is None:
        return None
    serving = next((each for each in accelerator.spec.engines if each.name == plan.engine), None)
    if serving is None:
        return None
    claimed = plan.device is not None and "/" not in plan.device
    return Need(
        accelerator=accelerator, serving=serving, resource=None if claimed else plan.device,
        devices=plan.devices_per_replica, device_class=plan.device if claimed else None, nodes=plan.nodes_per_replica,
    )  # fmt: skip


def _why_no_plan(planned: Any) -> str:
    if planned is None:
        return "the operator has not planned it yet, so this is where it may run and not what it needs there"
    return f"it is not planned, so this is where it may run and not what it needs: {planned.reason}: {planned.message}"


def _replicas(model: SovereignModel) -> tuple[tuple[str, str], ...]:
    placements = model.status.placements if model.status else ()
    where: defaultdict[str, int] = defaultdict(int)
    for each in placements:
        where[f"{each.node} ({each.jurisdiction or 'nobody knows where'})"] += 1
    told = ", ".join(f"{count} on {node}" for node, count in sorted(where.items()))
    return (("replicas", told or "none has a node"),)


def _for_a_pod(
    policies: Sequence[CompiledPolicy], enforcing: Sequence[CompiledPolicy], facts: NodeFacts, now: datetime
) -> Verdict:
    """Only policies that enforce refuse; what the others would is a doubt."""
    verdict = judge_all(enforcing, facts, now)
    if not verdict.allowed or verdict.reason is not Reason.ALLOWED:
        return verdict
    wished = judge_all(policies, facts, now)
    return ALLOWED if wished is ALLOWED else Verdict(allowed=True, reason=wished.reason, message=wished.message)


def _stands(subject: str, node: str, judged: Sequence[Judged]) -> tuple[str, bool | None]:
    open_to = sum(each.verdict.allowed for each in judged)
    if not node:
        return f"{subject} has no node yet; it may run on {open_to} of {len(judged)}", None
    here = next((each for each in judged if each.where == node), None)
    if here is None:
        return f"{subject} is on node {node}, which is not there (any more); delete the pod", False
    if here.verdict.allowed:
        return f"{subject} runs on node {node} ({here.place}), where it may", True
    return f"{subject} runs on node {node} ({here.place}), where it may not: {here.verdict}", False


def _unpinned(spec: Mapping[str, Any], enforcing: Sequence[CompiledPolicy]) -> list[str]:
    chosen = spec.get("nodeSelector") or {}
    return [
        f"{Reason.NOT_PINNED}: policy {each.name} asks for nodeSelector {label_of(each.name)}={RESIDENT}, and the pod "
        f"has none such; it is older than the policy, and made anew it is pinned, or refused where bailiwick-pin is not"
        for each in enforcing
        if chosen.get(label_of(each.name)) != RESIDENT
    ]


def _waits(pod: Raw, node: str) -> list[str]:
    """What the scheduler says: more than residency decides where a pod fits."""
    conditions = () if node else (pod.get("status") or {}).get("conditions") or ()
    return [f"the scheduler says: {each['message']}" for each in conditions if each.get("message")]


def _not_in_force(world: World, facts: Collection[NodeFacts], policies: Iterable[CompiledPolicy]) -> list[str]:
    """Where the border that is in force differs from what follows from the facts now."""
    now, told = world.clock(), []
    for policy in policies:
        territory = world.stores.territories.get(("", policy.name))
        if territory is None:
            told.append(f"policy {policy.name} has no Territory: nothing of it is in force; does the operator run?")
            continue
        held = territory["spec"]["nodes"]
        differ = [each.name for each in facts if judge(policy, each, now).allowed is not (each.name in held)]
        if differ:
            more = f" and {len(differ) - _EXAMPLES} more" if len(differ) > _EXAMPLES else ""
            told.append(
                f"Territory {policy.name} does not have it so yet for {', '.join(differ[:_EXAMPLES])}{more}; if that "
                f"stays so, see whether the operator runs"
            )
    return told


def _place(facts: NodeFacts) -> str:
    return facts.place.jurisdiction if isinstance(facts.place, Fact) else "nobody knows where"


def _answer(facts: NodeFacts, dimension: Dimension) -> str:
    answer = facts.answer(dimension)
    if not isinstance(answer, Fact):
        return f"not known ({answer.reason}): {answer.message}"
    until = answer.vouchers[0].until
    return f"{answer.jurisdiction}, {answer.assurance} by {answer.by}" + (f" until {until:%Y-%m-%d}" if until else "")


def _named(policies: Sequence[CompiledPolicy]) -> str:
    return ", ".join(f"{each.name} ({each.mode})" for each in policies)
