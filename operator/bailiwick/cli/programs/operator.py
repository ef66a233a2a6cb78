"""`bailiwick operator`: health server, election, stores, queue, events; and the order in which they begin and end."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from bailiwick.cli.programs.logs import set_up_logging
from bailiwick.cluster import resources
from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import NO_CREDENTIALS, Connection
from bailiwick.cluster.errors import ApiError, Terminal
from bailiwick.cluster.events import Events
from bailiwick.cluster.lease import Lease, LeaseLostError, utc_now
from bailiwick.cluster.listwatch import Feed, Scope
from bailiwick.cluster.pace import Pace
from bailiwick.control.alarm import Alarm
from bailiwick.control.audit import AuditLoop
from bailiwick.control.canary import EVERY_SECONDS, CanaryLoop, identities
from bailiwick.control.gates import Gates
from bailiwick.control.health import Health, serve
from bailiwick.control.keeper import Installed, KeeperLoop
from bailiwick.control.kopf_events import KopfEvents
from bailiwick.control.metrics import Metrics
from bailiwick.control.model import ModelLoop
from bailiwick.control.offered import Offered
from bailiwick.control.queue import KeyedQueue, Priority
from bailiwick.control.reports import ReportLoop
from bailiwick.control.routes import (
    AUDIT,
    CANARY,
    KEEPER,
    MODEL,
    REPORT,
    SPREAD,
    SWEEP,
    TERRITORY,
    WAIVER,
    Routes,
    SpreadLoop,
)
from bailiwick.control.status import StatusWriter
from bailiwick.control.stores import Stores
from bailiwick.control.territory import TerritoryLoop
from bailiwick.control.waiver import WaiverLoop
from bailiwick.control.world import World
from bailiwick.control.writer import Writer
from bailiwick.residency.policies import exempt_namespaces
from bailiwick.residency.report import MOST_RESULTS
from bailiwick.workload.plan import Settings
from bailiwick.workload.scaling import Scaling

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine, Mapping

    from bailiwick.cluster.store import Store
    from bailiwick.control.queue import Reconcile

WORKERS = 32
LOOK_SECONDS = 60.0
"""How often a kind of another project that was not there is looked for."""
DRAIN_SECONDS = 10.0
RELEASE_SECONDS = 3.0
"""Much less than a lease lasts, which nobody renews meanwhile."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the pod's environment says."""

    namespace: str
    pod: str
    port: int
    kubeconfig: str | None
    canary_seconds: float
    look_seconds: float
    webhook: str | None
    traced: bool
    reports: bool
    most_results: int
    settings: Settings

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """From environment variables; all have a default except the images of the gate and of what verifies weights."""
        return cls(
            namespace=variables.get("BAILIWICK_NAMESPACE", "bailiwick-system"),
            pod=variables.get("POD_NAME", f"bailiwick-{os.getpid()}"),
            port=int(variables.get("BAILIWICK_PORT", "8080")),
            kubeconfig=variables.get("KUBECONFIG"),
            canary_seconds=float(variables.get("BAILIWICK_CANARY_SECONDS", EVERY_SECONDS)),
            look_seconds=float(variables.get("BAILIWICK_LOOK_SECONDS", LOOK_SECONDS)),
            webhook=variables.get("BAILIWICK_WEBHOOK") or None,
            traced=bool(variables.get("OTEL_EXPORTER_OTLP_ENDPOINT")),
            reports=variables.get("BAILIWICK_REPORTS", "true") == "true",
            most_results=int(variables.get("BAILIWICK_REPORT_RESULTS", MOST_RESULTS)),
            settings=Settings(
                gate_image=variables["BAILIWICK_GATE_IMAGE"],
                weights_image=variables["BAILIWICK_WEIGHTS_IMAGE"],
                monitoring_namespace=variables.get("BAILIWICK_MONITORING_NAMESPACE") or None,
                serves_ungoverned=variables.get("BAILIWICK_UNGOVERNED") == "Allow",
                scaling=_scaling(variables),
            ),
        )


def _scaling(variables: Mapping[str, str]) -> Scaling:
    return Scaling(
        pods_metric=variables.get("BAILIWICK_PODS_METRIC") or Scaling().pods_metric,
        prometheus=variables.get("BAILIWICK_PROMETHEUS") or None,
        wake_query=variables.get("BAILIWICK_WAKE_QUERY") or None,
    )


def main(_: argparse.Namespace) -> int:
    """Run until SIGTERM. Returns 0, or 1 where it cannot begin; a lost lease ends the process at once, with 1."""
    set_up_logging()
    try:
        environment = Environment.read(os.environ)
    except KeyError as error:
        logger.critical(
            "%s is not set; the chart's Deployment sets it: install the chart rather than start the operator",
            *error.args,
        )
        return 1
    try:
        asyncio.run(Operator(environment).run())
    except Terminal as error:
        if error.reason != NO_CREDENTIALS:
            raise
        logger.critical("%s", error.message)
        return 1
    return 0


