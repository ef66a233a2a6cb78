"""What the kubelet, Prometheus and people ask of the process: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from prometheus_client import CollectorRegistry

    from bailiwick.cluster.store import Store
    from bailiwick.control.queue import KeyedQueue

Role = Literal["leader", "standby"]

RUN_LIMIT_SECONDS = 300.0
"""No reconcile runs for so long, unless its worker hangs: the queue cuts it off long before."""


class Health:
    """Judges the process. That it answers at all shows that its event loop turns."""

    def __init__(
        self,
        *,
        role: Callable[[], Role],
        queue: KeyedQueue,
        stores: Sequence[Store],
        registry: CollectorRegistry,
        clock: Callable[[], float],
    ) -> None:
        self._role = role
        self._queue = queue
        self._stores = stores
        self._registry = registry
        self._clock = clock

    def application(self) -> web.Application:
        """The three paths."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        """503 when a restart would help."""
        longest = self._queue.longest_run()
        answer = {"role": self._role(), "longestRunSeconds": round(longest, 1)}
        return web.json_response(answer, status=503 if longest > RUN_LIMIT_SECONDS else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        """503 while the leader does not know the whole cluster. A standby holds no watches, and is ready to take over.

        The answer says the age of what is known, in seconds.
        """
        role, now = self._role(), self._clock()
        unsynced = [store.resource.plural for store in self._stores if not store.synced]
        ages = {store.resource.plural: round(store.age(now), 1) for store in self._stores if store.synced}
        ready = role == "standby" or not unsynced
        answer = {"role": role, "ready": ready, "notSynced": unsynced, "ageSeconds": ages}
        return web.json_response(answer, status=200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def serving(application: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve an application, without a log of requests. Yields the port, which is a free one for port 0."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
