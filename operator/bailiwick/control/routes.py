"""From a change to keys: what has to be looked at again because one object is different. O(1), and never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bailiwick.control.canary import SETTLE_SECONDS
from bailiwick.control.queue import Priority
from bailiwick.control.stores import BY_ENDPOINT, BY_IMPORT, BY_MODEL, BY_PROFILE, PREFIX
from bailiwick.residency.border import policy_of
from bailiwick.residency.egress import CLOSED, EGRESS
from bailiwick.residency.nodes import LABEL_PREFIX, read_node
from bailiwick.residency.quarantine import NETWORK_POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.store import Change, Store
    from bailiwick.control.queue import KeyedQueue
    from bailiwick.control.stores import Stores

TERRITORY: Final = "territory"
MODEL: Final = "model"
AUDIT: Final = "audit"
"""Keys of the audit: (namespace, pod), (namespace, ""), ("", node), and SWEEP for everything."""
SWEEP: Final = ("", "")
CANARY: Final = "canary"
WAIVER: Final = "waiver"
KEEPER: Final = "keeper"
"""It has one key, its own name."""
REPORT: Final = "report"
"""Its keys are names of namespaces."""
SPREAD: Final = "spread"
"""The loop that turns "all policies" and "all models" into keys, so that a change of a node costs one key, not all."""


RESYNC_SECONDS = 300.0
GATHER_SECONDS = 5.0
"""From a finding, or an edit of a report, to its report: many at once are one write."""


class Routes:
    """Puts the keys that a change concerns into the queue."""

    def __init__(self, *, stores: Stores, queue: KeyedQueue) -> None:
        self._queue = queue
        self._models = stores.models
        self._by_store: dict[int, Callable[[Change, Priority], None]] = {
            id(stores.policies): self._policy,
            id(stores.jurisdictions): self._jurisdiction,
            id(stores.authorities): self._jurisdiction,
            id(stores.statements): self._statement,
            id(stores.endpoints): self._endpoint,
            id(stores.nodes): self._node,
            id(stores.namespaces): self._namespace,
            id(stores.waivers): self._everything,
            id(stores.approvals): self._everything,
            id(stores.classes): self._everything,
            id(stores.territories): self._territory,
            id(stores.validating_policies): self._in_tree,
            id(stores.mutating_policies): self._in_tree,
            id(stores.validating_bindings): self._binding,
            id(stores.mutating_bindings): self._binding,
            id(stores.webhooks): self._webhook,
            id(stores.models): self._model,
            id(stores.profiles): self._profile,
            id(stores.pods): self._pod,
            **{id(store): self._child for store in stores.children},
            id(stores.network_policies): self._network_policy,
            id(stores.gateways): self._gateway,
            **{id(store): self._report for store in stores.reports},
        }

    def changed(self, store: Store, changes: Iterable[Change], *, priority: Priority = Priority.LIVE) -> None:
        """Something in a store is different."""
        route = self._by_store[id(store)]
        for change in changes:
            route(change, priority)

    def _policy(self, change: Change, priority: Priority) -> None:
        self._queue.add(TERRITORY, change.key[1], priority=priority)
        self._queue.add_after(CANARY, change.key[1], SETTLE_SECONDS)
        self._queue.add(SPREAD, MODEL, priority=priority)
        self._queue.add(SPREAD, WAIVER, priority=priority)
        if _generation(change.before) != _generation(change.after):  # not for its status, which follows from the audit
            self._queue.add(AUDIT, SWEEP, priority=priority)

    def _territory(self, change: Change, priority: Priority) -> None:
        self._queue.add(TERRITORY, change.key[1], priority=priority)
        self._queue.add_after(CANARY, change.key[1], SETTLE_SECONDS)
        self._queue.add(AUDIT, SWEEP, priority=priority)

    def _binding(self, change: Change, priority: Priority) -> None:
        binding = change.after or change.before
        policy = policy_of(binding) if binding else None
        if policy is None:
            if change.key[1].startswith(PREFIX):
                self._queue.add(SPREAD, TERRITORY, priority=priority)
                self._in_tree(change, priority)
        else:
            self._queue.add(TERRITORY, policy, priority=priority)
            self._queue.add_after(CANARY, policy, SETTLE_SECONDS)

    def _in_tree(self, change: Change, priority: Priority) -> None:
        if change.key[1].startswith(PREFIX):
            self._queue.add(KEEPER, KEEPER, priority=priority)
            self._queue.add_after(SPREAD, CANARY, SETTLE_SECONDS)

    def _webhook(self, change: Change, _: Priority) -> None:
        if change.key[1].startswith(PREFIX):
            self._queue.add_after(SPREAD, CANARY, SETTLE_SECONDS)

    def _everything(self, _: Change, priority: Priority) -> None:
        self._queue.add(SPREAD, TERRITORY, priority=priority)
        self._queue.add(SPREAD, MODEL, priority=priority)
        self._queue.add(SPREAD, WAIVER, priority=priority)

    def _jurisdiction(self, change: Change, priority: Priority) -> None:
        self._everything(change, priority)
        self._queue.add(AUDIT, SWEEP, priority=priority)

    def _statement(self, change: Change, priority: Priority) -> None:
        self._everything(change, priority)
        for statement in (change.before, change.after):
            if statement:
                about = (statement.get("spec") or {}).get("node") or {}
                self._queue.add(AUDIT, ("", about.get("name") or ""), priority=priority)

    def _endpoint(self, _: Change, priority: Priority) -> None:
        # Each of them: a statement may dispute what another one says of the same server.
        for name in self._models.values(BY_ENDPOINT):
            for key in self._models.find(BY_ENDPOINT, name):
                self._queue.add(MODEL, key, priority=priority)

    def _node(self, change: Change, priority: Priority) -> None:
        before, after = change.before, change.after
        if before and after and read_node(before) == read_node(after):
            # To look at every policy for every label of a node that leaves many would be the square of the work.
            for policy in _labelled_otherwise(before, after):
                self._queue.add(TERRITORY, policy, priority=priority)
            return
        self._everything(change, priority)
        self._queue.add(AUDIT, ("", change.key[1]), priority=priority)

    def _namespace(self, change: Change, priority: Priority) -> None:
        self._everything(change, priority)
        self._queue.add(AUDIT, (change.key[1], ""), priority=priority)
        self._queue.add_after(SPREAD, CANARY, SETTLE_SECONDS)

    def _pod(self, change: Change, priority: Priority) -> None:
        self._child(change, priority)
        for key in change.values(BY_IMPORT):
            self._queue.add(MODEL, key, priority=priority)
        self._queue.add(AUDIT, change.key, priority=priority)

    def _model(self, change: Change, priority: Priority) -> None:
        self._queue.add(MODEL, change.key, priority=priority)

    def _profile(self, change: Change, priority: Priority) -> None:
        for key in self._models.find(BY_PROFILE, change.key):
            self._queue.add(MODEL, key, priority=priority)

    def _network_policy(self, change: Change, priority: Priority) -> None:
        self._child(change, priority)
        if change.key[1] == NETWORK_POLICY:
            self._queue.add(AUDIT, (change.key[0], ""), priority=priority)
        if change.key[1] in (CLOSED, EGRESS):
            self._queue.add(SPREAD, TERRITORY, priority=priority)

    def _report(self, change: Change, _: Priority) -> None:
        self._queue.add_after(REPORT, change.key[0], GATHER_SECONDS)

    def _gateway(self, _: Change, priority: Priority) -> None:
        self._queue.add(SPREAD, MODEL, priority=priority)

    def _child(self, change: Change, priority: Priority) -> None:
        for key in change.values(BY_MODEL):
            self._queue.add(MODEL, key, priority=priority)


def _generation(policy: Raw | None) -> int | None:
    return policy["metadata"].get("generation", 0) if policy else None


def _labelled_otherwise(before: Raw, after: Raw) -> set[str]:
    """The policies whose labels on a node differ."""
    differing = before["metadata"].get("labels", {}).items() ^ after["metadata"].get("labels", {}).items()
    return {label.removeprefix(LABEL_PREFIX) for label, _ in differing if label.startswith(LABEL_PREFIX)}


class SpreadLoop:
    """Puts every key of a loop into the queue, behind what changed by itself."""

    def __init__(self, *, queue: KeyedQueue, keys: dict[str, Callable[[], Iterable[Hashable]]]) -> None:
        self._queue = queue
        self._keys = keys

    async def reconcile(self, key: Hashable) -> float:
        """Enqueue every key of the loop that ``key`` names, and again now and then: what no event told is found."""
        for each in self._keys[str(key)]():
            self._queue.add(str(key), each, priority=Priority.RESYNC)
        return RESYNC_SECONDS
