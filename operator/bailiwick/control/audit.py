"""The audit loop: running pods are judged on every change and every minute; what is outside climbs the ladder."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING, Protocol

from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError
from bailiwick.control import ladder
from bailiwick.control.confirm import Witness
from bailiwick.control.datapaths import DataPaths
from bailiwick.control.queue import Priority
from bailiwick.control.routes import AUDIT, GATHER_SECONDS, REPORT, SPREAD, SWEEP, TERRITORY
from bailiwick.control.stores import BY_GROUP, BY_NAMESPACE, BY_NODE, IN_QUARANTINE, MARKED
from bailiwick.residency import quarantine
from bailiwick.residency.audit import (
    MOST_ENTRIES,
    Audited,
    Judge,
    Plan,
    Pod,
    Step,
    Violation,
    last_step,
    plan,
    read_pod,
    runs,
)
from bailiwick.residency.report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.events import Events
    from bailiwick.cluster.store import Key
    from bailiwick.control.queue import KeyedQueue
    from bailiwick.control.world import World
    from bailiwick.control.writer import Writer
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.verdict import Verdict

SWEEP_SECONDS = 60.0
SLICE = 25
"""So many pods a sweep judges at a stretch: some milliseconds."""
SETTLE_SECONDS = 1.0
"""Between finding a pod outside and the first step against it: what makes it lawful may be on its way to the stores."""
DOUBT_SECONDS = 0.5
"""How soon a violation is looked at again that the API server does not confirm."""

logger = logging.getLogger(__name__)


class Observer(ladder.Observer, Protocol):
    """Told what the audit does."""

    def swept(self, seconds: float) -> None:
        """Everything was judged."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pod that is outside.

    ``since`` is when this process, or the pod's annotation before it, first said so; ``seen`` is this process's clock.
    """

    uid: str
    node: str
    since: datetime
    seen: float
    verdicts: tuple[tuple[str, Verdict], ...]


class AuditLoop:
    """Reconciles (namespace, pod), (namespace, ""), ("", node) and SWEEP. ``clock`` counts seconds, for durations.

    ``judged`` says whether a policy's Territory in force was made from what is believed about a node now.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        world: World,
        api: Api,
        writer: Writer,
        events: Events,
        queue: KeyedQueue,
        observer: Observer,
        clock: Callable[[], float],
        judged: Callable[[CompiledPolicy, str], bool],
    ) -> None:
        self._world = world
        self._stores = world.stores
        self._api = api
        self._writer = writer
        self._events = events
        self._queue = queue
        self._observer = observer
        self._ladder = ladder.Ladder(world=world, api=api, writer=writer, events=events, queue=queue, observer=observer)
        self._clock = clock
        self._judged = judged
        self._found: defaultdict[str, dict[str, Found]] = defaultdict(dict)
        self._data_paths = DataPaths(world=world, api=api, events=events)
        self._unseen = "not looked at yet"
        self._swept: dict[str, object] = {}
        self._covered: dict[str, frozenset[str]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def reconcile(self, key: Key) -> float | None:
        """Judge what a key names, and act; seconds until the ladder goes on."""
        if key == SWEEP:
            return await self._sweep()
        namespace, name = key
        if not namespace:
            by_namespace: defaultdict[str, list[str]] = defaultdict(list)
            for space, each in self._stores.pods.find(BY_NODE, name):
                by_namespace[space].append(each)
            again = await asyncio.gather(*(self._look(space, pods) for space, pods in by_namespace.items()))
            return min((each for each in again if each is not None), default=None)
        if name:
            return await self._look(namespace, [name])
        running = {pod for _, pod in self._stores.pods.find(BY_NAMESPACE, namespace)}
        marked = {pod for _, pod in self._stores.pods.find(MARKED, namespace)}
        self._queue.add_after(REPORT, namespace, GATHER_SECONDS)  # it may be governed no longer
        return await self._look(namespace, sorted(running | marked | self._found[namespace].keys()))

    def audited(self, policy: CompiledPolicy) -> Audited | None:
        """What is known about a policy's pods; None before a sweep judged by the policy as it is."""
        if self._swept.get(policy.name) != policy.spec:
            return None
        pods, outside = 0, []
        for namespace in self._world.governed(policy):
            pods += self._stores.pods.count(BY_NAMESPACE, namespace)
            outside += [
                f"pod {namespace}/{name}: {verdict}"
                for name, found in self._found.get(namespace, {}).items()
                for by, verdict in found.verdicts
                if by == policy.name
            ]
        others = tuple(each.sentence for each in self._data_paths.outside if each.policy == policy.name)
        return Audited(pods, tuple(outside), others, self._entries(policy), self._unseen)

    def _entries(self, policy: CompiledPolicy) -> tuple[Mapping[str, object], ...]:
        found = (
            (f"{namespace}/{name}", found, verdict)
            for namespace in self._world.governed(policy)
            for name, found in self._found.get(namespace, {}).items()
            for by, verdict in found.verdicts
            if by == policy.name
        )
        return tuple(
            {
                "pod": pod,
                "node": found.node,
                "reason": str(verdict.reason),
                "step": self._ladder.last(self._pod(pod), found.uid).word,
                "since": f"{found.since:%Y-%m-%dT%H:%M:%SZ}",
            }
            for pod, found, verdict in nsmallest(MOST_ENTRIES, found, key=lambda each: each[0])
        )

    def found_in(self, namespace: str) -> tuple[Finding, ...] | None:
        """What is outside in a namespace; None before a sweep judged it by every policy that governs it, as it is."""
        governing = {policy.name: policy.spec for policy in self._world.governing(namespace)}
        covered = self._covered.get(namespace, frozenset())
        if any(name not in covered or self._swept.get(name) != spec for name, spec in governing.items()):
            return None
        pods = (
            Finding(policy, "Pod", name, verdict.reason, verdict.message, found.uid, found.node)
            for name, found in self._found.get(namespace, {}).items()
            for policy, verdict in found.verdicts
        )
        others = (
            Finding(each.policy, each.kind, each.name, each.verdict.reason, each.verdict.message, each.uid)
            for each in self._data_paths.outside
            if each.namespace == namespace
        )
        return tuple(each for each in (*pods, *others) if each.policy in governing)

    def unseen(self) -> bool:
        """Whether volumes and Services could not be judged last time."""
        return bool(self._unseen)

    def _pod(self, shown: str) -> Pod | None:
        namespace, _, name = shown.partition("/")
        raw = self._stores.pods.get((namespace, name))
        return read_pod(raw) if raw else None

    # Judging

    async def _sweep(self) -> float:
        begun, now = self._clock(), self._world.clock()
        policies = dict(self._world.policies())
        covered = {
            name: frozenset(policy.name for policy in self._world.governing(name))
            for _, name in self._stores.namespaces.keys()  # noqa: SIM118 - a Store
        }
        facts = self._world.facts()
        judge_pods = Judge(facts, now)
        for namespace in {*map(str, self._stores.pods.values(BY_NAMESPACE)), *self._found}:
            applying = self._world.governing(namespace)
            if applying or self._found.get(namespace):
                names = {pod for _, pod in self._stores.pods.find(BY_NAMESPACE, namespace)}
                each = [*(names | self._found[namespace].keys())]
                for begin in range(0, len(each), SLICE):
                    if facts is not self._world.facts():  # a node may have left since the last slice
                        facts = self._world.facts()
                        judge_pods = Judge(facts, self._world.clock())
                    self._judge(namespace, each[begin : begin + SLICE], applying, judge_pods)
                    # Whatever else is under way, such as a tightened policy, needs many turns to get to the API server.
                    await asyncio.sleep(0)
            if self._found.get(namespace):
                self._queue.add(AUDIT, (namespace, ""), priority=Priority.RESYNC)
            else:
                self._found.pop(namespace, None)
        for marked in self._stores.pods.values(MARKED):
            self._queue.add(AUDIT, (str(marked), ""), priority=Priority.RESYNC)
        try:
            await self._data_paths.judge(policies, now)
            self._unseen = ""
        except ApiError as error:
            logger.warning("volumes and Services could not be judged: %s", error)
            self._unseen = str(error)
        self._swept = {name: policy.spec for name, policy in policies.items()}
        self._covered = covered
        self._observer.swept(self._clock() - begun)
        self._ladder.forget_all_but({each.uid for known in self._found.values() for each in known.values()})
        for name in policies:
            self._queue.add(TERRITORY, name, priority=Priority.RESYNC)
        self._queue.add(SPREAD, REPORT, priority=Priority.RESYNC)
        return SWEEP_SECONDS

    def _judge(
        self, namespace: str, names: Iterable[str], policies: Sequence[CompiledPolicy], judge_pods: Judge
    ) -> dict[str, tuple[Raw, Pod, tuple[Violation, ...]]]:
        """Judge some pods and remember those outside. Returns all that are there, the ones inside without violation."""
        now, known = self._world.clock(), self._found[namespace]
        seen = {}
        for name in names:
            raw = self._stores.pods.get((namespace, name))
            before = known.pop(name, None)
            if raw is None:
                continue
            pod = read_pod(raw)
            violations = judge_pods.violations(pod.node, policies) if runs(raw) else ()
            seen[name] = (raw, pod, violations)
            if not violations:
                continue
            told_before = before is not None and before.uid == pod.uid
            moments = [now, *([pod.since] if pod.since else []), *([before.since] if before and told_before else [])]
            verdicts = tuple((violation.policy.name, violation.verdict) for violation in violations)
            first = before.seen if before and told_before else self._clock()
            known[name] = Found(pod.uid, pod.node, min(moments), first, verdicts)
            if not told_before and pod.since is None:
                self._ladder.report(raw, violations)
        return seen

    def violations(self) -> Mapping[tuple[str, str], int]:
        """How much is outside at this moment, by policy and reason."""
        pods = (found for namespace in self._found.values() for found in namespace.values())
        counted = Counter((policy, str(verdict.reason)) for found in pods for policy, verdict in found.verdicts)
        return counted + Counter((each.policy, str(each.verdict.reason)) for each in self._data_paths.outside)

    # Acting

    async def _look(self, namespace: str, names: Iterable[str]) -> float | None:
        async with self._locks[namespace]:
            return await self._judge_and_act(namespace, names)

    async def _judge_and_act(self, namespace: str, names: Iterable[str]) -> float | None:
        policies, known = self._world.governing(namespace), self._found[namespace]
        names = self._with_groups(namespace, names)
        before = {name: known[name].verdicts for name in names if name in known}
        seen = self._judge(namespace, names, policies, Judge(self._world.facts(), self._world.clock()))
        after = {name: known[name].verdicts for name in names if name in known}
        for policy in {policy for verdicts in _differing(before, after) for policy, _ in verdicts}:
            self._queue.add(TERRITORY, policy)
            self._queue.add_after(REPORT, namespace, GATHER_SECONDS)
        plans, again = self._plans(seen, await self._doubted(seen))
        selectors: list[Raw] = []
        if any(each and each[0].step >= Step.QUARANTINE for each in plans.values()):
            await self._writer.apply(quarantine.network_policy(namespace))
            selectors = await self._ladder.selectors(namespace)
        waits = await asyncio.gather(
            *(
                self._ladder.treat(raw, pod, plans.get(name), selectors)
                for name, (raw, pod, _) in seen.items()
                if name not in plans or plans[name]
            ),
            return_exceptions=True,
        )
        if not self._stores.pods.count(IN_QUARANTINE, namespace):
            await self._writer.delete(resources.NETWORK_POLICIES, quarantine.NETWORK_POLICY, namespace)
        for wait in waits:
            if isinstance(wait, BaseException):
                raise wait
        return min((each for each in (again, *waits) if isinstance(each, float)), default=None)

    def _with_groups(self, namespace: str, names: Iterable[str]) -> set[str]:
        """The pods, and the other members of their groups."""
        wanted = set(names)
        for name in list(wanted):
            if (raw := self._stores.pods.get((namespace, name))) and (group := read_pod(raw).group):
                wanted.update(member for _, member in self._stores.pods.find(BY_GROUP, (namespace, group)))
        return wanted

    async def _doubted(self, seen: Mapping[str, tuple[Raw, Pod, tuple[Violation, ...]]]) -> set[tuple[str, str]]:
        """Violations, by pod and policy, on which no step may rest yet: just found, or not confirmed."""
        witness = Witness(api=self._api, nodes=self._stores.nodes, judged=self._judged)
        doubted = set()
        for name, (_, pod, violations) in seen.items():
            for policy in (each.policy for each in violations if last_step(each.policy) > Step.REPORT):
                settled = self._clock() - self._found[pod.namespace][name].seen >= SETTLE_SECONDS
                if not settled or not await witness.confirms(policy, pod.node):
                    doubted.add((name, policy.name))
        return doubted

    def _plans(
        self, seen: Mapping[str, tuple[Raw, Pod, tuple[Violation, ...]]], doubted: set[tuple[str, str]]
    ) -> tuple[dict[str, tuple[Plan, datetime] | None], float | None]:
        """By pod, the step to be taken now and since when its clock runs. The members of a group share both.

        None leaves a pod as it is: it may be outside, and may not.
        """
        groups: defaultdict[str, list[tuple[Pod, tuple[Violation, ...]]]] = defaultdict(list)
        for raw, pod, violations in seen.values():
            if runs(raw):
                groups[pod.group or f"/{pod.name}"].append((pod, violations))
        plans: dict[str, tuple[Plan, datetime] | None] = {}
        again: list[float] = []
        now = self._world.clock()
        for members in groups.values():
            violated = [(pod.name, each.policy) for pod, violations in members for each in violations]
            if not violated:
                continue
            certain = {policy.name: policy for name, policy in violated if (name, policy.name) not in doubted}
            unsure = any(policy.name not in certain for _, policy in violated)
            again += [DOUBT_SECONDS] if unsure else []
            found = [self._found[pod.namespace].get(pod.name) for pod, _ in members]
            since = min(each.since for each in found if each)
            made = plan(tuple(certain.values()), since, now) if certain else None
            again += [made.look_again_in] if made and made.look_again_in is not None else []
            acts = made is not None and not (unsure and made.step is Step.REPORT)
            plans |= {pod.name: (made, since) if made and acts else None for pod, _ in members}
        return plans, min(again, default=None)


def _differing(
    before: Mapping[str, tuple[tuple[str, Verdict], ...]], after: Mapping[str, tuple[tuple[str, Verdict], ...]]
) -> Iterable[tuple[tuple[str, Verdict], ...]]:
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name):
            yield from (each for each in (before.get(name), after.get(name)) if each)
