"""Writes of the loops: only what differs from what the stores hold."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bailiwick.cluster import exact, resources
from bailiwick.cluster.api import FIELD_MANAGER
from bailiwick.cluster.apply import ensure
from bailiwick.cluster.errors import NotFound
from bailiwick.residency.report import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.apply import Written
    from bailiwick.cluster.exact import Fault
    from bailiwick.cluster.resources import Resource
    from bailiwick.control.stores import Stores


class Writer:
    """What the API server answers about our objects goes into the store at once: our own write is no event for us."""

    def __init__(self, *, api: Api, stores: Stores) -> None:
        self._api = api
        self._stores = stores

    async def apply(self, manifest: Raw) -> Written | None:
        """Make an object what we want; None, and no write, when it is."""
        resource = resources.of_kind(manifest["kind"])
        metadata = manifest["metadata"]
        store = self._stores.of(resource)
        written = await ensure(
            self._api, resource, manifest, store.get((metadata.get("namespace", ""), metadata["name"]))
        )
        if written:
            store.apply_event("MODIFIED", written.manifest)
        return written

    async def keep(self, manifest: Raw, *, manager: str = FIELD_MANAGER) -> Fault | None:
        """Make a policy or a binding exactly what it must be; what was wrong with it, or None without a write."""
        resource = resources.of_kind(manifest["kind"])
        store = self._stores.of(resource)
        live = store.get(("", manifest["metadata"]["name"]))
        if live is not None and exact.same(live, manifest):
            return None
        done = await exact.put(self._api, resource, manifest, live, manager=manager)
        store.apply_event("MODIFIED", done.manifest)
        return done.fault

    async def report(self, manifest: Raw) -> None:
        """Make a report what it must be, given the digest that the store keeps of it; no write when it is."""
        resource = resources.of_kind(manifest["kind"])
        store = self._stores.of(resource)
        live = store.get((manifest["metadata"]["namespace"], manifest["metadata"]["name"]))
        if live is None:
            written = await ensure(self._api, resource, manifest, None)
            if written:
                store.apply_event("MODIFIED", written.manifest)
        elif live["digest"] != digest(manifest):
            store.apply_event("MODIFIED", await self._api.apply(resource, manifest))

    async def apply_all(
        self, manifests: Iterable[Raw], *, unless: Callable[[BaseException], bool] = lambda _: False
    ) -> None:
        """Make several objects what we want, side by side. The first error is raised when all are done.

        ``unless`` says of an error that it is none.
        """
        results = await asyncio.gather(*(self.apply(manifest) for manifest in manifests), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not unless(result):
                raise result

    async def delete(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        """Remove an object; no call when the store knows of none."""
        if (namespace or "", name) in self._stores.of(resource):
            await self._api.delete(resource, name, namespace)

    async def remove(self, resource: Resource, manifest: Raw) -> None:
        """Remove the very object that was read as ``manifest``, and no other of its name."""
        known = manifest["metadata"]
        await self._api.delete(resource, known["name"], known.get("namespace"), uid=known["uid"])

    async def metadata(self, resource: Resource, manifest: Raw, patch: Raw) -> None:
        """Merge something into the metadata of the very object that was read as ``manifest``. Conflict: another one."""
        known = manifest["metadata"]
        merged = {"metadata": {**patch, "uid": known["uid"]}}
        written = await self._api.patch_merge(resource, known["name"], known.get("namespace"), merged)
        self._stores.of(resource).apply_patch(merged, written)

    async def label(self, resource: Resource, names: Iterable[str], label: str, value: str | None) -> None:
        """Set one label on cluster-scoped objects, or take it off. One that is gone meanwhile needs none."""
        store, patch = self._stores.of(resource), {"metadata": {"labels": {label: value}}}
        for name in sorted(names):
            with suppress(NotFound):
                store.apply_patch(patch, await self._api.patch_merge(resource, name, None, patch))

    async def status(self, resource: Resource, manifest: Raw, status: Mapping[str, Any]) -> bool:
        """One status write, if it says something new; whether it did."""
        if manifest.get("status") == status:
            return False
        written = await self._api.patch_status(resource, manifest, dict(status))
        # A spec that somebody changed meanwhile must come as an event, or nobody would look at it.
        if written["metadata"].get("generation") == manifest["metadata"].get("generation"):
            self._stores.of(resource).apply_event("MODIFIED", written)
        return True
