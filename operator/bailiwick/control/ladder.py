"""What is done about one pod that is outside, or is inside again: every step is an Event and a metric."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from bailiwick.cluster import resources
from bailiwick.cluster.errors import NotFound, Terminal, Transient
from bailiwick.control.confirm import still_there
from bailiwick.control.routes import TERRITORY
from bailiwick.residency import quarantine
from bailiwick.residency.audit import Plan, Pod, Step, Violation, last_step, read_pod

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.events import Events
    from bailiwick.control.queue import KeyedQueue
    from bailiwick.control.world import World
    from bailiwick.control.writer import Writer

BLOCKED_SECONDS = 10.0
"""How soon an eviction that a PodDisruptionBudget held up is tried again."""
GATHER_SECONDS = 1.0
"""From a step to its policy's status."""

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told of every step."""

    def stepped(self, policy: str, step: str, pods: int) -> None:
        """A step was taken against so many pods, for a policy."""


class Ladder:
    """Takes the steps, and remembers the last one by pod for as long as this process runs."""

    def __init__(  # noqa: PLR0913 - by keyword
        self, *, world: World, api: Api, writer: Writer, events: Events, queue: KeyedQueue, observer: Observer
    ) -> None:
        self._world = world
        self._stores = world.stores
        self._api = api
        self._writer = writer
        self._events = events
        self._queue = queue
        self._observer = observer
        self._taken: dict[str, Step] = {}

    def last(self, pod: Pod | None, uid: str) -> Step:
        """The last step taken; of those before this process began, a quarantine is seen on the pod."""
        cut_off = pod is not None and pod.quarantined
        return max(self._taken.get(uid, Step.REPORT), Step.QUARANTINE if cut_off else Step.REPORT)

    def forget_all_but(self, outside: AbstractSet[str]) -> None:
        """What was done to pods that are gone, or inside again. ``outside`` are uids."""
        self._taken = {uid: step for uid, step in self._taken.items() if uid in outside}

    async def selectors(self, namespace: str) -> list[Raw]:
        """By which labels the namespace's Services and NetworkPolicies find pods, as the API server says now."""
        found: list[Raw] = [
            {"matchLabels": chosen}
            async for service in self._api.list(resources.SERVICES, namespace)
            if (chosen := service["spec"].get("selector"))
        ]
        found += [
            network_policy["spec"].get("podSelector") or {}
            async for network_policy in self._api.list(resources.NETWORK_POLICIES, namespace)
            if network_policy["metadata"]["name"] != quarantine.NETWORK_POLICY
        ]
        return found

    async def treat(
        self, raw: Raw, pod: Pod, planned: tuple[Plan, datetime] | None, selectors: Sequence[Raw]
    ) -> float | None:
        """Take the step that is due against one pod, or take back what was done to one that is inside."""
        try:
            if planned is None:
                await self._release(raw, pod)
                return None
            made, since = planned
            if pod.mirror or not await self._mark(raw, made, since, selectors):
                return None  # a kubelet runs a static pod from a file: nothing done to its mirror reaches it
            if made.step is Step.EVICT and not pod.terminating and await still_there(self._api, pod):
                return await self._evict(raw, pod, made)
            if made.step is Step.DELETE and not pod.ends_in_time and await still_there(self._api, pod):
                await self._api.delete(
                    resources.PODS, pod.name, pod.namespace, uid=pod.uid, grace_seconds=pod.grace_seconds
                )
                self._tell(raw, made, "Deleted", f"deleted: past the deadline of policy {made.policy}")
        except NotFound:
            pass
        return None

    async def _mark(self, raw: Raw, made: Plan, since: datetime, selectors: Sequence[Raw]) -> bool:
        """Write down the clock, and put the pod into quarantine. False when nothing more than a report is allowed."""
        metadata = raw["metadata"]
        if made.step is Step.REPORT:
            await self._release(raw, read_pod(raw))
            return False
        if quarantine.enter(metadata, selectors, since, made.policy):
            live = await still_there(self._api, read_pod(raw))
            if live is None:
                return False
            patch = quarantine.enter(live["metadata"], selectors, since, made.policy)
            await self._writer.metadata(resources.PODS, live, patch)
            if metadata.get("labels", {}).get(quarantine.QUARANTINED) != "true":
                note = f"cut off from the network and from its Services: it violates policy {made.policy}"
                self._tell(raw, made, "Quarantined", note, step=Step.QUARANTINE)
        return True

    async def _evict(self, raw: Raw, pod: Pod, made: Plan) -> float | None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        try:
            await self._api.post_subresource(resources.PODS, pod.name, pod.namespace, "eviction", eviction)
        except Transient as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            self._events.post(raw, "EvictionBlocked", error.message, action=Step.EVICT.word, warning=True)
            return BLOCKED_SECONDS
        self._tell(raw, made, "Evicted", f"evicted: it violates policy {made.policy}")
        return None

    async def _release(self, raw: Raw, pod: Pod) -> None:
        """Take back a quarantine, unless a policy that cannot be read may want it."""
        policy = (raw["metadata"].get("annotations") or {}).get(quarantine.BY)
        patch = quarantine.leave(raw["metadata"])
        if not patch or self._world.unreadable_over(pod.namespace):
            return
        try:
            await self._writer.metadata(resources.PODS, raw, patch)
        except Terminal as error:
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            logger.warning("pod %s/%s stays in quarantine: %s", pod.namespace, pod.name, error)
            return
        if pod.quarantined and policy:
            self._events.post(raw, "Released", "out of quarantine: it violates no policy", action="Release")
            self._observer.stepped(policy, "Release", 1)

    def report(self, raw: Raw, violations: Sequence[Violation]) -> None:
        """Tell that a pod is outside, for each policy that it violates."""
        metadata = raw["metadata"]
        for violation in violations:
            name, verdict = violation.policy.name, violation.verdict
            action = last_step(violation.policy).word
            self._events.post(raw, verdict.reason, verdict.message, action=action, warning=True)
            self._post_on(name, verdict.reason, f"pod {metadata['namespace']}/{metadata['name']}: {verdict.message}")
            self._observer.stepped(name, Step.REPORT.word, 1)

    def _tell(self, raw: Raw, made: Plan, reason: str, note: str, *, step: Step | None = None) -> None:
        metadata, taken = raw["metadata"], made.step if step is None else step
        word = taken.word
        self._taken[metadata["uid"]] = taken
        self._queue.add_after(TERRITORY, made.policy, GATHER_SECONDS)  # many pods at once are told at once
        self._events.post(raw, reason, note, action=word, warning=True)
        self._post_on(made.policy, reason, f"pod {metadata['namespace']}/{metadata['name']} {note}", action=word)
        self._observer.stepped(made.policy, word, 1)

    def _post_on(self, policy: str, reason: str, note: str, *, action: str = "Report") -> None:
        if manifest := self._stores.policies.get(("", policy)):
            self._events.post(manifest, reason, note, action=action, warning=True)
