"""`bailiwick admission`: stores, certificate, webhook and health; every replica answers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from aiohttp import web

from bailiwick.admission.identity import LIFETIME, Certificates, Pair
from bailiwick.admission.known import Known
from bailiwick.admission.server import IDLE_SECONDS, MOST_CONNECTIONS, Metrics, health, webhook
from bailiwick.cli.programs.logs import set_up_logging
from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import NO_CREDENTIALS, Connection
from bailiwick.cluster.errors import ApiError, Conflict, Terminal
from bailiwick.cluster.lease import utc_now
from bailiwick.cluster.pace import Pace
from bailiwick.residency.policies import exempt_namespaces

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

RELOAD_SECONDS = 10.0
RETRY_SECONDS = 0.2
HANDSHAKE_SECONDS = 5.0
LEAVE_SECONDS = 5.0
"""From the signal to the end: the API server is asked to take another connection with each answer."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the pod's environment says. ``certificates`` is a folder that somebody else keeps, or None: make our own."""

    namespace: str
    host: str
    port: int
    health_port: int
    kubeconfig: str | None
    certificates: Path | None
    names: tuple[str, ...]
    lifetime: timedelta

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """From environment variables, all of which have a default."""
        namespace = variables.get("BAILIWICK_NAMESPACE", "bailiwick-system")
        names = variables.get("BAILIWICK_ADMISSION_NAMES", f"bailiwick-admission.{namespace}.svc")
        folder = variables.get("BAILIWICK_CERTIFICATES")
        return cls(
            namespace=namespace,
            host=variables.get("BAILIWICK_HOST", ""),
            port=int(variables.get("BAILIWICK_ADMISSION_PORT", "8443")),
            health_port=int(variables.get("BAILIWICK_PORT", "8080")),
            kubeconfig=variables.get("KUBECONFIG"),
            certificates=Path(folder) if folder else None,
            names=tuple(names.split(",")),
            lifetime=timedelta(
                seconds=float(variables.get("BAILIWICK_CERTIFICATE_SECONDS", str(LIFETIME.total_seconds())))
            ),
        )


def main(_: argparse.Namespace) -> int:
    """Run until SIGTERM. Returns 0, or 1 where it finds no credentials."""
    set_up_logging()
    try:
        asyncio.run(Admission(Environment.read(os.environ)).run())
    except Terminal as error:
        if error.reason != NO_CREDENTIALS:
            raise
        logger.critical("%s", error.message)
        return 1
    return 0


class Admission:
    """One replica."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._stop = asyncio.Event()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._served: Pair | None = None

    async def run(self) -> None:
        """Answer health at once, and reviews as soon as there is a certificate; end what was begun before the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        environment, metrics = self._environment, Metrics()
        host = environment.host or None
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(await Connection.open(kubeconfig=environment.kubeconfig))
            api = Api(connection)
            exempt = exempt_namespaces(environment.namespace)
            known = Known(api=api, pace=Pace(), now=utc_now, exempt=exempt)
            status = web.AppRunner(health(lambda: self._unready(known), metrics), access_log=None)
            await status.setup()
            stack.push_async_callback(status.cleanup)
            await web.TCPSite(status, host, environment.health_port).start()
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(known.feed()), tasks.create_task(self._keep_certificate(api))]
                while self._served is None and not self._stop.is_set():  # noqa: ASYNC110 - once, at the start
                    await asyncio.sleep(0.05)
                if not self._stop.is_set():
                    await self._answer(webhook(known, metrics, self._stop.is_set), host)
                for task in running:
                    task.cancel()

    async def _answer(self, application: web.Application, host: str | None) -> None:
        """Take connections until the end, and not more than fit into memory; end what was begun."""
        runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=5.0, keepalive_timeout=IDLE_SECONDS, lingering_time=1.0
        )
        await runner.setup()
        server = cast("web.Server", runner.server)  # there is one after setup

        def protocol() -> asyncio.Protocol:
            return server() if len(server.connections) < MOST_CONNECTIONS else _Full()

        listening = await asyncio.get_running_loop().create_server(
            protocol, host, self._environment.port, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
        try:
            await self._stop.wait()
            await asyncio.sleep(LEAVE_SECONDS)
        finally:
            listening.close()
            await runner.cleanup()

    def _unready(self, known: Known) -> list[str]:
        return [*known.stale(), *([] if self._served else ["certificate"])]

    async def _keep_certificate(self, api: Api) -> None:
        """Serve what is right now, for ever. New connections get a new certificate, open ones go on with theirs."""
        environment = self._environment
        own = Certificates(
            api=api,
            namespace=environment.namespace,
            names=environment.names,
            now=utc_now,
            lifetime=environment.lifetime,
        )
        while True:
            pause = RELOAD_SECONDS if environment.certificates else own.pause
            try:
                pair = _read(environment.certificates) if environment.certificates else await own.keep()
                if pair != self._served:
                    _load(self._tls, pair)
                    self._served = pair
            except Conflict:
                pause = RETRY_SECONDS  # another replica was first: take what it wrote
            except (ApiError, OSError) as error:  # ssl.SSLError is an OSError: half of a new pair
                logger.warning("the certificate could not be looked after: %s", error)
                pause = min(pause, 1.0)
            await asyncio.sleep(pause)


class _Full(asyncio.Protocol):
    """One connection too many: it ends at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.abort()  # type: ignore[attr-defined]


def _read(folder: Path) -> Pair:
    return Pair((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())


def _load(tls: ssl.SSLContext, pair: Pair) -> None:
    """Serve a pair from the next handshake on. OpenSSL reads only files; they are gone again at once."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate)
        key.touch(mode=0o600)
        key.write_bytes(pair.key)
        tls.load_cert_chain(certificate, key)
