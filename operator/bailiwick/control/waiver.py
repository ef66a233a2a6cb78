"""The waiver loop: what became of each ResidencyWaiver. Whom it puts inside is in the policies of `World`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.cluster import resources
from bailiwick.control.waiver_status import Seen, summarise
from bailiwick.residency.facts import seconds_until
from bailiwick.residency.territories import changes
from bailiwick.residency.waivers import compile_waiver

if TYPE_CHECKING:
    from datetime import datetime

    from bailiwick.control.status import StatusWriter
    from bailiwick.control.world import World
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.waivers import Waiver


class WaiverLoop:
    """Reconciles one ResidencyWaiver by name: its status, and the Events of what turned."""

    def __init__(self, *, world: World, status: StatusWriter) -> None:
        self._world = world
        self._status = status

    def keys(self) -> list[str]:
        """Every waiver that is there."""
        return [name for _, name in self._world.stores.waivers.keys()]  # noqa: SIM118

    async def reconcile(self, name: str) -> float | None:
        """Tell what one waiver is worth; seconds until time alone changes that."""
        manifest, waiver = self._world.stores.waivers.get(("", name)), self._world.waivers().get(name)
        if manifest is None or waiver is None or waiver.metadata.deletion_timestamp:
            return None
        now = self._world.clock()
        policy = self._world.policies().get(waiver.spec.policy)
        facts = self._world.facts().get(waiver.spec.node.name)
        compiled = compile_waiver(policy, waiver, self._world.atlas()) if policy else None
        seen = Seen(waiver, self._world.approvals().get(name, ()), policy, compiled, facts)
        await self._status.write(resources.RESIDENCY_WAIVERS, manifest, summarise(manifest, seen, now=now))
        return _until(policy, compiled, facts, now) if policy and compiled else None


def _until(policy: CompiledPolicy, waiver: Waiver, facts: NodeFacts | None, now: datetime) -> float | None:
    moments = [*waiver.changes(now), *(changes(policy, facts, now) if facts else ())]
    return seconds_until(moments, now)
