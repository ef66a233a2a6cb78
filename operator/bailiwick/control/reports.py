"""The report loop: what the audit found, told once more where the tools of others look for it.

A report is a view. The tenant may be allowed to edit it, so it is put right again, and nothing is ever read from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.residency.report import NAME, Finding, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from bailiwick.cluster.store import Store
    from bailiwick.control.offered import Offered
    from bailiwick.control.world import World
    from bailiwick.control.writer import Writer


class ReportLoop:
    """Reconciles names of namespaces. ``found`` and ``unseen`` are the audit's; a report shows ``most`` findings."""

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        world: World,
        writer: Writer,
        offered: Offered,
        found: Callable[[str], tuple[Finding, ...] | None],
        unseen: Callable[[], bool],
        most: int,
    ) -> None:
        self._world = world
        self._writer = writer
        self._offered = offered
        self._found = found
        self._unseen = unseen
        self._most = most

    def keys(self) -> list[str]:
        """The namespaces that are governed or have a report; none where no kind of report is served."""
        served = self._served()
        if not served:
            return []
        known = self._world.stores.namespaces.keys()
        reported = {namespace for store in served for namespace, _ in store.keys()}  # noqa: SIM118 - a Store
        return sorted({name for _, name in known if self._world.governing(name)} | reported)

    async def reconcile(self, namespace: str) -> None:
        """Write the report of a governed namespace, in one kind, and remove every other."""
        served = self._served()
        if not served or self._ending(namespace) or self._world.unreadable_over(namespace):
            return
        policies = self._world.governing(namespace)
        if not policies:
            await self._remove(served, namespace)
            return
        found = self._found(namespace)
        if found is None:
            return
        kind, modes = served[0].resource.kind, {policy.name: policy.mode for policy in policies}
        await self._writer.report(report(kind, namespace, modes, found, unseen=self._unseen(), most=self._most))
        await self._remove(served[1:], namespace)

    async def _remove(self, stores: list[Store], namespace: str) -> None:
        for store in stores:
            await self._writer.delete(store.resource, NAME, namespace)

    def _served(self) -> list[Store]:
        """Of the kinds of reports those that are there, the one to be written first."""
        return [store for store in self._world.stores.reports if store.resource.kind in self._offered.kinds]

    def _ending(self, namespace: str) -> bool:
        """Nothing can be made any more in a namespace that is being deleted, and everything in it goes."""
        known = self._world.stores.namespaces.get(("", namespace))
        return known is not None and "deletionTimestamp" in known["metadata"]
