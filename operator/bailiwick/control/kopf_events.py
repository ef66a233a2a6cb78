"""Kopf as the source of events, and nothing else: the only module that imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kopf

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from bailiwick.cluster.connection import Connection
    from bailiwick.cluster.store import Change, Store

REQUEST_SECONDS = 30
IDLE_SECONDS = 0.2
"""For so long Kopf keeps a task and a queue for an object without news. Its usual 5 s hold 40 MiB when 6,000 objects
are written at once."""


class _NoEssence(kopf.DiffBaseStorage):
    """Kopf copies every object to compare it with its last handled state. Nobody here asks for that difference."""

    def build(self, **_: object) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        """Nothing is kept."""


class _NoProgress(kopf.ProgressStorage):
    """Handlers of plain events have no progress to keep on the objects."""

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        """Nothing is kept."""

    def purge(self, **_: object) -> None:
        """Nothing was kept."""

    def touch(self, **_: object) -> None:
        """Nothing is kept."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


class KopfEvents:
    """Watches the kinds of the given stores, feeds them, and hands on what changed."""

    def __init__(
        self,
        *,
        connection: Connection,
        stores: Iterable[Store],
        selector: Callable[[Store], str],
        changed: Callable[[Store, Iterable[Change]], None],
    ) -> None:
        self._connection = connection
        self._changed = changed
        self._registry = kopf.OperatorRegistry()
        self._settings = kopf.OperatorSettings()
        self._settings.peering.standalone = True
        self._settings.posting.enabled = False
        self._settings.scanning.disabled = True
        self._settings.queueing.idle_timeout = IDLE_SECONDS
        self._settings.networking.request_timeout = REQUEST_SECONDS
        self._settings.persistence.diffbase_storage = _NoEssence()
        self._settings.persistence.progress_storage = _NoProgress()
        # A connection that breaks in the middle of initial streaming resumes without asking for the rest.
        self._settings.watching.initial_streaming = False
        kopf.on.login(registry=self._registry)(self._login)
        for store in stores:
            self._watch(store, selector(store))

    async def run(self, stop: asyncio.Event, watching: asyncio.Event) -> None:
        """Deliver events until ``stop`` is set. Raises when Kopf gives up a watch: restart the process.

        ``watching`` is set when it has begun: from then on Kopf handles the signals of the process.
        """
        await kopf.operator(
            registry=self._registry, settings=self._settings, clusterwide=True, standalone=True,
            ready_flag=watching, stop_flag=stop,
        )  # fmt: skip

    def _watch(self, store: Store, selector: str) -> None:
        resource = store.resource
        if selector:
            self._settings.watching.label_selectors[
                lambda seen: (seen.group, seen.plural) == (resource.group, resource.plural)
            ] = selector

        async def handle(event: Any, **_: object) -> None:
            if change := store.apply_event(event["type"], event["object"]):
                self._changed(store, (change,))

        kopf.on.event(
            group=resource.group,
            version=resource.version,
            plural=resource.plural,
            registry=self._registry,
            id=f"watch-{resource.plural}",
        )(handle)

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        """The same identity as the rest of the process. Kopf asks again when the API server refuses it."""
        known = self._connection.credentials()
        # In a pod the prefix is "bearer", from a kubeconfig it is "Bearer".
        token = (await self._connection.headers()).get("Authorization", "").partition(" ")[2]
        return kopf.ConnectionInfo(
            server=self._connection.url,
            ca_path=known.ca_file,
            certificate_path=known.certificate_file,
            private_key_path=known.key_file,
            token=token or None,
        )
