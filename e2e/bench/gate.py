"""What the gate adds to the time to the first token, while many streams are under way, against its engine alone.

``python -m e2e.bench.gate [--streams N] [--rounds N] [--engine URL --model NAME]``. Without ``--engine`` tokens come
from a small server of our own, in a process of its own, that does nothing but pace them. The gate asks for an API key
and counts requests. In a round N callers stream one answer after another through the gate, each over one connection, as
clients do, and as many without it, in turns and evenly apart, so that what the engine and the machine do meets both; on
a busy machine, `chrt -f 1` before the command keeps others out of the figures.
All on loopback, with plain sockets: a client library's own time would hide the difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from e2e.gate import process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "0123456789abcdef0123456789abcdef"
GATE = ("127.0.77.1", 8080)
ASKED_MS = 2.0
TOKENS, FIRST_SECONDS, NEXT_SECONDS = 20, 0.2, 0.02
SPAN_SECONDS = FIRST_SECONDS + TOKENS * NEXT_SECONDS
STREAMS_OF_A_CALLER = 3
LAST_CHUNK = b"\r\n0\r\n\r\n"
Address = tuple[str, int]


def main() -> int:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--streams", type=int, default=50, help="under way at once through the gate, and as many beside it"
    )
    parser.add_argument("--rounds", type=int, default=20, help="after one to warm up")
    parser.add_argument("--engine", help="of a running engine, as http://127.0.0.1:8000")
    parser.add_argument("--model", default="model", help="the name by which that engine serves its model")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve is not None:
        asyncio.run(serve(asked.serve))
        return 0
    return asyncio.run(measure(asked))


async def measure(asked: argparse.Namespace) -> int:
    """Alternate rounds, and tell medians, spread and difference."""
    async with AsyncExitStack() as running:
        if asked.engine:
            url = urlsplit(asked.engine)
            engine = (url.hostname or "127.0.0.1", url.port or 80)
        else:
            engine = await running.enter_async_context(paced())
        await running.enter_async_context(gate(engine[1]))
        await one_round(engine, asked)
        rounds = [await one_round(engine, asked) for _ in range(asked.rounds)]
    alone, through = ([statistics.median(seconds) * 1000 for seconds in each] for each in zip(*rounds, strict=True))
    differences = sorted(b - a for a, b in zip(alone, through, strict=True))
    added = statistics.median(differences)
    print(f"{asked.rounds} rounds with {asked.streams} streams under way each way, {os.cpu_count()} cores")
    for name, times in (("alone", alone), ("through the gate", through)):
        print(f"  {name:18} median {statistics.median(times):8.2f}  from {min(times):8.2f} to {max(times):8.2f} ms")
    quarter = len(differences) // 4
    spread = f"middle half {differences[quarter]:.2f} to {differences[-1 - quarter]:.2f}"
    print(f"the gate adds {added:.2f} ms to the first token ({spread}); asked: at most {ASKED_MS:.0f} ms")
    return 0 if added <= ASKED_MS else 1


async def one_round(engine: Address, asked: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds to the first token, without and with the gate, of what began while all callers had a stream under way."""

    async def caller(address: Address, turn: float) -> list[float]:
        await asyncio.sleep(SPAN_SECONDS * turn / asked.streams)
        reader, writer = await asyncio.open_connection(*address)
        seconds = [await first_token(reader, writer, asked.model) for _ in range(STREAMS_OF_A_CALLER)]
        writer.close()
        return seconds[1:]

    async def callers(address: Address, first: float) -> list[float]:
        all_of_them = (caller(address, first + number) for number in range(asked.streams))
        return [seconds for each in await asyncio.gather(*all_of_them) for seconds in each]

    alone, through = await asyncio.gather(callers(engine, 0), callers(GATE, 0.5))
    return alone, through


async def first_token(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str) -> float:
    """Seconds from the request to the first token; the stream, which comes in chunks, is read to its end."""
    body = json.dumps(
        {"model": model, "prompt": "Once", "stream": True, "max_tokens": TOKENS, "temperature": 0}
    ).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nhost: model\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    begun = time.perf_counter()
    writer.write(head.encode() + body)
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"expected 200 and a stream, got {status!r} {await reader.read(2000)!r}")
    await reader.readuntil(b"data: ")
    first = time.perf_counter() - begun
    if b"[DONE]" not in await reader.readuntil(LAST_CHUNK):
        raise SystemExit("a stream broke off")
    return first


@asynccontextmanager
async def paced() -> AsyncIterator[Address]:
    """The small server, in a process of its own."""
    command = (sys.executable, "-m", "e2e.bench.gate", "--serve", "0")
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        yield "127.0.0.1", int(await server.stdout.readline())
    finally:
        server.terminate()
        await server.wait()


async def serve(port: int) -> None:
    """Answer every request with tokens at an even pace."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has gone
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                await stream(writer)
        writer.close()

    async def stream(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(TOKENS):
            writer.write(chunk(b'data: {"choices":[{"index":0,"text":"a"}]}\n\n'))
            await asyncio.sleep(NEXT_SECONDS if number < TOKENS - 1 else 0)
        writer.write(chunk(b"data: [DONE]\n\n") + chunk(b""))
        await writer.drain()

    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


@asynccontextmanager
async def gate(engine_port: int) -> AsyncIterator[None]:
    """A gate with an API key and limits."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "keys").mkdir()
        (folder / "keys" / "bench").write_text(KEY)
        environment = {
            "ENGINE_KEEPS_CONNECTIONS": "true",
            "GATE_API_KEYS": str(folder / "keys"),
            "GATE_CONCURRENT_REQUESTS": "100000",
            "GATE_REQUESTS_PER_MINUTE": "1000000",
            "GATE_RUN": str(folder / "run"),
        }
        async with process.running(folder, GATE[0], engine_port, environment):
            yield


if __name__ == "__main__":
    sys.exit(main())
