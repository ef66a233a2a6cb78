"""A feed keeps its store current, whatever happens to lists and watches."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster import trim
from bailiwick.cluster.api import Api
from bailiwick.cluster.errors import Transient
from bailiwick.cluster.listwatch import SOON_SECONDS, Feed, Scope
from bailiwick.cluster.pace import Pace
from bailiwick.cluster.resources import CONFIG_MAPS
from bailiwick.cluster.store import Change, Store
from tests.unit.cluster.fake_apiserver import WatchStream, fake_apiserver, listing, status, thing, until
from tests.unit.cluster.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from aiohttp import web

Raw = dict[str, Any]


class Cluster:
    """What a server lists now, and the watches it served, in order."""

    def __init__(self) -> None:
        self.items: list[Raw] = []
        self.version = 1
        self.watches: list[WatchStream] = []
        self.queries: list[dict[str, str]] = []
        self.refusals: list[web.Response] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        if self.refusals:
            return self.refusals.pop(0)
        if "watch" not in request.query:
            return listing(self.items, self.version)
        self.watches.append(WatchStream())
        return await self.watches[-1].serve(request)

    async def watch(self, number: int) -> WatchStream:
        await until(lambda: len(self.watches) > number)
        return self.watches[number]

    @property
    def lists(self) -> int:
        return sum("watch" not in query for query in self.queries)


class Told:
    """What a feed says, to its observer and to its listener."""

    def __init__(self) -> None:
        self.lists: list[list[str]] = []
        self.changes: list[str] = []
        self.observed: list[tuple[str, str, int]] = []

    def on_list(self, changes: Sequence[Change]) -> None:
        self.lists.append(sorted(change.key[1] for change in changes))

    def on_change(self, change: Change) -> None:
        self.changes.append(change.key[1])

    def relisted(self, resource: str, outcome: str, missed: int) -> None:
        self.observed.append((resource, outcome, missed))


class Bench:
    """A feed beside its cluster. It waits no real time before it tries again."""

    def __init__(self, api: Api, cluster: Cluster, *, silence: float) -> None:
        self.cluster, self.told = cluster, Told()
        self.time = VirtualTime()
        self.waits: list[float] = []
        self.store = Store(CONFIG_MAPS, trim=trim.child)
        self.feed = Feed(
            api=api,
            store=self.store,
            on_list=self.told.on_list,
            pace=Pace(clock=lambda: self.time.now, chance=lambda: 0.5, sleep=self._sleep),
            observer=self.told,
            silence=silence,
            scope=Scope(namespace="clinic", labels="a=b"),
        )

    def names(self) -> list[str]:
        return sorted(name for _, name in self.store.keys())  # noqa: SIM118

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def bench(*, silence: float = 90.0) -> AsyncIterator[Bench]:
    cluster = Cluster()
    async with fake_apiserver(cluster.answer) as connection:
        yield Bench(Api(connection), cluster, silence=silence)


@asynccontextmanager
async def watching(test: Bench) -> AsyncIterator[None]:
    async with following(test, test.feed.list_and_watch(test.told.on_change)):
        yield


@asynccontextmanager
async def following(test: Bench, work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for stream in test.cluster.watches:
            await stream.end()


async def test_it_lists_and_watches_from_there() -> None:
    async with bench() as test:
        test.cluster.items, test.cluster.version = [thing("a", 4)], 7
        async with watching(test):
            stream = await test.cluster.watch(0)
            await stream.send("ADDED", thing("b", 8))
            await until(lambda: test.names() == ["a", "b"])
        assert test.told.lists == [["a"]]
        assert test.told.changes == ["b"]
        assert test.cluster.queries[1]["resourceVersion"] == "7"
        assert all(query["labelSelector"] == "a=b" for query in test.cluster.queries)
        assert test.told.observed == [("configmaps", "complete", 0)]


async def test_a_watch_that_ends_in_good_order_goes_on_from_its_last_event() -> None:
    async with bench() as test, watching(test):
        stream = await test.cluster.watch(0)
        await stream.send("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
        await stream.end()
        await test.cluster.watch(1)
        assert test.cluster.queries[-1]["resourceVersion"] == "40"
        assert test.cluster.lists == 1


@pytest.mark.parametrize("fault", ["expired", "error", "cut", "garbage", "silence"])
async def test_after_any_fault_it_lists_again_and_finds_what_was_lost(fault: str) -> None:
    async with bench(silence=0.2 if fault == "silence" else 90.0) as test:
        test.cluster.items = [thing("a", 1), thing("b", 1)]
        async with watching(test):
            stream = await test.cluster.watch(0)
            await stream.send("ADDED", thing("c", 5))
            await until(lambda: "c" in test.told.changes)
            test.cluster.items, test.cluster.version = [thing("b", 8, value=2), thing("c", 5)], 9
            match fault:
                case "expired":
                    await stream.send("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
                case "error":
                    await stream.send("ERROR", {"message": "etcdserver: leader changed"})
                case "garbage":
                    await stream.write(b"\x00\n")
                case "cut":
                    await stream.cut()
            await until(lambda: test.cluster.lists == 2)
            await until(lambda: len(test.told.lists) == 2)
        assert test.names() == ["b", "c"]
        assert test.told.lists == [["a", "b"], ["a", "b"]]
        assert test.told.observed[-1] == ("configmaps", "complete", 2)


async def test_a_watch_that_is_refused_as_expired_is_followed_by_a_list() -> None:
    async with bench() as test:
        async with watching(test):
            stream = await test.cluster.watch(0)
            test.cluster.refusals = [status(410, "Expired", "too old")]
            await stream.send("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
            await stream.end()
            await until(lambda: test.cluster.lists == 2)
        assert test.waits == [0.375]


async def test_it_waits_longer_after_each_failure_and_short_again_after_a_success() -> None:
    async with bench() as test:
        test.cluster.refusals = [status(503, "ServiceUnavailable", "starting") for _ in range(8)]
        async with watching(test):
            stream = await test.cluster.watch(0)
            assert test.waits == [0.375, 0.75, 1.5, 3.0, 6.0, 12.0, 22.5, 22.5]
            await stream.send("ADDED", thing("a", 5))
            await until(lambda: test.names() == ["a"])
            await stream.cut()
            await test.cluster.watch(1)
        assert test.waits[-1] == 0.375
        assert test.told.observed[:2] == [("configmaps", "failed", 0)] * 2


async def test_watches_that_end_without_any_event_are_no_busy_loop() -> None:
    async with bench() as test:
        async with watching(test):
            for number in range(3):
                await (await test.cluster.watch(number)).end()
            await test.cluster.watch(3)
        assert test.waits == [0.375, 0.75, 1.5]


async def test_age_counts_from_the_last_word_of_the_server() -> None:
    async with bench() as test:
        assert test.store.age(test.time.now) == float("inf")
        async with watching(test):
            stream = await test.cluster.watch(0)
            test.time.now += 50
            assert test.store.age(test.time.now) == 50
            await stream.send("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
            await until(lambda: test.store.age(test.time.now) == 0)


async def test_a_list_that_fails_in_the_middle_takes_nothing_for_deleted() -> None:
    pages = [
        listing([thing("a", 1), thing("b", 1)], 3),
        listing([thing("c", 4)], 5, token="more"),
        status(410, "Expired", "the continue token is too old"),
    ]

    async def answer(_: web.Request) -> web.StreamResponse:
        return pages.pop(0)

    async with fake_apiserver(answer) as connection:
        test = Bench(Api(connection), Cluster(), silence=90)
        await test.feed.relist()
        with pytest.raises(Transient):
            await test.feed.relist()
        assert test.names() == ["a", "b", "c"]


async def test_a_store_that_others_feed_is_replaced_now_and_again() -> None:
    async with bench() as test:
        test.cluster.items = [thing("a", 1), thing("b", 1)]
        time = VirtualTime()
        feed = Feed(api=test.feed._api, store=test.store, on_list=test.told.on_list, pace=time.pace, observer=test.told)  # noqa: SLF001
        task = asyncio.create_task(feed.relist_every(60))
        await until(lambda: test.store.synced)
        assert test.told.lists == [["a", "b"]]
        test.cluster.items, test.cluster.version = [thing("a", 1)], 5
        await time.pass_(SOON_SECONDS * 1.3)
        await until(lambda: len(test.told.lists) == 2)
        assert test.told.lists[1] == ["b"], "gone before anybody watched"
        test.store.apply_event("MODIFIED", thing("a", 6))
        test.store.apply_event("ADDED", thing("c", 7))
        test.cluster.items, test.cluster.version = [thing("a", 6)], 9
        await time.pass_(45)
        assert test.cluster.lists == 2
        await time.pass_(30)
        await until(lambda: len(test.told.lists) == 3)
        assert test.told.lists[2] == ["c"]
        test.cluster.refusals = [status(500, "InternalError", "etcd")]
        await time.pass_(60)
        await until(lambda: ("configmaps", "failed", 0) in test.told.observed)
        await time.pass_(1)
        await until(lambda: len(test.told.lists) == 4)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_periods_and_delays_are_spread() -> None:
    low, high = Pace(chance=lambda: 0.0), Pace(chance=lambda: 0.999999)
    assert low.about(100) == 80
    assert high.about(100) == pytest.approx(120, abs=0.01)


@pytest.mark.parametrize(("code", "reason"), [(404, "NotFound"), (403, "Forbidden")])
async def test_a_kind_that_is_not_there_for_us_is_looked_for_until_it_is(code: int, reason: str) -> None:
    """Its absence is told, and is no failure; nor is a right that was forgotten, which must stop nothing else."""
    heard: list[bool] = []
    async with bench() as test:
        test.cluster.refusals = [status(code, reason, "no"), status(code, reason, "no")]
        test.cluster.items = [thing("a", 1)]
        work = test.feed.list_and_watch_if_served(test.told.on_change, heard.append, 60.0)
        async with following(test, work):
            stream = await test.cluster.watch(0)
            assert heard == [False, False, True]
            assert test.waits == [60.0, 60.0]
            assert test.names() == ["a"]
            # The kind goes: its watch ends, and the list that follows does not find it.
            test.cluster.refusals = [status(404, "NotFound", "no")]
            await stream.end()
            await until(lambda: heard[3:] == [False, True])


async def test_an_api_server_that_cannot_answer_says_nothing_about_a_kind() -> None:
    heard: list[bool] = []
    async with bench() as test:
        test.cluster.refusals = [status(503, "ServiceUnavailable", "later"), status(500, "InternalError", "no")]
        async with following(test, test.feed.list_and_watch_if_served(test.told.on_change, heard.append, 60.0)):
            await test.cluster.watch(0)
        assert heard == [True]
        assert 60.0 not in test.waits
