"""Our own list and watch: fills a store and keeps it current, whatever happens to the connection."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from bailiwick.cluster.api import SILENCE_SECONDS
from bailiwick.cluster.errors import ApiError, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bailiwick.cluster.api import Api
    from bailiwick.cluster.pace import Pace
    from bailiwick.cluster.store import Change, Store

WATCH_SECONDS = 300
"""After about this the server ends a watch, so that API servers behind a load balancer share the load."""
_NOT_FOR_US = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN})
logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told about every list."""

    def relisted(self, resource: str, outcome: str, missed: int) -> None:
        """``outcome``: complete or failed. ``missed``: changes that no event had told so far."""


SOON_SECONDS = 5.0
"""From the first list of a store that others feed to the second: by then they watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which objects of a kind a store holds; all by default. Events that are fed to the store must have the same."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""


class Feed:
    """One store, and the list and watch that fill it.

    ``on_list`` is told what a whole list changed, at first everything; it must not raise.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        api: Api,
        store: Store,
        on_list: Callable[[Sequence[Change]], None],
        pace: Pace,
        scope: Scope | None = None,
        observer: Observer | None = None,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._api = api
        self._store = store
        self._on_list = on_list
        self._pace = pace
        self._scope = scope or Scope()
        self._observer = observer
        self._silence = silence
        self._failures = 0

    async def relist(self) -> str:
        """Replace the store by what the API server lists now. Returns the list's resourceVersion. Raises ApiError."""
        begun, first = self._pace.clock(), not self._store.synced
        changes: list[Change] = []
        version = ""
        try:
            whole = self._store.relist()
            pages = self._api.pages(
                self._store.resource, self._scope.namespace, labels=self._scope.labels, fields=self._scope.fields
            )
            async for page in pages:
                version = page.resource_version
                changes += whole.add(page.items, version)
            changes += whole.finish()
        except ApiError:
            self._observe("failed", 0)
            raise
        self._store.confirm(begun)  # what a list says was true when it was asked for
        self._observe("complete", 0 if first else len(changes))
        self._on_list(changes)
        return version

    async def relist_every(self, seconds: float) -> None:
        """Replace the store now and again, until cancelled: for a store that others feed with events.

        The second list comes soon. What was deleted after the first one, before the others began to watch, is told by
        no event.
        """
        wait = min(SOON_SECONDS, seconds)
        while True:
            try:
                await self.relist()
            except ApiError as error:
                age = self._store.age(self._pace.clock())
                logger.warning("%s could not be listed, their store is %.0f s old: %s", self._kind, age, error)
                await self._back_off()
            else:
                self._failures = 0
                await self._pace.sleep(self._pace.about(wait))
                wait = seconds

    async def list_and_watch(self, on_change: Callable[[Change], None]) -> None:
        """Keep the store current until cancelled: list, watch from there, and after any error list again.

        ``on_change`` is told what single events changed; it must not raise.
        """
        while True:
            try:
                version = await self.relist()
                while True:
                    version = await self._watch(version, on_change)
            except ApiError as error:
                logger.info("%s are listed again: %s", self._kind, error)
            await self._back_off()

    async def list_and_watch_if_served(
        self, on_change: Callable[[Change], None], told: Callable[[bool], None], seconds: float
    ) -> None:
        """The same for a kind that may not be there; it is looked for again every so many seconds.

        ``told`` hears whether the API server serves it, again and again. A kind that we may not list is not there for
        us: its absence must never keep anything else from its work.
        """
        while True:
            try:
                version = await self.relist()
                told(True)
                while True:
                    version = await self._watch(version, on_change)
            except ApiError as error:
                if error.status not in _NOT_FOR_US:
                    logger.info("%s are listed again: %s", self._kind, error)
                    await self._back_off()
                    continue
                if error.status == HTTPStatus.FORBIDDEN:
                    logger.warning("%s are taken as not there: %s", self._kind, error)
                told(False)
                await self._pace.sleep(self._pace.about(seconds))

    async def _watch(self, version: str, on_change: Callable[[Change], None]) -> str:
        """Follow one watch to its end. Returns the version to go on from."""
        came = False
        watch = self._api.watch(
            self._store.resource,
            self._scope.namespace,
            since=version,
            labels=self._scope.labels,
            fields=self._scope.fields,
            timeout_seconds=round(self._pace.about(WATCH_SECONDS)),
            silence=self._silence,
        )
        async with aclosing(watch) as events:
            async for event in events:
                came = True
                self._failures = 0
                version = event.object["metadata"]["resourceVersion"]
                self._store.confirm(self._pace.clock())
                if event.type != "BOOKMARK" and (change := self._store.apply_event(event.type, event.object)):
                    on_change(change)
        if not came:
            raise Transient(f"watch {self._kind}", status=None, reason="Closed", message="ended without any event")
        return version

    @property
    def _kind(self) -> str:
        return self._store.resource.plural

    async def _back_off(self) -> None:
        await self._pace.back_off(self._failures)
        self._failures += 1

    def _observe(self, outcome: str, missed: int) -> None:
        if self._observer:
            self._observer.relisted(self._kind, outcome, missed)
