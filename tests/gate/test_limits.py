"""What one caller may take: requests, places, bytes, and time."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003  (pytest reads annotations of fixtures)

import pytest

from tests.gate.conftest import Gate, Reply, Request, StartGate, hello, read_reply
from tests.gate.shown import Mount
from tests.gate.test_callers import ALICE, BOB, shows, until
from tests.gate.test_gate import error

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def keyed(start_gate: StartGate, folder: Path, **limits: str) -> Gate:
    keys = Mount(folder / "keys").hold(alice=ALICE, bob=BOB)
    return await start_gate(GATE_API_KEYS=str(keys), GATE_RUN=str(folder / "run"), **limits)


async def test_a_caller_may_send_so_many_requests_a_minute_and_others_are_not_its_concern(
    start_gate: StartGate, tmp_path: Path
) -> None:
    gate = await keyed(start_gate, tmp_path, GATE_REQUESTS_PER_MINUTE="5")
    assert [(await shows(gate, ALICE)).status for _ in range(7)] == [200] * 5 + [429] * 2
    reply = await shows(gate, ALICE)
    assert (error(reply)["code"], reply.headers["retry-after"]) == ("rate_limit_exceeded", "15")
    assert "5 requests" in str(error(reply)["message"])
    assert (await shows(gate, BOB)).status == 200
    assert len(gate.engine.requests) == 6
    for _ in range(5):  # what is refused does not count
        head = f"POST /v1/completions HTTP/1.1\r\nhost: m\r\nauthorization: Bearer {BOB}\r\n"
        assert (await gate.send(f"{head}content-length: 99999999999\r\n\r\n".encode())).status == 413
    assert (await shows(gate, BOB)).status == 200
    assert (await shows(gate, "wrong" * 8)).status == 401


async def test_without_credentials_an_address_is_a_caller(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_REQUESTS_PER_MINUTE="2")
    assert [(await gate.ask("GET", "/v1/models")).status for _ in range(3)] == [200, 200, 429]
    assert (await gate.ask("GET", "/health", port=8081)).status == 200


async def test_a_caller_may_have_so_many_requests_under_way(start_gate: StartGate, tmp_path: Path) -> None:
    gate = await keyed(start_gate, tmp_path, GATE_CONCURRENT_REQUESTS="3")
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.release()
        await go_on.wait()
        await hello(request, reader, writer)

    gate.engine.answer = answer
    under_way = [asyncio.ensure_future(shows(gate, ALICE)) for _ in range(3)]
    for _ in under_way:
        await asyncio.wait_for(begun.acquire(), 5)
    reply = await shows(gate, ALICE)
    assert (reply.status, error(reply)["code"]) == (429, "too_many_concurrent_requests")
    assert reply.headers["retry-after"] == "1"
    other = asyncio.ensure_future(shows(gate, BOB))
    await asyncio.wait_for(begun.acquire(), 5)
    go_on.set()
    assert {each.status for each in await asyncio.gather(*under_way, other)} == {200}
    assert (await shows(gate, ALICE)).status == 200


async def test_a_place_is_free_again_when_its_client_goes_away(start_gate: StartGate, tmp_path: Path) -> None:
    gate = await keyed(start_gate, tmp_path, GATE_CONCURRENT_REQUESTS="1")
    begun = asyncio.Event()

    async def answer(_request: Request, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        await reader.read(1)

    gate.engine.answer = answer
    _, writer = await asyncio.open_connection(gate.address, 8080)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: m\r\nauthorization: Bearer {ALICE}\r\ncontent-length: 2\r\n\r\n{{}}"
    writer.write(head.encode())
    await asyncio.wait_for(begun.wait(), 5)
    assert (await shows(gate, ALICE)).status == 429
    writer.close()
    gate.engine.answer = hello

    async def is_free() -> bool:
        return (await shows(gate, ALICE)).status == 200

    await until(is_free, 5)


async def test_requests_of_one_connection_are_counted_one_by_one(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_REQUESTS_PER_MINUTE="2")
    reader, writer = await asyncio.open_connection(gate.address, 8080)
    statuses = []
    for _ in range(3):
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: m\r\n\r\n")
        statuses.append((await read_reply(reader)).status)
    writer.close()
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (f"GET /v1/models HTTP/1.1\r\nhost: m\r\nx: {'y' * 17_000}\r\n", 431, "headers_too_large"),
        (f"GET /v1/models?{'y' * 5000} HTTP/1.1\r\nhost: m\r\n", 414, "url_too_long"),
        ("GET /v1/models HTTP/1.1\r\nhost: m\r\ncontent-type: a\r\ncontent-type: b\r\n", 400, "malformed_request"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_oversize_and_doubled_heads_are_refused(start_gate: StartGate, head: str, status: int, code: str) -> None:
    gate = await start_gate()
    reply = await gate.send(f"{head}\r\n".encode())
    assert (reply.status, error(reply)["code"]) == (status, code)
    assert gate.engine.requests == []


@pytest.mark.parametrize(
    "head", ["x: " + "y" * 200_000, "\r\n".join(f"x{number}: y" for number in range(500)), "host: n"], ids=len
)
async def test_a_head_beyond_all_measure_never_reaches_the_engine(start_gate: StartGate, head: str) -> None:
    gate = await start_gate()
    reply: Reply | None
    try:
        reply = await gate.send(f"GET /v1/models HTTP/1.1\r\nhost: m\r\n{head}\r\n\r\n".encode())
    except ConnectionError:
        reply = None
    assert reply is None or reply.status in {400, 431}
    assert gate.engine.requests == []
    assert (await gate.ask("GET", "/v1/models")).status == 200


async def test_a_head_may_have_the_limit(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_MAX_HEADER_BYTES="1000")
    assert (await gate.ask("GET", "/v1/models", x="y" * 900)).status == 200
    assert (await gate.ask("GET", "/v1/models", x="y" * 1000)).status == 431
