"""How everything stands in one world: who is inside, what is refused, what runs where it may not.

Judged by what judges elsewhere: nodes by the rules of residency, Territories as the territory loop compiles them,
objects by the in-tree policies as `check` asks them, pods that run as the audit does, models as the model loop does.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bailiwick.api.residencypolicy import Mode
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cli.live.explanations import need_of
from bailiwick.cli.offline.violations import taken_apart
from bailiwick.cli.whatif.subjects import Subject
from bailiwick.preview.judging import Border, MalformedError, measure
from bailiwick.residency.audit import Judge
from bailiwick.residency.datapaths import judge_volume
from bailiwick.residency.egress import opened
from bailiwick.residency.facts import Fact
from bailiwick.residency.rules import judge, judge_all
from bailiwick.residency.territories import compile_territory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from bailiwick.cli.whatif.subjects import Group, Sorted
    from bailiwick.control.world import World
    from bailiwick.preview.guards import Guard
    from bailiwick.residency.egress import Destination
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.verdict import Verdict

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """A rule that somebody breaks. ``policy`` is empty for what holds whatever policies there are."""

    subject: Subject
    policy: str
    guard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server does about it, and for how many pods; 0 where it is about the object itself."""

    mode: Mode
    message: str
    pods: int


@dataclass(frozen=True, slots=True, order=True)
class Outside:
    """Pods on a node, or a claim on a volume (``where``), that a policy does not let be there."""

    policy: str
    subject: Subject
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """How many pods (1 for a claim), and what is said of them."""

    count: int
    message: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model could be served: nodes that could take a replica, or its endpoint outside."""

    nodes: frozenset[str]
    why: str = ""
    """Why an endpoint will not do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything, as of one moment and one set of policies."""

    policies: Mapping[str, CompiledPolicy]
    verdicts: Mapping[str, Mapping[str, Verdict]]
    """By policy, on every node."""
    places: Mapping[str, str]
    """Where nodes stand; empty where nobody knows."""
    governing: Mapping[str, tuple[str, ...]]
    """By namespace, the policies that govern it."""
    open_to: Mapping[str, frozenset[str]]
    """By governed namespace, the nodes that are inside for every policy that enforces."""
    reaches: Mapping[str, tuple[Destination, ...] | None]
    """By namespace, what its pods may reach; None where no policy closes it."""
    pods: Mapping[str, int]
    """By namespace, pods that are not finished."""
    refusals: Mapping[Rule, Refusal] = field(default_factory=dict)
    outside: Mapping[Outside, Found] = field(default_factory=dict)
    models: Mapping[Subject, Place] = field(default_factory=dict)
    unjudged: Mapping[str, int] = field(default_factory=dict)
    """What could not be judged, and of how many objects."""


class Scene:
    """A world with the border that its policies draw."""

    def __init__(
        self, world: World, guards: tuple[Guard, ...], classes: Mapping[str, str | None], *, pins: bool
    ) -> None:
        self.world = world
        self._facts = world.facts()
        schedulers = {each.spec.scheduler_name or "" for each in world.classes().values()} - {""}
        now = world.clock()
        self._territories = {
            name: compile_territory(policy, self._facts.values(), now, schedulers=schedulers)
            for name, policy in sorted(world.policies().items())
        }
        self.border = Border(
            guards=guards,
            measures=tuple(
                measure(world.policies()[name], each.manifest, nodes_known=bool(self._facts))
                for name, each in self._territories.items()
            ),
            namespaces={
                name: each["metadata"].get("labels", {}) for (_, name), each in world.stores.namespaces.items()
            },
            exempt=world.exempt,
            classes=classes,
            pins=pins,
            whole=True,
        )

    def measured(self, namespace: str) -> object:
        """What decides about everything in a namespace: where it is the same in two scenes, so are the answers."""
        return tuple(
            (each.name, each.mode, self._territories[each.name].digest) for each in self.world.governing(namespace)
        )

    def stand(self, judged: Sorted, *, only: Collection[str], told: Callable[[str], None]) -> Standing:
        """Judge what is in ``only`` these namespaces, and what has none."""
        world, now = self.world, self.world.clock()
        policies = world.policies()
        verdicts = {
            name: {node: judge(policy, facts, now) for node, facts in self._facts.items()}
            for name, policy in sorted(policies.items())
        }
        governing = {name: world.governing(name) for _, name in world.stores.namespaces.keys()}  # noqa: SIM118 - a Store
        refusals, unjudged = self._refusals(judged, only, told)
        pods: Counter[str] = Counter()
        for group in judged.groups:
            pods[group.subject.namespace] += group.pods
        return Standing(
            policies=policies,
            verdicts=verdicts,
            places={
                name: facts.place.jurisdiction if isinstance(facts.place, Fact) else ""
                for name, facts in self._facts.items()
            },
            governing={name: tuple(each.name for each in found) for name, found in governing.items()},
            open_to={name: self._open_to(found, verdicts) for name, found in governing.items() if found},
            reaches={name: opened(found) for name, found in governing.items()},
            pods=pods,
            refusals=refusals,
            outside=self._outside(judged, verdicts),
            models=self._models(only),
            unjudged=unjudged,
        )

    def _open_to(
        self, governing: tuple[CompiledPolicy, ...], verdicts: Mapping[str, Mapping[str, Verdict]]
    ) -> frozenset[str]:
        enforcing = [verdicts[each.name] for each in governing if each.mode is Mode.ENFORCE]
        return frozenset(node for node in self._facts if all(each[node].allowed for each in enforcing))

    def _refusals(
        self, judged: Sorted, only: Collection[str], told: Callable[[str], None]
    ) -> tuple[dict[Rule, Refusal], Counter[str]]:
        found: dict[Rule, Refusal] = {}
        unjudged: Counter[str] = Counter()
        concerned = [
            each for each in judged.groups if (each.manifest["metadata"].get("namespace") or "") in {*only, ""}
        ]
        for number, group in enumerate(concerned):
            if number % 100 == 0:
                told(f"judging {number} of {len(concerned)} templates and objects")
            try:
                self._judge(group, found, unjudged)
            except (MalformedError, RecursionError, ValueError, TypeError, AttributeError, KeyError) as error:
                why = str(error) if isinstance(error, MalformedError) else "it is not of its kind's shape"
                unjudged[f"{group.subject}: {why}"] += 1
        return found, unjudged

    def _judge(self, group: Group, found: dict[Rule, Refusal], unjudged: Counter[str]) -> None:
        told = set()
        for each in self.border.judge(group.manifest):
            if each.doubt:
                unjudged[each.message] += 1
                continue
            mode = each.policy.mode if each.policy else Mode.ENFORCE
            rule = Rule(
                group.subject, each.policy.name if each.policy else "", each.guard, taken_apart(each.message)[0]
            )
            before = found.get(rule)
            pods = (before.pods if before else 0) + (group.pods if rule not in told else 0)
            told.add(rule)
            found[rule] = Refusal(mode, before.message if before else each.message, pods)

    def _outside(self, judged: Sorted, verdicts: Mapping[str, Mapping[str, Verdict]]) -> dict[Outside, Found]:
        found: dict[Outside, Found] = {}
        by_node = Judge(self._facts, self.world.clock()) if self._facts else None
        for (subject, namespace, node), count in judged.running.items():
            for each in by_node.violations(node, self.world.governing(namespace)) if by_node else ():
                key = Outside(each.policy.name, subject, node, each.verdict.reason)
                found[key] = Found(count, each.verdict.message)
        labels = {name: each["metadata"].get("labels", {}) for (_, name), each in self.world.stores.nodes.items()}
        inside = {
            name: {node: labels.get(node, {}) for node, verdict in about.items() if verdict.allowed}
            for name, about in verdicts.items()
        }
        for volume in judged.volumes if self._facts else ():
            claim = volume["spec"].get("claimRef")
            for policy in self.world.governing(claim["namespace"]) if claim else ():
                verdict = judge_volume(policy, volume, inside[policy.name])
                if not verdict.allowed:
                    subject = Subject("PersistentVolumeClaim", claim["namespace"], claim["name"])
                    key = Outside(policy.name, subject, volume["metadata"]["name"], verdict.reason)
                    found[key] = Found(1, verdict.message)
        return found

    def _models(self, only: Collection[str]) -> dict[Subject, Place]:
        known: dict[object, frozenset[str]] = {}
        found: dict[Subject, Place] = {}
        for (namespace, name), raw in self.world.stores.models.items():
            if namespace in only:
                with suppress(ValidationError):  # told as not seen by whoever gathered it
                    found[Subject("SovereignModel", namespace, name)] = self._place(SovereignModel.read(raw), known)
        return found

    def _place(self, model: SovereignModel, known: dict[object, frozenset[str]]) -> Place:
        world = self.world
        policies = world.governing(model.metadata.namespace or "")
        if source := model.spec.model.endpoint:
            judged = world.endpoint(model, policies)
            if judged is None:
                return Place(frozenset(), "nobody has stated anything of its endpoint")
            return Place(frozenset({source.statement} if judged.verdict.allowed else ()), str(judged.verdict))
        if need := need_of(world, model):
            return Place(frozenset(world.eligible(model, policies, need).nodes))
        key = (tuple(each.name for each in policies), model.spec.residency)
        if key not in known:
            limits, now = world.limits(model, policies), world.clock()
            known[key] = frozenset(name for name, facts in self._facts.items() if judge_all(limits, facts, now).allowed)
        return Place(known[key])
