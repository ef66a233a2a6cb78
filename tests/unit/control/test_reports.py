"""When a report is written, and when it goes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.control.offered import Offered
from bailiwick.control.reports import ReportLoop
from bailiwick.control.stores import Stores
from bailiwick.control.world import World
from bailiwick.control.writer import Writer
from bailiwick.residency.report import Finding

if TYPE_CHECKING:
    from bailiwick.cluster.resources import Resource

Raw = dict[str, Any]
OUTSIDE = Finding("health", "Pod", "chat", "WrongPlace", "boston stands in US", "u", "boston")


class Cluster:
    """An API server that remembers writes; also the queue of `Offered`."""

    def __init__(self) -> None:
        self.version = 100
        self.calls: list[tuple[str, str]] = []

    async def apply(self, resource: Resource, manifest: Raw) -> Raw:
        self.version += 1
        self.calls.append(("apply", resource.kind))
        known = {"resourceVersion": str(self.version), "uid": resource.kind}
        return {**manifest, "metadata": {**manifest["metadata"], **known}}

    async def delete(self, resource: Resource, *_: object) -> None:
        self.calls.append(("delete", resource.kind))

    def add(self, *_: object, **__: object) -> None: ...


class Ground:
    """A governed namespace and what the audit found there; None is that it has not looked yet."""

    def __init__(self, *served: str) -> None:
        self.stores, self.cluster = Stores(), Cluster()
        self.found: tuple[Finding, ...] | None = (OUTSIDE,)
        self.governs({"data": "health"})
        self.namespace(labels={"data": "health"})
        self.offered = Offered(stores=self.stores.reports, queue=self.cluster)  # type: ignore[arg-type]
        self.serves(*served)
        self.loop = ReportLoop(
            world=World(self.stores, clock=lambda: datetime(2026, 11, 21, tzinfo=UTC), exempt=frozenset()),
            writer=Writer(api=self.cluster, stores=self.stores),  # type: ignore[arg-type]
            offered=self.offered,
            found=lambda _: self.found,
            unseen=lambda: False,
            most=300,
        )

    def serves(self, *kinds: str) -> None:
        for store in self.stores.reports:
            self.offered.tell(store, served=store.resource.kind in kinds)

    def _next(self, name: str, **more: Any) -> Raw:
        self.cluster.version += 1
        return {"name": name, "uid": name, "resourceVersion": str(self.cluster.version), **more}

    def governs(self, labels: Any) -> None:
        spec = {"namespaceSelector": {"matchLabels": labels}, "place": {"allow": ["DE"]}}
        self.stores.policies.apply_event("MODIFIED", {"metadata": self._next("health"), "spec": spec})

    def namespace(self, **metadata: Any) -> None:
        self.stores.namespaces.apply_event("MODIFIED", {"metadata": self._next("clinic", **metadata)})

    async def looks(self) -> list[tuple[str, str]]:
        """What is called at the next look."""
        self.cluster.calls.clear()
        for each in self.loop.keys():  # noqa: SIM118 - no mapping
            await self.loop.reconcile(each)
        return list(self.cluster.calls)


@pytest.mark.parametrize(
    ("served", "written"),
    [
        ((), []),
        (("Report",), [("apply", "Report")]),
        (("PolicyReport",), [("apply", "PolicyReport")]),
        (("Report", "PolicyReport"), [("apply", "Report")]),
    ],
    ids=lambda value: " ".join(map(str, value)) or "none",
)
async def test_a_report_is_written_once_in_the_kind_that_is_served(served: Any, written: Any) -> None:
    ground = Ground(*served)
    assert await ground.looks() == written
    assert await ground.looks() == []


async def test_openreports_take_the_place_of_the_older_kind() -> None:
    ground = Ground("PolicyReport")
    await ground.looks()
    ground.serves("Report", "PolicyReport")
    assert await ground.looks() == [("apply", "Report"), ("delete", "PolicyReport")]


async def test_news_are_written() -> None:
    ground = Ground("Report")
    await ground.looks()
    ground.found = ()
    assert await ground.looks() == [("apply", "Report")]


async def test_what_was_not_judged_yet_is_not_told() -> None:
    ground = Ground("Report")
    ground.found = None
    assert await ground.looks() == []


async def test_a_namespace_that_is_no_longer_governed_loses_its_report() -> None:
    ground = Ground("Report")
    await ground.looks()
    ground.namespace(labels={})
    assert await ground.looks() == [("delete", "Report")]


async def test_a_policy_that_nobody_can_read_takes_no_report_away() -> None:
    ground = Ground("Report")
    await ground.looks()
    ground.governs("nonsense")
    ground.found = ()
    assert await ground.looks() == [], "nor are findings of what it asked taken out"


async def test_nothing_is_made_in_a_namespace_that_ends() -> None:
    ground = Ground("Report")
    ground.namespace(labels={"data": "health"}, deletionTimestamp="2026-11-21T00:00:00Z")
    assert await ground.looks() == []


async def test_what_a_tenant_writes_takes_no_room_of_ours() -> None:
    stores = Stores()
    metadata = {
        "name": "bailiwick",
        "namespace": "clinic",
        "uid": "u",
        "resourceVersion": "1",
        "annotations": {"a": "a" * 9999},
    }
    stores.open_reports.apply_event("ADDED", {"metadata": metadata, "results": [{"message": "m" * 9999}] * 99})
    assert stores.open_reports.size < 300
