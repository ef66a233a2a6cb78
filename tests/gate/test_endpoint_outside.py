"""A gate that leads to a server outside the cluster: to that one alone, in TLS, and while it is vouched for."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.gate.conftest import PATIENCE, Engine, Gate
from tests.gate.shown import Certificate, Mount, certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.gate.conftest import Answer, Request, StartGate

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORITY, OTHERS = certificate("authority"), certificate("others")
NAME = "mac-1.models.example"
HANDSHAKE = 0x16
"""First byte of a TLS connection."""
SOON = 15
"""Seconds in which a gate has started and answered, on a busy machine too."""


@dataclass(slots=True)
class Tap:
    """A server that says nothing, and keeps what it hears first."""

    heard: list[bytes] = field(default_factory=list)

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.read(4096))
        writer.close()


@asynccontextmanager
async def server(folder: Path, shows: Certificate, host: str = "127.0.0.1") -> AsyncIterator[Engine]:
    """An engine that listens in TLS, as one on a machine elsewhere does."""
    path = folder / f"{shows.certificate.serial_number}.pem"
    path.write_bytes(shows.pem + shows.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    engine = Engine()
    listening = await asyncio.start_server(engine.serve, host, 0, ssl=context)
    engine.port = listening.sockets[0].getsockname()[1]
    try:
        yield engine
    finally:
        listening.close()


def leading_to(port: int, folder: Path, ca: Certificate = AUTHORITY, **more: str) -> dict[str, str]:
    """The environment of a gate that leads there."""
    return {
        "ENDPOINT_ADDRESS": f"127.0.0.1:{port}",
        "ENDPOINT_NAME": NAME,
        "ENDPOINT_CA": ca.pem.decode(),
        "ENDPOINT_UNTIL": str(int(time.time()) + 3600),
        "ENGINE_HEALTH": "/v1/models",
        "GATE_RUN": str(folder / "run"),
        **more,
    }


def streams(pause: Callable[[], Awaitable[object]]) -> Answer:
    """An answer of two words, with a pause after each."""

    async def answer(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for word in (b"one", b"two"):
            writer.write(b"3\r\n" + word + b"\r\n")
            await writer.drain()
            await pause()
        writer.write(b"0\r\n\r\n")

    return answer


async def test_prompts_reach_the_server_in_tls_and_answers_stream_back(start_gate: StartGate, tmp_path: Path) -> None:
    async with server(tmp_path, certificate("server", AUTHORITY, NAME)) as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path))
        read = asyncio.Event()
        engine.answer = streams(lambda: asyncio.wait_for(read.wait(), PATIENCE))
        reader, writer = await asyncio.open_connection(gate.address, 8080)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: chat.clinic.svc\r\ncontent-length: 2\r\n\r\n{}")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert b" 200 " in head
        await asyncio.wait_for(reader.readuntil(b"one\r\n"), PATIENCE)
        read.set()  # the second word is written when the first has been read
        await asyncio.wait_for(reader.readuntil(b"two\r\n"), PATIENCE)
        writer.close()
    (asked,) = engine.requests
    assert asked.body == b"{}"
    assert asked.headers["host"] == NAME  # what the cluster calls the model is its own affair


async def test_it_is_ready_when_the_server_answers_by_its_own_path(start_gate: StartGate, tmp_path: Path) -> None:
    async with server(tmp_path, certificate("server", AUTHORITY, NAME)) as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path))
        assert (await gate.ask("GET", "/health", port=8081)).status == 200
        assert [each.target for each in engine.requests] == ["/v1/models"]


async def test_the_same_paths_pass_as_before_an_engine(start_gate: StartGate, tmp_path: Path) -> None:
    async with server(tmp_path, certificate("server", AUTHORITY, NAME)) as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path))
        assert (await gate.ask("POST", "/v1/load_lora_adapter", b"{}")).status == 404
        assert (await gate.ask("GET", "/metrics")).status == 404
        assert engine.requests == []


async def test_keys_are_asked_for_and_not_told_outside(start_gate: StartGate, tmp_path: Path) -> None:
    key = "k" * 40
    keys = Mount(tmp_path / "keys").hold(alice=key)
    async with server(tmp_path, certificate("server", AUTHORITY, NAME)) as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path, GATE_API_KEYS=str(keys)))
        assert (await gate.ask("GET", "/v1/models")).status == 401
        assert engine.requests == []
        assert (await gate.ask("GET", "/v1/models", authorization=f"Bearer {key}")).status == 200
        assert key not in str(engine.requests)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_an_address_of_ipv6_is_reached(start_gate: StartGate, tmp_path: Path) -> None:
    async with server(tmp_path, certificate("server", AUTHORITY, NAME), "::1") as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path, ENDPOINT_ADDRESS=f"[::1]:{engine.port}"))
        assert (await gate.ask("GET", "/v1/models")).status == 200


@pytest.mark.parametrize(
    ("shown", "trusted"),
    [
        (certificate("server", OTHERS, NAME), AUTHORITY),
        (certificate("server", AUTHORITY, "mac-2.models.example"), AUTHORITY),
        (certificate("server", host=NAME), AUTHORITY),
    ],
    ids=["of another CA", "of another server of the CA", "of itself"],
)
async def test_a_server_with_a_certificate_is_told_nothing(
    start_gate: StartGate, tmp_path: Path, shown: Certificate, trusted: Certificate
) -> None:
    async with server(tmp_path, shown) as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path, trusted))
        answer = await gate.ask("POST", "/v1/chat/completions", b"{}")
        assert (answer.status, engine.requests) == (503, [])
        assert b"certificate" in answer.body
        assert (await gate.ask("GET", "/health", port=8081)).status == 503


async def test_a_server_without_tls_hears_the_beginning_of_a_handshake_and_no_prompt(
    start_gate: StartGate, tmp_path: Path
) -> None:
    tap = Tap()
    listening = await asyncio.start_server(tap.listen, "127.0.0.1", 0)
    gate = await start_gate(**leading_to(listening.sockets[0].getsockname()[1], tmp_path))
    answer = await gate.ask("POST", "/v1/chat/completions", b'{"prompt": "a secret"}')
    assert answer.status == 503
    assert tap.heard
    assert all(said[0] == HANDSHAKE and b"secret" not in said for said in tap.heard)
    listening.close()


async def test_a_server_whose_certificate_is_pinned_by_itself_is_known(start_gate: StartGate, tmp_path: Path) -> None:
    own = certificate("server", host=NAME)
    async with server(tmp_path, own) as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path, own))
        assert (await gate.ask("GET", "/v1/models")).status == 200


async def test_nothing_is_sent_when_the_statement_has_ended(start_gate: StartGate, tmp_path: Path) -> None:
    async with server(tmp_path, certificate("server", AUTHORITY, NAME)) as engine:
        soon = {"ENDPOINT_UNTIL": str(int(time.time()) + SOON)}
        gate = await start_gate(**{**leading_to(engine.port, tmp_path), **soon})
        before = await gate.ask("POST", "/v1/completions", b"{}")
        told = await _refused(gate)
        seen = len(engine.requests)
        assert (before.status, b"endpoint_not_vouched_for" in told) == (200, True)
        assert (await gate.ask("POST", "/v1/completions", b"{}")).status == 503
        assert [(await gate.ask("GET", path, port=8081)).status for path in ("/health", "/metrics")] == [503, 503]
        assert (await gate.ask("GET", "/gate/health", port=8081)).status == 200
        assert len(engine.requests) == seen


async def _refused(gate: Gate) -> bytes:
    until = time.monotonic() + SOON + PATIENCE
    while time.monotonic() < until:
        if (answer := await gate.ask("POST", "/v1/completions", b"{}")).status == 503:
            return answer.body
        await asyncio.sleep(0.1)
    raise AssertionError("the gate goes on after the statement has ended")


@pytest.mark.parametrize(("seconds", "whole"), [("5", True), ("0.2", False)])
async def test_what_is_under_way_gets_the_time_that_the_gate_is_told(
    start_gate: StartGate, tmp_path: Path, seconds: str, whole: bool
) -> None:
    async with server(tmp_path, certificate("server", AUTHORITY, NAME)) as engine:
        gate = await start_gate(**leading_to(engine.port, tmp_path, GATE_DRAIN_SECONDS=seconds))
        engine.answer = streams(lambda: asyncio.sleep(1))
        reader, writer = await asyncio.open_connection(gate.address, 8080)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: chat\r\ncontent-length: 2\r\n\r\n{}")
        await asyncio.wait_for(reader.readuntil(b"one\r\n"), PATIENCE)
        gate.process.terminate()
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        assert rest.endswith(b"0\r\n\r\n") is whole
        assert await asyncio.wait_for(gate.process.wait(), PATIENCE) == 0
        writer.close()


@pytest.mark.parametrize(
    "without", [{"ENDPOINT_CA": ""}, {"ENDPOINT_CA": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}]
)
async def test_without_a_ca_it_does_not_start(start_gate: StartGate, tmp_path: Path, without: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        await start_gate(**{**leading_to(1, tmp_path), **without})
