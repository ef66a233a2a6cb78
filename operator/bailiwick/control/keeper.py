"""The keeper: puts the chart's in-tree policies and bindings back when they are gone, and right when they were changed.

The API server lets no policy guard policies, so whoever may delete one opens what it guards. This closes it again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from bailiwick.cluster import exact, resources
from bailiwick.cluster.errors import ApiError, Forbidden, NotFound, Terminal
from bailiwick.cluster.exact import Fault
from bailiwick.control.alarm import guard_of
from bailiwick.control.chart import NAME, read_chart
from bailiwick.residency import border

if TYPE_CHECKING:
    from bailiwick.cluster.api import Api, Raw
    from bailiwick.control.alarm import Alarm
    from bailiwick.control.chart import Chart, Key
    from bailiwick.control.world import World
    from bailiwick.control.writer import Writer

EVERY_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
"""After a write that was refused: a right may come back, and no event tells it."""

logger = logging.getLogger(__name__)


class Installed:
    """What the newest release wants the border to look like, as it was read last. ``namespace`` is Bailiwick's own."""

    def __init__(self, *, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._chart: Chart | None = None

    def chart(self) -> Chart | None:
        """None where nobody says it."""
        return self._chart

    async def read(self) -> Chart | None:
        """Read it anew. Where that is not possible it stays what it was, but not when the ConfigMap is gone."""
        try:
            found = await self._api.get(resources.CONFIG_MAPS, NAME, self._namespace)
            if self._chart is None or self._chart.version != found["metadata"]["resourceVersion"]:
                self._chart = read_chart(found)
        except NotFound:
            logger.warning("there is no ConfigMap %s in %s: no in-tree policy is put back", NAME, self._namespace)
            self._chart = None
        except ApiError as error:
            logger.warning(
                "ConfigMap %s could not be read, so in-tree policies must be what they were: %s", NAME, error
            )
        except ValueError as error:
            logger.error("no in-tree policy is put back: %s", error)  # noqa: TRY400 - the sentence says it all
            self._chart = None
        return self._chart


class KeeperLoop:
    """Compares all of the chart's objects with the stores. It has one key, whatever that is."""

    def __init__(self, *, installed: Installed, world: World, writer: Writer, alarm: Alarm) -> None:
        self._installed = installed
        self._world = world
        self._writer = writer
        self._alarm = alarm
        self._failing: set[Key] = set()

    async def reconcile(self, _: object) -> float:
        """Bring every object of the chart in line; seconds until the next look.

        The ConfigMap is read each time: during an upgrade it is newer than the policies, never older. So an operator of
        whatever release puts back what the newest wants.
        """
        before, chart = self._installed.chart(), await self._installed.read()
        if chart is None:
            return EVERY_SECONDS
        for key, manifest in chart.objects.items():
            live = self._live(key)
            if live is not None and exact.same(live, manifest):
                self._failing.discard(key)
            else:
                await self._mend(chart, manifest, live, quiet=_is_upgrade(before, chart, key, live))
        return RETRY_SECONDS if self._failing else EVERY_SECONDS

    async def _mend(self, chart: Chart, manifest: Raw, live: Raw | None, *, quiet: bool) -> None:
        """Put one object right. ``quiet`` where it is the chart that changed."""
        key = (manifest["kind"], manifest["metadata"]["name"])
        concerned = self._concerned(chart, guard_of(manifest))
        try:
            fault = await self._writer.keep(chart.as_installed(manifest), manager=chart.manager)
        except (Forbidden, Terminal) as error:  # the queue tries anything else again soon
            if key not in self._failing:
                self._alarm.failed(manifest, Fault.CHANGED if live else Fault.GONE, error, concerned)
            self._failing.add(key)
            return
        self._failing.discard(key)
        if fault and quiet:
            logger.info("%s %s follows the chart", *key)
        elif fault:
            self._alarm.repaired(manifest, fault, concerned)

    def _concerned(self, chart: Chart, guard: str) -> list[str]:
        """The residency policies for which it refuses: what only pins refuses for none."""
        policies = self._world.policies().items()
        return [name for name, policy in policies if guard in chart.static | border.guards(policy)]

    def _live(self, key: Key) -> Raw | None:
        kind, name = key
        return self._world.stores.of(resources.of_kind(kind)).get(("", name))


def _is_upgrade(before: Chart | None, chart: Chart, key: Key, live: Raw | None) -> bool:
    """Whether an object is what the last chart wanted, so that it was the chart that changed."""
    if before is None or before.version == chart.version:
        return False
    known = before.objects.get(key)
    return known is None if live is None else known is not None and exact.same(live, known)
