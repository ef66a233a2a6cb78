"""Kubernetes Events: a courtesy that never waits, never raises and never floods."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bailiwick.cluster.api import Api
from bailiwick.cluster.events import AT_ONCE, PER_SECOND, QUIET_SECONDS, WAITING, Events
from tests.unit.cluster.fake_apiserver import fake_apiserver, status, until
from tests.unit.cluster.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Raw = dict[str, Any]

MODEL: Raw = {
    "apiVersion": "bailiwick.dev/v1alpha1",
    "kind": "SovereignModel",
    "metadata": {"name": "chat", "namespace": "clinic", "uid": "1", "resourceVersion": "7", "labels": {"a": "b"}},
}


class Bench:
    def __init__(self, api: Api) -> None:
        self.time = VirtualTime()
        self.outcomes: list[str] = []
        self.posted: list[Raw] = []
        self.events = Events(
            api=api,
            instance="bailiwick-0",
            pace=self.time.pace,
            now=lambda: datetime(2026, 11, 21, 12, tzinfo=UTC),
            observer=self,
        )

    def event(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    def say(self, note: str = "placed", **more: Any) -> None:
        self.events.post(MODEL, "Placed", note, action="Place", **more)


@asynccontextmanager
async def bench(*, refuse: bool = False) -> AsyncIterator[Bench]:
    posted: list[Raw] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        posted.append({**json.loads(await request.read()), "path": request.path})
        return status(500, "InternalError", "no") if refuse else web.json_response({}, status=201)

    async with fake_apiserver(answer) as connection:
        test = Bench(Api(connection))
        test.posted = posted
        yield test


@asynccontextmanager
async def running(test: Bench) -> AsyncIterator[None]:
    task = asyncio.create_task(test.events.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_event_says_who_about_what_and_why() -> None:
    async with bench() as test, running(test):
        test.say("the model runs in DE", warning=True)
        await until(lambda: test.outcomes == ["posted"])
        (event,) = test.posted
    assert event["path"] == "/apis/events.k8s.io/v1/namespaces/clinic/events"
    assert event["metadata"]["name"].startswith("chat.")
    del event["path"], event["metadata"]
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2026-11-21T12:00:00.000000Z",
        "reportingController": "bailiwick.dev/operator",
        "reportingInstance": "bailiwick-0",
        "reason": "Placed",
        "action": "Place",
        "type": "Warning",
        "note": "the model runs in DE",
        "regarding": {
            "apiVersion": "bailiwick.dev/v1alpha1",
            "kind": "SovereignModel",
            "name": "chat",
            "namespace": "clinic",
            "uid": "1",
            "resourceVersion": "7",
        },
    }


async def test_events_about_cluster_scoped_objects_live_in_default() -> None:
    async with bench() as test, running(test):
        policy = {"apiVersion": "bailiwick.dev/v1alpha1", "kind": "ResidencyPolicy", "metadata": {"name": "health"}}
        test.events.post(policy, "Accepted", "good", action="Compile")
        await until(lambda: bool(test.posted))
    assert test.posted[0]["metadata"]["namespace"] == "default"


async def test_the_same_is_not_said_twice_in_a_while() -> None:
    async with bench() as test, running(test):
        test.say()
        test.say()
        test.say("something else")
        await until(lambda: len(test.outcomes) == 3)  # the server has an event before we have its answer
        assert sorted(test.outcomes) == ["posted", "posted", "repeated"]
        test.time.now += QUIET_SECONDS + 1
        test.say()
        await until(lambda: len(test.posted) == 3)


async def test_a_burst_is_posted_at_its_rate() -> None:
    async with bench() as test, running(test):
        for number in range(AT_ONCE + 10):
            test.say(f"note {number}")
        await until(lambda: len(test.posted) == AT_ONCE)
        await asyncio.sleep(0.05)
        assert len(test.posted) == AT_ONCE
        for _ in range(10):
            await test.time.pass_(1 / PER_SECOND)
            await asyncio.sleep(0.02)
        await until(lambda: len(test.posted) == AT_ONCE + 10)


async def test_too_many_are_dropped_and_counted() -> None:
    async with bench() as test:
        for number in range(WAITING + 5):
            test.say(f"note {number}")
        assert test.outcomes == ["dropped"] * 5


async def test_a_refusal_is_counted_and_the_next_is_posted() -> None:
    async with bench(refuse=True) as test, running(test):
        test.say("one")
        test.say("two")
        await until(lambda: test.outcomes == ["failed", "failed"])


async def test_a_note_is_cut_to_what_the_server_takes() -> None:
    async with bench() as test, running(test):
        test.say("ä" * 2000)
        await until(lambda: bool(test.posted))
    note = test.posted[0]["note"]
    assert len(note.encode()) <= 1024
    assert note.endswith("ä…")
