"""What the kubelet, Prometheus and people ask of the process: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from prometheus_client import CollectorRegistry

RUN_LIMIT_SECONDS = 300.0
"""No reconcile runs for so long, unless its worker hangs: the queue cuts it off long before."""
STANDBY = "standby"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the process knows of itself.

    ``role`` is ``leader`` or ``standby``; ``unsynced`` names the kinds that the leader does not know whole yet;
    ``longest_run`` is for how many seconds the oldest reconcile of now has been running.
    """

    role: Callable[[], str]
    unsynced: Callable[[], list[str]]
    longest_run: Callable[[], float]

    async def healthz(self, _: web.Request) -> web.Response:
        """503 when a restart would help. That there is an answer shows that the event loop turns."""
        longest = self.longest_run()
        answer = {"role": self.role(), "longestRunSeconds": round(longest, 1)}
        return web.json_response(answer, status=503 if longest > RUN_LIMIT_SECONDS else 200)

    async def readyz(self, _: web.Request) -> web.Response:
        """503 while the leader does not know the whole cluster. A standby holds no watches, and is always ready."""
        role, unsynced = self.role(), sorted(self.unsynced())
        ready = role == STANDBY or not unsynced
        answer = {"role": role, "ready": ready, "notSynced": unsynced}
        return web.json_response(answer, status=200 if ready else 503)


@asynccontextmanager
async def serve(
    health: Health, registry: CollectorRegistry, *, port: int, host: str | None = None
) -> AsyncIterator[int]:
    """Answer on a port (0: a free one), which is yielded, of a host (None: of all addresses). OSError when taken."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/healthz", health.healthz)
    application.router.add_get("/readyz", health.readyz)
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
