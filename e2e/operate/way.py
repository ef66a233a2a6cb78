"""The network between one replica and the API server, as a relay on loopback that can be cut."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path


class Way:
    """Forwards bytes until it is cut. Then it takes them and says nothing, as a network does."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._cut = threading.Event()
        self._port: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def kubeconfig(self, original: Path, name: str) -> Path:
        """A kubeconfig beside another that leads here instead."""
        path = original.with_name(f"{name}.kubeconfig")
        path.write_text(original.read_text().replace(str(self._target.netloc), f"127.0.0.1:{self._port.result()}"))
        return path

    def cut(self) -> None:
        """From now on nothing arrives, in either direction, on old connections and new ones."""
        self._cut.set()

    def close(self) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port.set_result(server.sockets[0].getsockname()[1])
        await self._over.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError), closing(writer):
            far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
            with closing(far_writer):
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if not self._cut.is_set():
                sink.write(data)
                await sink.drain()
        if not self._cut.is_set():
            sink.close()