def _metrics(environment: Environment) -> Metrics:
    if not environment.traced:
        return Metrics()
    from bailiwick.control.traces import Traces  # noqa: PLC0415 - OpenTelemetry is 10 MB, and few ask for it

    return Traces(environment.pod)


class Operator:
    """One replica: a standby until it holds the lease, then the leader until it ends."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._stop = asyncio.Event()
        self._role = "standby"
        self._stores = Stores()
        self._pace = Pace()
        self._metrics = _metrics(environment)
        self._queue = KeyedQueue(random=random.random, observer=self._metrics)
        left_out = () if environment.reports else self._stores.reports
        self._optional = [store for store in self._stores.optional if store not in left_out]
        self._offered = Offered(stores=self._optional, queue=self._queue)

    async def run(self) -> None:
        """Serve health, wait for the lease, lead, and give the lease back at the end."""
        self._heed_signals()
        health = Health(role=lambda: self._role, unsynced=self._unsynced, longest_run=self._queue.longest_run)
        async with AsyncExitStack() as stack:
            stack.callback(self._metrics.close)
            await stack.enter_async_context(serve(health, self._metrics.registry, port=self._environment.port))
            connection = await stack.enter_async_context(await Connection.open(kubeconfig=self._environment.kubeconfig))
            lease = Lease(
                api=Api(connection, observer=self._metrics),
                namespace=self._environment.namespace,
                name="bailiwick-operator",
                identity=f"{self._environment.pod}_{secrets.token_hex(4)}",
                pace=self._pace,
            )
            if await self._first(lease.acquire()):
                await self._lead(connection, lease)

    async def _lead(self, connection: Connection, lease: Lease) -> None:
        self._role = "leader"
        self._metrics.leading(leader=True)
        # Nothing is written once the lease may be somebody else's: the guard refuses, and `_keep` ends the process.
        api = Api(connection, observer=self._metrics, guard=lease.check)
        writer = Writer(api=api, stores=self._stores)
        events = Events(api=api, instance=self._environment.pod, pace=self._pace, now=utc_now, observer=self._metrics)
        status = StatusWriter(writer=writer, events=events)
        world = World(self._stores, clock=utc_now, exempt=exempt_namespaces(self._environment.namespace))
        routes = Routes(stores=self._stores, queue=self._queue)
        installed = Installed(api=api, namespace=self._environment.namespace)
        canary = CanaryLoop(
            world=world,
            chart=installed.chart,
            webhook=self._environment.webhook,
            speaks={
                # Without an observer: what it tries changes nothing, and has a metric of its own.
                identity: Api(connection, guard=lease.check, acting_as=person)
                for identity, person in identities(self._environment.namespace).items()
            },
            tell=lambda name: self._queue.add(TERRITORY, name),
            observer=self._metrics,
            seconds=self._environment.canary_seconds,
        )
        alarm = Alarm(canary=canary, queue=self._queue, observer=self._metrics)
        keeper = KeeperLoop(installed=installed, world=world, writer=writer, alarm=alarm)
        territory = TerritoryLoop(
            world=world,
            writer=writer,
            status=status,
            proof=canary.proof,
            audited=lambda policy: audit.audited(policy),  # noqa: PLW0108 - each of the two needs the other
            alarm=alarm,
            pins=lambda: resources.MUTATING_BINDINGS.kind in self._offered.kinds,
        )
        audit = AuditLoop(
            world=world, api=api, writer=writer, events=events, queue=self._queue, observer=self._metrics,
            clock=self._pace.clock, judged=territory.judged,
        )  # fmt: skip
        model = ModelLoop(
            world=world, writer=writer, status=status, offered=self._offered,
            settings=replace(self._environment.settings, kubernetes=await _release(api)),
            gates=Gates(stores=self._stores, api=api, writer=writer),
        )  # fmt: skip
        waiver = WaiverLoop(world=world, status=status)
        reports = ReportLoop(
            world=world, writer=writer, offered=self._offered, found=audit.found_in, unseen=audit.unseen,
            most=self._environment.most_results,
        )  # fmt: skip
        spread = SpreadLoop(
            queue=self._queue,
            keys={
                TERRITORY: territory.keys,
                MODEL: model.keys,
                WAIVER: waiver.keys,
                CANARY: canary.keys,
                REPORT: reports.keys,
            },
        )
        kopf = KopfEvents(
            connection=connection,
            stores=[store for store in self._stores if store is not self._stores.pods],
            selector=self._stores.selector,
            changed=routes.changed,
        )
        self._metrics.watch_stores(self._stores, self._pace.clock)
        self._metrics.watch_policies(self._stores.policies)
        self._metrics.watch_waivers(self._stores.waivers)
        self._metrics.watch_models(self._stores.models)
        self._metrics.watch_violations(audit.violations)
        self._metrics.watch_queue(self._queue.waiting, self._queue.running)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_keep(lease)), tasks.create_task(events.run())]
            running += [
                tasks.create_task(self._relist(api, routes, index)) for index in range(len(tuple(self._stores)))
            ]
            running += [tasks.create_task(self._look_for(api, routes, store)) for store in self._optional]
            if await self._first(self._synced()):
                # All stores are whole before the first key is worked on: what is absent is really not there.
                self._queue.add(KEEPER, KEEPER)
                self._queue.add(SPREAD, TERRITORY, priority=Priority.RESYNC)
                self._queue.add(AUDIT, SWEEP, priority=Priority.RESYNC)
                loops: dict[str, Reconcile] = {
                    TERRITORY: territory.reconcile,
                    MODEL: model.reconcile,
                    WAIVER: waiver.reconcile,
                    CANARY: canary.reconcile,
                    KEEPER: keeper.reconcile,
                    SPREAD: spread.reconcile,
                    AUDIT: audit.reconcile,
                    REPORT: reports.reconcile,
                }
                working = tasks.create_task(self._queue.run(WORKERS, loops))
                watching = asyncio.Event()
                running.append(tasks.create_task(self._heed_signals_again(watching)))
                # Kopf takes every task that begins after it for one of its own, waits for it and cancels it: as a task
                # it begins after the workers do.
                await tasks.create_task(kopf.run(self._stop, watching))
                await self._queue.stop(DRAIN_SECONDS)
                await working
            # Nothing is written any more, so the next leader need not wait for the lease to run out.
            await lease.release()
            for task in running:
                task.cancel()

    def _heed_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)

    async def _heed_signals_again(self, watching: asyncio.Event) -> None:
        """Kopf hears signals in our stead once it runs, and would wait five seconds for a stop that nobody tells."""
        await watching.wait()
        self._heed_signals()

    async def _relist(self, api: Api, routes: Routes, index: int) -> None:
        """Lists fill the stores at the start, and find what a broken watch lost."""
        store = tuple(self._stores)[index]
        feed = Feed(
            api=api,
            store=store,
            on_list=lambda changes: routes.changed(store, changes, priority=Priority.RESYNC),
            pace=self._pace,
            scope=Scope(labels=self._stores.selector(store)),
            observer=self._metrics,
        )
        if store is self._stores.pods:
            # Kopf reads a list at once and keeps a task for each object: 10,000 pods would take more than all the rest.
            await feed.list_and_watch(lambda change: routes.changed(store, (change,)))
        else:
            await feed.relist_every(self._stores.relist_seconds(store))

    async def _look_for(self, api: Api, routes: Routes, store: Store) -> None:
        """Feeds the store of a kind that not every cluster has, for as long as it is there."""
        feed = Feed(
            api=api,
            store=store,
            on_list=lambda changes: routes.changed(store, changes, priority=Priority.RESYNC),
            pace=self._pace,
            scope=Scope(labels=self._stores.selector(store)),
            observer=self._metrics,
        )
        await feed.list_and_watch_if_served(
            lambda change: routes.changed(store, (change,)),
            lambda served: self._offered.tell(store, served=served),
            self._environment.look_seconds,
        )

    async def _synced(self) -> None:
        while self._unsynced():  # noqa: ASYNC110 - it ends within a second, once in the life of a process
            await asyncio.sleep(0.05)
        logger.info("all stores are synced: %d objects", sum(len(store) for store in self._stores))

    def _unsynced(self) -> list[str]:
        if self._role == "standby":
            return []
        missing = [store.resource.plural for store in self._stores if not store.synced]
        return missing + self._offered.unknown()

    async def _first(self, work: Coroutine[None, None, None]) -> bool:
        """Do some work, unless we are asked to stop before it is done; whether it was done."""
        doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if doing.done():
            await doing
            return True
        doing.cancel()
        return False


async def _release(api: Api) -> tuple[int, int] | None:
    """Of Kubernetes; None where it is not told, and then nothing is refused for it."""
    try:
        return await api.release(seconds=RELEASE_SECONDS)
    except ApiError as error:
        logger.warning("the release of the API server is not known: %s", error)
        return None


async def _keep(lease: Lease) -> None:
    """Hold the lease, or end the process at once: a clean shutdown would take longer than the next leader waits."""
    try:
        await lease.keep()
    except LeaseLostError as error:
        logger.critical("%s", error)
        sys.stderr.flush()
        os._exit(1)
