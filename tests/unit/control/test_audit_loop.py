"""The audit acts on nothing that only one of its watches has said."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster.errors import refusal
from bailiwick.control.audit import DOUBT_SECONDS, SETTLE_SECONDS, AuditLoop
from bailiwick.control.routes import SWEEP
from bailiwick.control.stores import Stores
from bailiwick.control.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bailiwick.cluster.resources import Resource

Raw = dict[str, Any]
START = datetime(2026, 11, 21, tzinfo=UTC)
KEY = ("clinic", "chat")


def metadata(name: str, namespace: str | None = None, **more: Any) -> Raw:
    where = {"namespace": namespace} if namespace else {}
    return {"name": name, "uid": name, "resourceVersion": "1", **where, **more}


NODE: Raw = {"metadata": metadata("boston"), "spec": {}, "status": {}}
POD: Raw = {
    "metadata": metadata("chat", "clinic", labels={"app": "chat"}),
    "spec": {"nodeName": "boston"},
    "status": {"phase": "Running"},
}


class Cluster:
    """An API server that remembers what was changed on it; also Writer, Events, queue and observer of the audit."""

    def __init__(self, *inside: str) -> None:
        territory = {"metadata": metadata("health"), "spec": {"nodes": dict.fromkeys(inside, "DE")}}
        self.live = {"Node": NODE, "Pod": POD, "Territory": territory}
        self.patched: list[Raw] = []

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Raw:
        if resource.kind not in self.live:
            raise refusal(f"get {resource.plural} {namespace}/{name}", 404, b"")
        return deepcopy(self.live[resource.kind])

    async def list(self, *_: object) -> AsyncIterator[Raw]:
        nothing: list[Raw] = []
        for none in nothing:
            yield none

    async def metadata(self, _: Resource, __: Raw, patch: Raw) -> None:
        self.patched.append(patch)

    async def apply(self, _: Raw) -> None: ...

    async def delete(self, *_: object) -> None: ...

    def post(self, *_: object, **__: object) -> None: ...

    def add(self, *_: object, **__: object) -> None: ...

    def add_after(self, *_: object) -> None: ...

    def stepped(self, *_: object) -> None: ...

    def swept(self, *_: object) -> None: ...


class Ground:
    """A governed pod on node boston, of whose place nobody speaks; the node is heard of when a test says so."""

    def __init__(self, *inside: str, judged: bool = True) -> None:
        self.stores, self.cluster, self.seconds = Stores(), Cluster(*inside), 0.0
        spec = {
            "namespaceSelector": {"matchLabels": {"data": "health"}},
            "place": {"allow": ["DE"]},
            "violation": {"action": "Quarantine"},
        }
        self.stores.policies.apply_event("ADDED", {"metadata": metadata("health"), "spec": spec})
        self.stores.namespaces.apply_event("ADDED", {"metadata": metadata("clinic", labels={"data": "health"})})
        self.stores.pods.apply_event("ADDED", deepcopy(POD))
        self.audit = AuditLoop(
            world=World(self.stores, clock=lambda: START, exempt=frozenset()),
            **dict.fromkeys(("api", "writer", "events", "queue", "observer"), self.cluster),  # type: ignore[arg-type]
            clock=lambda: self.seconds,
            judged=lambda *_: judged,
        )

    def hears_of_the_node(self) -> Ground:
        self.stores.nodes.apply_event("ADDED", deepcopy(NODE))
        return self

    async def looks_twice(self) -> float | None:
        """Found, and looked at again when the first step may be taken; in how many seconds then."""
        await self.audit.reconcile(KEY)
        self.seconds += SETTLE_SECONDS
        return await self.audit.reconcile(KEY)


async def test_what_all_agree_on_is_acted_upon_when_it_has_settled() -> None:
    ground = Ground().hears_of_the_node()
    assert await ground.audit.reconcile(KEY) == DOUBT_SECONDS
    assert not ground.cluster.patched
    ground.seconds += SETTLE_SECONDS
    await ground.audit.reconcile(KEY)
    assert [patch["labels"] for patch in ground.cluster.patched] == [{"bailiwick.dev/quarantined": "true"}]


@pytest.mark.parametrize("inside", [(), ("boston",)], ids=["not listed yet", "listed"])
async def test_a_pod_on_a_node_that_nobody_told_of_yet_is_left_alone(inside: tuple[str, ...]) -> None:
    ground = Ground(*inside)
    assert await ground.looks_twice() == DOUBT_SECONDS
    assert not ground.cluster.patched


async def test_a_pod_on_a_node_that_the_territory_lists_is_left_alone() -> None:
    ground = Ground("boston").hears_of_the_node()
    assert await ground.looks_twice() == DOUBT_SECONDS
    assert not ground.cluster.patched


async def test_a_pod_is_left_alone_until_the_territory_was_made_from_what_is_believed_now() -> None:
    ground = Ground(judged=False).hears_of_the_node()
    assert await ground.looks_twice() == DOUBT_SECONDS
    assert not ground.cluster.patched


@pytest.mark.parametrize("other", [{"uid": "another"}, {"uid": "chat"}], ids=["another", "moved"])
async def test_a_pod_that_is_no_longer_the_one_that_was_found_is_left_alone(other: Raw) -> None:
    ground = Ground().hears_of_the_node()
    elsewhere = {"nodeName": "berlin" if other["uid"] == "chat" else "boston"}
    ground.cluster.live["Pod"] = {**POD, "metadata": {**POD["metadata"], **other}, "spec": elsewhere}
    await ground.looks_twice()
    assert not ground.cluster.patched


async def test_a_namespace_is_told_of_when_a_sweep_judged_it_by_its_policies_as_they_are() -> None:
    ground = Ground().hears_of_the_node()
    await ground.audit.reconcile(KEY)
    assert ground.audit.found_in("clinic") is None
    await ground.audit.reconcile(SWEEP)
    (found,) = ground.audit.found_in("clinic") or ()
    assert (found.policy, found.kind, found.name, found.uid, found.node) == ("health", "Pod", "chat", "chat", "boston")
    labels = metadata("office", labels={"data": "health"})
    ground.stores.namespaces.apply_event("ADDED", {"metadata": {**labels, "resourceVersion": "2"}})
    assert ground.audit.found_in("office") is None
    await ground.audit.reconcile(SWEEP)
    assert ground.audit.found_in("office") == ()
    policy = ground.stores.policies.get(("", "health"))
    assert policy
    changed = {
        **policy,
        "metadata": metadata("health", resourceVersion="3"),
        "spec": {**policy["spec"], "mode": "Audit"},
    }
    ground.stores.policies.apply_event("MODIFIED", changed)
    assert ground.audit.found_in("clinic") is None
