"""The queue at work: tasks, timers, errors, and the end."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster.errors import Conflict, Terminal, Transient
from bailiwick.control.queue import CURRENT, Item, KeyedQueue, Priority

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Hashable, Mapping

    from bailiwick.control.queue import Reconcile

LOOP = "model"


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.begun = 0
        self.errors: list[str | None] = []

    def started(self, loop: str, waited: float) -> None:
        assert loop
        assert waited >= 0
        self.begun += 1

    def finished(self, loop: str, seconds: float, error: str | None) -> None:
        assert loop
        assert seconds >= 0
        self.errors.append(error)


def new_queue(*, observer: Seen | None = None, limit: float = 60.0) -> KeyedQueue:
    return KeyedQueue(random=lambda: 0.0, observer=observer, limit=limit)


@asynccontextmanager
async def working(queue: KeyedQueue, workers: int, loops: Mapping[str, Reconcile]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(workers, loops))
    try:
        yield
    finally:
        await queue.stop(5)
        await task


async def quiet(queue: KeyedQueue) -> None:
    """Wait until nothing is due and nothing runs."""

    def busy() -> Counter[str]:
        return queue.waiting() + queue.running()

    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while busy():  # noqa: ASYNC110 - the queue has no event for idleness
            await asyncio.sleep(0.002)


async def test_ten_thousand_keys_flow_through_in_seconds_and_no_more_at_once_than_workers() -> None:
    queue = new_queue()
    done: set[Hashable] = set()
    now = most = 0

    async def reconcile(key: Hashable) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        done.add(key)

    begun = time.monotonic()
    async with working(queue, 32, {LOOP: reconcile}):
        for number in range(10_000):
            queue.add(LOOP, ("clinic", f"m{number}"))
        await quiet(queue)
    assert len(done) == 10_000
    assert most == 32
    assert time.monotonic() - begun < 10


async def test_many_adds_of_few_keys_are_few_runs() -> None:
    queue = new_queue()
    runs: list[Any] = []

    async def reconcile(key: Hashable) -> None:
        runs.append(key)
        await asyncio.sleep(0.01)

    async with working(queue, 8, {LOOP: reconcile}):
        for number in range(5_000):
            queue.add(LOOP, number % 50)
        await quiet(queue)
    assert sorted(runs) == list(range(50))


async def test_a_key_that_changes_while_it_runs_runs_again_and_never_twice_at_once() -> None:
    queue, now, runs = new_queue(), 0, 0

    async def reconcile(_: Hashable) -> None:
        nonlocal now, runs
        runs += 1
        now += 1
        assert now == 1
        if runs < 4:
            queue.add(LOOP, "key")
            queue.add(LOOP, "key")
        await asyncio.sleep(0.005)
        now -= 1

    async with working(queue, 8, {LOOP: reconcile}):
        queue.add(LOOP, "key")
        await quiet(queue)
    assert runs == 4


async def test_the_same_key_of_two_loops_is_two_items() -> None:
    queue = new_queue()
    runs: list[Any] = []

    async def first(key: Hashable) -> None:
        runs.append(("first", key))

    async def second(key: Hashable) -> None:
        runs.append(("second", key))

    async with working(queue, 2, {"first": first, "second": second}):
        queue.add("first", "key")
        queue.add("second", "key")
        await quiet(queue)
    assert sorted(runs) == [("first", "key"), ("second", "key")]


async def test_priorities_decide_when_workers_are_few() -> None:
    queue = new_queue()
    runs: list[Any] = []

    async def reconcile(key: Hashable) -> None:
        runs.append(key)

    queue.add(LOOP, "resync", priority=Priority.RESYNC)
    queue.add(LOOP, "live")
    queue.add(LOOP, "urgent", priority=Priority.URGENT)
    async with working(queue, 1, {LOOP: reconcile}):
        await quiet(queue)
    assert runs == ["urgent", "live", "resync"]


async def test_what_a_reconcile_returns_is_when_it_looks_again() -> None:
    queue = new_queue()
    times: list[Any] = []

    async def reconcile(_: Hashable) -> float | None:
        times.append(time.monotonic())
        return 0.05 if len(times) < 3 else None

    async with working(queue, 4, {LOOP: reconcile}):
        queue.add(LOOP, "key")
        await asyncio.sleep(0.3)
    assert len(times) == 3
    assert times[1] - times[0] >= 0.05


async def test_an_earlier_wish_comes_before_a_later_one_that_was_made_first() -> None:
    queue = new_queue()
    runs: list[Any] = []

    async def reconcile(key: Hashable) -> None:
        runs.append(key)

    async with working(queue, 1, {LOOP: reconcile}):
        queue.add_after(LOOP, "late", 30)
        queue.add_after(LOOP, "soon", 0.02)
        await asyncio.sleep(0.2)
    assert runs == ["soon"]


async def test_a_timer_that_rings_for_many_keys_wakes_as_many_workers() -> None:
    queue, now, most = new_queue(), 0, 0

    async def reconcile(_: Hashable) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.05)
        now -= 1

    async with working(queue, 8, {LOOP: reconcile}):
        for number in range(8):
            queue.add_after(LOOP, number, 0.02)
        await asyncio.sleep(0.05)
        await quiet(queue)
    assert most == 8


async def test_a_worker_that_is_busy_delays_nobody_s_timer() -> None:
    queue = new_queue()
    runs: list[Any] = []
    hold = asyncio.Event()

    async def reconcile(key: Hashable) -> None:
        runs.append(key)
        if key == "slow":
            await hold.wait()

    async with working(queue, 2, {LOOP: reconcile}):
        queue.add_after(LOOP, "slow", 0.01)
        queue.add_after(LOOP, "next", 0.03)
        await asyncio.sleep(0.15)
        assert runs == ["slow", "next"]
        hold.set()


ERRORS = {
    "Transient": Transient("get", status=503, reason="ServiceUnavailable", message="starting"),
    "Conflict": Conflict("apply", status=409, reason="Conflict", message="changed"),
    "Terminal": Terminal("apply", status=422, reason="Invalid", message="no"),
    "Unexpected": KeyError("a bug"),
}


@pytest.mark.parametrize(
    ("kind", "again"), [("Transient", True), ("Conflict", True), ("Terminal", False), ("Unexpected", True)]
)
async def test_errors_decide_whether_a_key_is_tried_again(kind: str, again: bool) -> None:
    seen = Seen()
    queue, runs = new_queue(observer=seen), 0

    async def reconcile(_: Hashable) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ERRORS[kind]

    async with working(queue, 1, {LOOP: reconcile}):
        queue.add(LOOP, "key")
        await asyncio.sleep(0.3)
        assert runs == (2 if again else 1)
        queue.add(LOOP, "key")
        await quiet(queue)
    assert seen.errors == ([kind, None, None] if again else [kind, None])


async def test_the_server_s_wish_for_patience_is_met() -> None:
    queue, runs = new_queue(), 0
    busy = Transient("get", status=429, reason="TooManyRequests", message="slow down")
    busy.retry_after = 30

    async def reconcile(_: Hashable) -> None:
        nonlocal runs
        runs += 1
        raise busy

    async with working(queue, 1, {LOOP: reconcile}):
        queue.add(LOOP, "key")
        await asyncio.sleep(0.3)
    assert runs == 1


async def test_a_run_that_takes_too_long_is_cut_off_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    queue, runs = new_queue(observer=seen, limit=0.05), 0

    async def reconcile(_: Hashable) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            await asyncio.sleep(30)

    async with working(queue, 1, {LOOP: reconcile}):
        queue.add(LOOP, "key")
        await asyncio.sleep(0.5)
    assert runs == 2
    assert seen.errors == ["Transient", None]
    assert "took longer than 0.05 s" in caplog.text


async def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    queue = new_queue()

    async def reconcile(_: Hashable) -> None:
        raise KeyError("a bug")

    async with working(queue, 1, {LOOP: reconcile}):
        queue.add(LOOP, "key")
        await asyncio.sleep(0.02)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info


async def test_what_is_reconciled_is_known_in_its_context_and_in_tasks_that_it_starts() -> None:
    queue = new_queue()
    known: list[Any] = []

    async def look() -> None:
        known.append(CURRENT.get())

    async def reconcile(_: Hashable) -> None:
        await asyncio.gather(look(), look())

    async with working(queue, 1, {LOOP: reconcile}):
        queue.add(LOOP, ("clinic", "chat"))
        await quiet(queue)
    assert known == [Item(LOOP, ("clinic", "chat"))] * 2
    assert CURRENT.get() is None


async def test_stopping_lets_runs_end_and_begins_no_more() -> None:
    queue = new_queue()
    ended: list[Any] = []

    async def reconcile(key: Hashable) -> None:
        await asyncio.sleep(0.1)
        ended.append(key)

    task = asyncio.create_task(queue.run(2, {LOOP: reconcile}))
    for key in range(4):
        queue.add(LOOP, key)
    await asyncio.sleep(0.02)
    await queue.stop(5)
    await asyncio.wait_for(task, 1)
    assert sorted(ended) == [0, 1]
    queue.add(LOOP, 9)
    await asyncio.sleep(0.15)
    assert 9 not in ended


async def test_runs_that_do_not_end_in_time_are_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    queue = new_queue()
    cancelled: list[Any] = []

    async def reconcile(_: Hashable) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(queue.run(2, {LOOP: reconcile}))
    queue.add(LOOP, "key")
    await asyncio.sleep(0.02)
    await queue.stop(0.05)
    await asyncio.wait_for(task, 1)
    assert cancelled == [True]
    assert "1 reconciles did not end within 0.05 s" in caplog.text


async def test_a_queue_that_never_ran_can_be_stopped() -> None:
    await new_queue().stop(0.1)


async def test_a_loop_that_nobody_wrote_ends_the_process() -> None:
    queue = new_queue()
    queue.add("unknown", "key")
    with pytest.raises(KeyError, match="unknown"):
        await asyncio.wait_for(queue.run(2, {}), 1)


async def test_the_oldest_run_is_known() -> None:
    queue = new_queue()
    hold = asyncio.Event()

    async def reconcile(_: Hashable) -> None:
        await hold.wait()

    assert queue.longest_run() == 0
    async with working(queue, 2, {LOOP: reconcile}):
        queue.add(LOOP, "key")
        await asyncio.sleep(0.05)
        assert 0.04 < queue.longest_run() < 5
        hold.set()
