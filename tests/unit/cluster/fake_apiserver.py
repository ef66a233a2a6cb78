"""An API server that answers by script, for the faults that a real one cannot be made to have."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from bailiwick.cluster.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

Raw = dict[str, Any]


@asynccontextmanager
async def fake_apiserver(answer: Answer) -> AsyncIterator[Connection]:
    """A connection to a server on loopback that gives every request to ``answer``."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Connection(Configuration(host=url)) as connection:
            yield connection
    finally:
        await runner.cleanup()


def status(code: int, reason: str, message: str, **headers: str) -> web.Response:
    """A refusal as the API server makes it."""
    said = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(said, status=code, headers=headers)


def listing(items: list[Raw], version: int, *, token: str = "") -> web.Response:
    """One page of a list."""
    return web.json_response({"metadata": {"resourceVersion": str(version), "continue": token}, "items": items})


class WatchStream:
    """A watch that the test writes to."""

    def __init__(self) -> None:
        self._response = web.StreamResponse()
        self._request: web.Request | None = None
        self._open = asyncio.Event()
        self._over = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request with this stream, until the test ends or cuts it."""
        self._request = request
        await self._response.prepare(request)
        self._open.set()
        await self._over.wait()
        return self._response

    async def send(self, kind: str, manifest: Raw) -> None:
        """One event."""
        await self.write(json.dumps({"type": kind, "object": manifest}).encode() + b"\n")

    async def write(self, data: bytes) -> None:
        """Some bytes, as they are."""
        await self._open.wait()
        await self._response.write(data)

    async def end(self) -> None:
        """The server closes the watch in good order."""
        await self._open.wait()
        self._over.set()

    async def cut(self) -> None:
        """The connection breaks."""
        await self._open.wait()
        assert self._request is not None
        assert self._request.transport is not None
        self._request.transport.abort()
        self._over.set()


def thing(name: str, version: int, *, value: int = 0) -> Raw:
    """A ConfigMap."""
    metadata = {"name": name, "namespace": "clinic", "uid": f"uid-of-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


async def until(look: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait until something is so; TimeoutError when it does not become so."""
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 - what is looked at knows no events
            await asyncio.sleep(0.005)
