"""Which item is next: the queue without tasks, timers or a clock. Every method is told what time it is, in seconds.

An item is in at most one of these states, besides having a time at which it is due again:

    waiting ──take──▶ running ──settle──▶ (gone)
       ▲                 │ add: dirty
       └──── settle ─────┘

Never two runs of one item at once; an item that is added while it runs, runs again after.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

FIRST_DELAY = 0.2
LONGEST_DELAY = 300.0
CONFLICT_DELAY = 0.1
QUICK_CONFLICTS = 5
"""So many conflicts in a row are retried at once; more than that is a fight, and backs off."""
DIRTY_DELAY = 1.0
"""A failed item that changed while it ran does not wait longer than this: the change may be what mends it."""


class Item(NamedTuple):
    """One thing to reconcile: the loop that does it, and the key that the loop understands."""

    loop: str
    key: Hashable


class Priority(Enum):
    """Who goes first. The value is a handicap in seconds on the time of arrival.

    So a low item is overtaken only by what comes within that time, and nobody starves.
    """

    URGENT = -60.0
    LIVE = 0.0
    RESYNC = 10.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    rank: float
    since: float


class Schedule:
    """See the module. ``random`` returns numbers in [0, 1) for jitter."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._waiting: dict[Item, _Waiting] = {}
        self._ready: list[tuple[float, int, Item]] = []  # by rank; entries whose rank is not the item's own are stale
        self._running: dict[Item, float] = {}
        self._dirty: dict[Item, _Waiting] = {}
        self._due: dict[Item, float] = {}
        self._later: list[tuple[float, int, Item]] = []  # by time; entries whose time is not the item's own are stale
        self._failures: dict[Item, int] = {}
        self._order = 0

    # Adding

    def add(self, item: Item, now: float, priority: Priority = Priority.LIVE) -> None:
        """The item is to run. An item that waits keeps its place, or gains a better one."""
        self._enter(item, _Waiting(now + priority.value, now))

    def add_at(self, item: Item, when: float) -> None:
        """The item is to run at a time, or earlier: of two times the first counts."""
        if when < self._due.get(item, float("inf")):
            self._due[item] = when
            heapq.heappush(self._later, (when, self._next(), item))

    # Running

    def take(self, now: float) -> tuple[Item, float] | None:
        """The next item, which runs from now on, and how many seconds it waited. None when nothing is due."""
        self._promote(now)
        while self._ready:
            rank, _, item = heapq.heappop(self._ready)
            waiting = self._waiting.get(item)
            if waiting and waiting.rank == rank:
                del self._waiting[item]
                self._running[item] = now
                return item, now - waiting.since
        return None

    def succeeded(self, item: Item, now: float, again: float | None) -> None:
        """The run went well; look again in so many seconds, or not before something changes."""
        self._failures.pop(item, None)
        self._settle(item)
        if again is not None:
            self.add_at(item, now + again)

    def refused(self, item: Item) -> None:
        """The run cannot succeed until something changes."""
        self._failures.pop(item, None)
        self._settle(item)

    def failed(self, item: Item, now: float, *, at_least: float = 0.0) -> float:
        """The run failed for now. Returns in how many seconds it is due again, longer after each failure."""
        failures = self._failures.get(item, 0)
        longest = min(FIRST_DELAY * 2.0 ** min(failures, 32), LONGEST_DELAY)
        return self._retry(item, now, max(longest * (0.5 + self._random() / 2), at_least))

    def conflicted(self, item: Item, now: float) -> float:
        """The run met a newer object. Returns in how many seconds it is due again."""
        if self._failures.get(item, 0) >= QUICK_CONFLICTS:
            return self.failed(item, now)
        return self._retry(item, now, CONFLICT_DELAY * (0.5 + self._random() / 2))

    # Looking

    def next_due(self) -> float | None:
        """When a delayed item comes due; None when there is none."""
        while self._later and self._due.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def waiting(self) -> Counter[str]:
        """How many items are due and wait, by loop."""
        return Counter(item.loop for item in self._waiting)

    def running(self) -> Counter[str]:
        """How many items run, by loop."""
        return Counter(item.loop for item in self._running)

    def oldest_start(self) -> float | None:
        """When the longest run of now began."""
        return min(self._running.values(), default=None)

    @property
    def ready(self) -> bool:
        """Whether an item waits."""
        return bool(self._waiting)

    def _enter(self, item: Item, waiting: _Waiting) -> None:
        if item in self._running:
            known = self._dirty.get(item)
            if known is None or waiting.rank < known.rank:
                self._dirty[item] = waiting
            return
        known = self._waiting.get(item)
        if known is None or waiting.rank < known.rank:
            self._waiting[item] = _Waiting(waiting.rank, known.since if known else waiting.since)
            heapq.heappush(self._ready, (waiting.rank, self._next(), item))

    def _promote(self, now: float) -> None:
        while (when := self.next_due()) is not None and when <= now:
            _, _, item = heapq.heappop(self._later)
            del self._due[item]
            self._enter(item, _Waiting(when, when))

    def _settle(self, item: Item) -> None:
        del self._running[item]
        if dirty := self._dirty.pop(item, None):
            self._enter(item, dirty)

    def _retry(self, item: Item, now: float, delay: float) -> float:
        self._failures[item] = self._failures.get(item, 0) + 1
        del self._running[item]
        if self._dirty.pop(item, None):
            delay = min(delay, DIRTY_DELAY)
        self.add_at(item, now + delay)
        return delay

    def _next(self) -> int:
        self._order += 1
        return self._order
