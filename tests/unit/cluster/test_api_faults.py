"""The port when the API server, or the way to it, is ill."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import Connection
from bailiwick.cluster.errors import Expired, Forbidden, Transient
from bailiwick.cluster.lease import LeaseLostError
from bailiwick.cluster.resources import CONFIG_MAPS
from tests.unit.cluster.fake_apiserver import WatchStream, fake_apiserver, listing, status, thing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bailiwick.cluster.api import Event


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    def called(self, verb: str, resource: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((verb, resource, code))


async def test_too_many_requests_says_when_to_come_back() -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return status(429, "TooManyRequests", "slow down", **{"Retry-After": "3"})

    seen = Seen()
    async with fake_apiserver(busy) as connection:
        with pytest.raises(Transient, match="slow down") as error:
            await Api(connection, observer=seen).get(CONFIG_MAPS, "a", "clinic")
    assert error.value.retry_after == 3.0
    assert seen.calls == [("get", "configmaps", "429")]


async def test_a_slow_answer_is_cut_off_and_called_a_timeout() -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.json_response({})

    seen = Seen()
    async with fake_apiserver(slow) as connection:
        begun = time.monotonic()
        with pytest.raises(Transient, match=r"get configmaps clinic/a: Timeout: no answer within 0\.1 s"):
            await Api(connection, observer=seen).get(CONFIG_MAPS, "a", "clinic", seconds=0.1)
        assert time.monotonic() - begun < 2
    assert seen.calls == [("get", "configmaps", "Timeout")]


async def test_a_body_that_never_ends_is_cut_off_too() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async with fake_apiserver(endless) as connection:
        with pytest.raises(Transient, match="Timeout"):
            await Api(connection, seconds=0.2).get(CONFIG_MAPS, "a", "clinic")


async def test_waiting_for_a_slot_counts_as_time_of_the_call() -> None:
    going = asyncio.Event()

    async def held(_: web.Request) -> web.StreamResponse:
        await going.wait()
        return web.json_response({})

    async with fake_apiserver(held) as connection:
        api = Api(connection, concurrency=1)
        first = asyncio.create_task(api.get(CONFIG_MAPS, "first", "clinic"))
        await asyncio.sleep(0.05)
        with pytest.raises(Transient, match="Timeout"):
            await api.get(CONFIG_MAPS, "second", "clinic", seconds=0.1)
        going.set()
        assert await first == {}


async def test_no_more_calls_at_once_than_allowed() -> None:
    now = most = 0

    async def counted(_: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return web.json_response({})

    async with fake_apiserver(counted) as connection:
        api = Api(connection, concurrency=3)
        await asyncio.gather(*(api.get(CONFIG_MAPS, f"a{n}", "clinic") for n in range(20)))
    assert most == 3


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    seen = Seen()
    async with Connection(Configuration(host=f"http://127.0.0.1:{port}")) as connection:
        with pytest.raises(Transient, match="Unreachable"):
            await Api(connection, observer=seen).get(CONFIG_MAPS, "a", "clinic")
    assert seen.calls == [("get", "configmaps", "Unreachable")]


async def test_a_connection_cut_in_the_middle_of_an_answer() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"metadata":')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with fake_apiserver(cut) as connection:
        with pytest.raises(Transient, match="Unreachable"):
            await Api(connection).get(CONFIG_MAPS, "a", "clinic")


async def test_an_answer_that_is_not_json() -> None:
    async def garbled(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>welcome to the portal</html>")

    async with fake_apiserver(garbled) as connection:
        with pytest.raises(Transient, match="Unreachable"):
            await Api(connection).get(CONFIG_MAPS, "a", "clinic")


async def test_a_guard_stops_writes_before_they_leave_and_lets_reads_through() -> None:
    methods: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse:
        methods.append(request.method)
        return web.json_response({})

    def lost() -> None:
        raise LeaseLostError("the lease is gone")

    async with fake_apiserver(note) as connection:
        api = Api(connection, guard=lost)
        await api.get(CONFIG_MAPS, "a", "clinic")
        with pytest.raises(LeaseLostError):
            await api.apply(CONFIG_MAPS, thing("a", 1))
        with pytest.raises(LeaseLostError):
            await api.delete(CONFIG_MAPS, "a", "clinic")
    assert methods == ["GET"]


@pytest.mark.parametrize("before", [0, 1], ids=["on a new connection", "on one that is open"])
async def test_a_write_whose_lease_ended_while_it_waited_for_the_server_never_leaves(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    methods: list[str] = []
    held = True

    async def note(request: web.Request) -> web.StreamResponse:
        methods.append(request.method)
        return web.json_response({})

    def check() -> None:
        if not held:
            raise LeaseLostError("the lease is gone")

    async def paused(_: Connection) -> dict[str, str]:
        nonlocal held
        held = False
        return {}

    async with fake_apiserver(note) as connection:
        api = Api(connection, guard=check)
        for _ in range(before):
            await api.apply(CONFIG_MAPS, thing("a", 1))
        monkeypatch.setattr(Connection, "headers", paused)
        with pytest.raises(LeaseLostError):
            await api.apply(CONFIG_MAPS, thing("a", 1))
    assert methods == ["PATCH"] * before


async def test_a_write_whose_lease_ended_while_it_waited_for_its_turn_never_leaves() -> None:
    methods: list[str] = []
    asked = 0

    async def note(request: web.Request) -> web.StreamResponse:
        methods.append(request.method)
        return web.json_response({})

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise LeaseLostError("the lease is gone")

    async with fake_apiserver(note) as connection:
        api = Api(connection, guard=check)
        with pytest.raises(Transient, match="Unreachable"):
            await api.create(CONFIG_MAPS, thing("a", 1))
        with pytest.raises(LeaseLostError):
            await api.delete(CONFIG_MAPS, "a", "clinic")
    assert methods == []


async def test_a_token_is_read_again_when_it_was_rotated() -> None:
    sent: list[str | None] = []

    async def note(request: web.Request) -> web.StreamResponse:
        sent.append(request.headers.get("Authorization"))
        return web.json_response({})

    tokens = iter(["bearer one\n", "bearer two"])

    def rotate(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = next(tokens)

    async with fake_apiserver(note) as connection:
        configuration = Configuration(host=connection.url)
        configuration.refresh_api_key_hook = rotate  # type: ignore[assignment]
        async with Connection(configuration) as rotated:
            api = Api(rotated)
            await api.get(CONFIG_MAPS, "a", "clinic")
            await api.get(CONFIG_MAPS, "a", "clinic")
    assert sent == ["bearer one", "bearer two"]


async def test_every_write_says_who_we_are_and_refuses_misspelt_fields() -> None:
    queries: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        queries.append(dict(request.query))
        return web.json_response({})

    async with fake_apiserver(note) as connection:
        api = Api(connection)
        await api.create(CONFIG_MAPS, thing("a", 1))
        await api.apply(CONFIG_MAPS, thing("a", 1), dry_run=True)
        await api.patch_merge(CONFIG_MAPS, "a", "clinic", {})
        await api.patch_json(CONFIG_MAPS, "a", "clinic", [])
    ours = {"fieldManager": "bailiwick", "fieldValidation": "Strict"}
    assert queries == [ours, {**ours, "dryRun": "All", "force": "true"}, ours, ours]


async def test_a_warning_of_the_server_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def warns(_: web.Request) -> web.StreamResponse:
        return web.json_response({}, headers={"Warning": '299 - "this is deprecated"'})

    async with fake_apiserver(warns) as connection:
        api = Api(connection)
        await api.get(CONFIG_MAPS, "a", "clinic")
        await api.get(CONFIG_MAPS, "a", "clinic")
    assert [record.getMessage() for record in caplog.records] == [
        'get configmaps clinic/a: the API server warns: 299 - "this is deprecated"'
    ]


async def test_a_list_is_read_page_by_page() -> None:
    asked: list[dict[str, str]] = []

    async def pages(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.query))
        return (
            listing([{"metadata": {"name": "b"}}], 7) if "continue" in request.query else listing([], 7, token="next")
        )

    async with fake_apiserver(pages) as connection:
        read = [page async for page in Api(connection).pages(CONFIG_MAPS, labels="a=b", size=2)]
    assert asked == [{"labelSelector": "a=b", "limit": "2"}, {"labelSelector": "a=b", "limit": "2", "continue": "next"}]
    assert [(page.items, page.resource_version) for page in read] == [
        ([], "7"),
        ([{"metadata": {"name": "b"}, "apiVersion": "v1", "kind": "ConfigMap"}], "7"),
    ]


async def test_a_list_that_took_too_long_is_expired() -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        if "continue" in request.query:
            return status(410, "Expired", "the continue token is too old")
        return listing([thing("a", 1)], 7, token="next")

    async with fake_apiserver(pages) as connection:
        with pytest.raises(Expired, match="too old"):
            [item async for item in Api(connection).list(CONFIG_MAPS)]


async def test_deleting_what_is_not_there_is_fine_and_what_is_forbidden_is_not() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return status(404, "NotFound", "gone") if request.path.endswith("gone") else status(403, "Forbidden", "no")

    async with fake_apiserver(answer) as connection:
        await Api(connection).delete(CONFIG_MAPS, "gone", "clinic")
        with pytest.raises(Forbidden):
            await Api(connection).delete(CONFIG_MAPS, "kept", "clinic")


# Watches


async def collect(events: AsyncIterator[Event], into: list[tuple[str, str]]) -> None:
    async for event in events:
        into += [(event.type, event.object["metadata"]["resourceVersion"])]


async def test_events_come_as_they_are_sent_however_the_bytes_are_cut() -> None:
    stream = WatchStream()
    seen: list[tuple[str, str]] = []
    async with fake_apiserver(stream.serve) as connection:
        watching = asyncio.create_task(collect(Api(connection).watch(CONFIG_MAPS, since="1"), seen))
        first, second = (json.dumps({"type": "ADDED", "object": thing("a", version)}).encode() for version in (2, 3))
        await stream.write(first[:10])
        await asyncio.sleep(0.02)
        await stream.write(first[10:] + b"\n" + second + b"\n\n")
        await stream.send("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
        await stream.end()
        await watching
    assert seen == [("ADDED", "2"), ("ADDED", "3"), ("BOOKMARK", "9")]


async def test_an_object_may_be_larger_than_any_buffer() -> None:
    stream = WatchStream()
    large = {**thing("a", 2), "data": {"blob": "x" * 3_000_000}}
    async with fake_apiserver(stream.serve) as connection:
        async with aclosing(Api(connection).watch(CONFIG_MAPS, since="1")) as events:
            sending = asyncio.create_task(stream.send("ADDED", large))
            assert (await anext(events)).object == large
            await sending
        await stream.end()


async def test_an_outdated_version_in_the_middle_of_a_watch_is_expired() -> None:
    stream = WatchStream()
    seen: list[tuple[str, str]] = []
    async with fake_apiserver(stream.serve) as connection:
        watching = asyncio.create_task(collect(Api(connection).watch(CONFIG_MAPS, since="1"), seen))
        await stream.send("ADDED", thing("a", 2))
        await stream.send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
        with pytest.raises(Expired, match="too old"):
            await watching
        await stream.end()
    assert seen == [("ADDED", "2")]


async def test_an_error_without_a_code_in_the_middle_of_a_watch_is_transient() -> None:
    stream = WatchStream()
    async with fake_apiserver(stream.serve) as connection:
        watching = asyncio.create_task(collect(Api(connection).watch(CONFIG_MAPS, since="1"), []))
        await stream.send("ERROR", {"kind": "Status", "message": "etcdserver: leader changed"})
        with pytest.raises(Transient, match="leader changed"):
            await watching
        await stream.end()


async def test_a_watch_that_breaks_is_transient() -> None:
    stream = WatchStream()
    async with fake_apiserver(stream.serve) as connection:
        watching = asyncio.create_task(collect(Api(connection).watch(CONFIG_MAPS, since="1"), []))
        await stream.send("ADDED", thing("a", 2))
        await stream.cut()
        with pytest.raises(Transient, match="Unreachable"):
            await watching


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"no": "type"}\n'])
def test_garbage_in_a_watch_is_transient(line: bytes) -> None:
    async def run() -> None:
        stream = WatchStream()
        async with fake_apiserver(stream.serve) as connection:
            watching = asyncio.create_task(collect(Api(connection).watch(CONFIG_MAPS, since="1"), []))
            await stream.write(line)
            with pytest.raises(Transient):
                await watching
            await stream.end()

    asyncio.run(run())


async def test_a_watch_that_falls_silent_is_given_up() -> None:
    stream = WatchStream()
    async with fake_apiserver(stream.serve) as connection:
        watching = asyncio.create_task(collect(Api(connection).watch(CONFIG_MAPS, since="1", silence=0.1), []))
        await stream.send("ADDED", thing("a", 2))
        with pytest.raises(Transient, match=r"no event or bookmark for 0\.1 s"):
            await watching
        await stream.end()


async def test_a_watch_takes_no_slot() -> None:
    stream = WatchStream()

    async def answer(request: web.Request) -> web.StreamResponse:
        return await stream.serve(request) if "watch" in request.query else web.json_response({})

    async with fake_apiserver(answer) as connection:
        api = Api(connection, concurrency=1)
        watching = asyncio.create_task(collect(api.watch(CONFIG_MAPS, since="1"), []))
        await stream.send("ADDED", thing("a", 2))
        assert await api.get(CONFIG_MAPS, "a", "clinic", seconds=2) == {}
        await stream.end()
        await watching
