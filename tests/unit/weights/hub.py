"""A hub on loopback, over real HTTP: the tree of a revision, files by ranges, large ones behind a redirect.

Its answers have the shapes of Hugging Face's (`/api/models/REPOSITORY/tree/REVISION`, `/resolve/REVISION/PATH`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext

REPOSITORY, REVISION = "skt/tiny", "a" * 40
LARGE = 64


@dataclass
class HubServer:
    """What it holds and how it behaves; ``asked`` is every file request as (path, range, authorization)."""

    files: Mapping[str, bytes]
    token: str | None = None
    page: int = 1000
    ranges: bool = True
    breaks_after: int | None = None
    """Bytes after which an answer breaks off."""
    lies: bool = False
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    endpoint: str = ""

    async def start(self, tls: SSLContext | None = None) -> web.AppRunner:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_get("/api/models/{repository:.+}/tree/{revision}", self._tree)
        app.router.add_get("/cdn/{path:.+}", self._cdn)
        app.router.add_get("/{repository:[^/]+/[^/]+}/resolve/{revision}/{path:.+}", self._resolve)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.endpoint = f"http{'s' if tls else ''}://{host}:{port}"
        return runner

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return web.json_response({"error": "Invalid credentials"}, status=401)
        if (request.match_info["repository"], request.match_info["revision"]) != (REPOSITORY, REVISION):
            return web.json_response({"error": "Revision not found"}, status=404)
        return None

    async def _tree(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        start = int(request.query.get("cursor", "0"))
        names = sorted(self.files)
        entries = [self._entry(name) for name in names[start : start + self.page]]
        entries.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": "sub"})
        more = start + self.page < len(names)
        link = f'<{request.url.origin()}{request.path}?recursive=true&cursor={start + self.page}>; rel="next"'
        return web.json_response(entries, headers={"link": link} if more else {})

    def _entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"type": "file", "oid": blob, "size": len(content), "path": name}
        if len(content) > LARGE:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused(request):
            return refused
        path = request.match_info["path"]
        if len(self.files[path]) > LARGE:
            raise web.HTTPFound(f"/cdn/{path}")
        return await self._send(request, path)

    async def _cdn(self, request: web.Request) -> web.StreamResponse:
        return await self._send(request, request.match_info["path"])

    async def _send(self, request: web.Request, path: str) -> web.StreamResponse:
        asked = request.headers.get("range")
        self.asked.append((path, asked, request.headers.get("authorization")))
        content = self.files[path]
        if self.lies:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        headers = {"content-length": str(len(content) - start)}
        if start:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        rest = content[start:]
        if self.breaks_after is not None and len(rest) > self.breaks_after:
            await response.write(rest[: self.breaks_after])
            assert request.transport
            request.transport.close()
            return response
        await response.write(rest)
        return response
