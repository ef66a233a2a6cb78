"""A real gate, the image's own HAProxy with the image's own configuration, in front of a small engine that records."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path  # noqa: TC003  (pytest reads annotations of fixtures)

import pytest
import pytest_asyncio

from e2e.cluster.debian_root import root_of
from e2e.cluster.steps import ClusterError
from e2e.gate.process import running

PATIENCE = 10.0
NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int = 0
    """Which of the engine's connections brought it."""


Answer = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hello(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")


@dataclass(slots=True)
class Engine:
    """What stands behind the gate: it records every request that reaches it, and answers as the test says."""

    port: int = 0
    keeps_connections: bool = False
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    answer: Answer = hello

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections = connection = self.connections + 1
        try:
            await self._reply(connection, reader, writer)
            while self.keeps_connections:
                await self._reply(connection, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a client that went away, which is what some tests are about
        finally:
            writer.close()

    async def _reply(self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(method, target, headers, body, connection)
        self.requests.append(request)
        await self.answer(request, reader, writer)
        await writer.drain()


@dataclass(frozen=True, slots=True)
class Gate:
    """A running gate: where it listens, what stands behind it, where it logs."""

    address: str
    engine: Engine
    log: Path
    process: asyncio.subprocess.Process

    async def send(self, raw: bytes, port: int = 8080) -> Reply:
        """Send bytes as they are, and read one reply."""
        reader, writer = await asyncio.open_connection(self.address, port)
        try:
            writer.write(raw)
            await writer.drain()
            return await asyncio.wait_for(read_reply(reader), PATIENCE)
        finally:
            writer.close()
            await writer.wait_closed()

    async def ask(self, method: str, target: str, body: bytes = b"", port: int = 8080, **headers: str) -> Reply:
        """An ordinary request; header names are written with underscores."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "POST":
            given.setdefault("content-length", str(len(body)))
        lines = [f"{method} {target} HTTP/1.1", "host: model", *(f"{name}: {value}" for name, value in given.items())]
        return await self.send("\r\n".join([*lines, "", ""]).encode() + body, port)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    length = headers.get("content-length")
    body = await (reader.readexactly(int(length)) if length is not None else reader.read())
    return Reply(int(head[0].split(" ")[1]), headers, body)


@pytest.fixture(scope="session")
def root() -> Path:
    """The gate image's root file system."""
    try:
        return root_of("gate")
    except ClusterError as error:
        pytest.skip(f"the gate's programs cannot be had here: {error}")


StartGate = Callable[..., Awaitable[Gate]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def start_gate(root: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StartGate]:
    """Starts gates, with environment variables; all end with the module."""
    async with AsyncExitStack() as running:

        async def start(**environment: str) -> Gate:
            return await running.enter_async_context(gate_in(tmp_path_factory.mktemp("gate"), environment))

        yield start


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gate_of_module(start_gate: StartGate) -> Gate:
    return await start_gate()


@pytest.fixture
def gate(gate_of_module: Gate) -> Gate:
    """A gate as it is by default, whose engine has seen nothing yet."""
    gate_of_module.engine.requests.clear()
    gate_of_module.engine.answer = hello
    return gate_of_module


@asynccontextmanager
async def gate_in(folder: Path, environment: dict[str, str]) -> AsyncIterator[Gate]:
    engine = Engine()
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    engine.port = server.sockets[0].getsockname()[1]
    # The ports of the configuration are fixed; an address of its own keeps a gate apart from others.
    address = f"127.{1 + os.getpid() // 256 % 254}.{os.getpid() % 256}.{next(NUMBERS)}"
    try:
        async with running(folder, address, engine.port, environment) as process:
            yield Gate(address, engine, folder / "log", process)
    finally:
        server.close()
        await server.wait_closed()
