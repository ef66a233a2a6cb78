"""The keyed queue: events put keys in, workers take them out, one run per key at a time.

`bailiwick.control.schedule` decides what runs when; here are the tasks and the timer around it.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from bailiwick.cluster.errors import Conflict, Terminal, Transient
from bailiwick.control.schedule import Item, Priority, Schedule

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Hashable, Mapping

    Reconcile = Callable[[Any], Awaitable[float | None]]

__all__ = ["CURRENT", "Item", "KeyedQueue", "Observer", "Priority"]

RUN_SECONDS = 120.0
"""A run that takes longer is cut off and tried again, or its key would never run again."""

CURRENT: ContextVar[Item | None] = ContextVar("bailiwick_item", default=None)
"""What is being reconciled in this context: every log line says it."""

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told about every run."""

    def started(self, loop: str, waited: float) -> None:
        """A run begins, so many seconds after it was due."""

    def finished(self, loop: str, seconds: float, error: str | None) -> None:
        """A run is over. ``error``: Transient, Conflict, Terminal, Unexpected or None."""


class KeyedQueue:
    """Deduplicating, single-flight per key, dirty-again, with backoff and priorities that age.

    One queue serves all loops; a key means something only to its loop. A reconcile returns in how many seconds it
    wants to look again (None: when something changes), or raises

    - Transient: tried again after a delay that doubles from 0.2 s to 5 min, or later if the server asked;
    - Conflict: tried again at once, and like Transient when that goes on;
    - Terminal: not tried before the key is added again;
    - anything else is a bug: logged with its traceback, and tried again like Transient.
    """

    def __init__(
        self, *, random: Callable[[], float], observer: Observer | None = None, limit: float = RUN_SECONDS
    ) -> None:
        self._schedule = Schedule(random)
        self._observer = observer
        self._limit = limit
        self._idle: list[asyncio.Future[None]] = []
        self._workers: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    def add(self, loop: str, key: Hashable, *, priority: Priority = Priority.LIVE) -> None:
        """The key is to be reconciled: in this loop's turn, or again when it runs just now."""
        self._schedule.add(Item(loop, key), _now(), priority)
        self._wake()

    def add_after(self, loop: str, key: Hashable, seconds: float) -> None:
        """The key is to be reconciled in so many seconds. Of several such wishes for a key the earliest counts."""
        self._schedule.add_at(Item(loop, key), _now() + seconds)
        self._arm()

    async def run(self, workers: int, reconcile: Mapping[str, Reconcile]) -> None:
        """Work until `stop`. Keys of loops that ``reconcile`` does not name are a bug and end it with KeyError."""
        self._workers = [asyncio.create_task(self._work(reconcile), name=f"worker-{n}") for n in range(workers)]
        self._arm()
        try:
            done, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if not task.cancelled():
                    task.result()
        finally:
            self._stopping = True
            self._disarm()
            for task in self._workers:
                task.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """Begin no more runs; give those under way ``grace`` seconds, then cancel them. What waits is dropped."""
        self._stopping = True
        self._disarm()
        for future in self._idle:
            if not future.done():
                future.set_result(None)
        if not self._workers:
            return
        _, late = await asyncio.wait(self._workers, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            logger.warning("%d reconciles did not end within %g s and were cancelled", len(late), grace)

    def waiting(self) -> Counter[str]:
        """How many keys are due and wait, by loop."""
        return self._schedule.waiting()

    def running(self) -> Counter[str]:
        """How many keys are being reconciled, by loop."""
        return self._schedule.running()

    def longest_run(self) -> float:
        """For how many seconds the oldest run of now has been going on; 0 when none runs."""
        start = self._schedule.oldest_start()
        return 0.0 if start is None else _now() - start

    async def _work(self, reconcile: Mapping[str, Reconcile]) -> None:
        while not self._stopping:
            taken = self._schedule.take(_now())
            self._arm()
            if taken is None:
                await self._sleep()
                continue
            if self._schedule.ready:
                self._wake()
            item, waited = taken
            CURRENT.set(item)
            if self._observer:
                self._observer.started(item.loop, waited)
            await self._attempt(item, reconcile[item.loop])
            CURRENT.set(None)

    async def _attempt(self, item: Item, reconcile: Reconcile) -> None:
        begun = _now()
        error: str | None = None
        try:
            async with asyncio.timeout(self._limit):
                again = await reconcile(item.key)
            self._schedule.succeeded(item, _now(), again)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the key must not be lost
            error = self._failed(item, raised)
        if self._observer:
            self._observer.finished(item.loop, _now() - begun, error)
        self._arm()

    def _failed(self, item: Item, raised: Exception) -> str:
        """Decide when the item runs again, and say so. Returns the kind of error."""
        now = _now()
        match raised:
            case Conflict():
                delay = self._schedule.conflicted(item, now)
                logger.info("changed meanwhile, again in %.2f s: %s", delay, raised)
                return "Conflict"
            case Terminal():
                self._schedule.refused(item)
                logger.warning("not again before something changes: %s", raised)
                return "Terminal"
            case Transient() | TimeoutError():
                after = raised.retry_after if isinstance(raised, Transient) else None
                delay = self._schedule.failed(item, now, at_least=after or 0.0)
                said = str(raised) or f"took longer than {self._limit:g} s"
                logger.warning("again in %.1f s: %s", delay, said)
                return "Transient"
            case _:
                delay = self._schedule.failed(item, now)
                logger.error("unexpected, again in %.1f s", delay, exc_info=raised)
                return "Unexpected"

    async def _sleep(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        try:
            await future
        finally:
            if future in self._idle:
                self._idle.remove(future)

    def _wake(self) -> None:
        """Wake one idle worker. It wakes the next when there is more to do."""
        while self._idle:
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
                return

    def _arm(self) -> None:
        """Have a worker look when the next delayed item comes due."""
        due = self._schedule.next_due()
        if due is None or self._stopping:
            return
        if self._timer and self._timer.when() <= due:
            return
        self._disarm()
        self._timer = asyncio.get_running_loop().call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake()

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _now() -> float:
    """The loop's own clock: timers go by it."""
    return asyncio.get_running_loop().time()
