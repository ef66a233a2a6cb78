"""Writes only where something differs, and back into the stores at once."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.cluster import resources
from bailiwick.cluster.errors import NotFound, Terminal
from bailiwick.control.stores import Stores
from bailiwick.control.writer import Writer

Raw = dict[str, Any]
OURS = "bailiwick.dev/v1alpha1"


class Server:
    """Stands for the API port: remembers calls, and answers what it was asked to make."""

    def __init__(self, gone: frozenset[str] = frozenset()) -> None:
        self.calls: list[tuple[str, str]] = []
        self.gone = gone

    async def apply(self, _resource: object, manifest: Raw, **_: bool) -> Raw:
        self.calls.append(("apply", manifest["metadata"]["name"]))
        return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "9", "uid": "u"}}

    async def patch_merge(self, _resource: object, name: str, _namespace: None, patch: Raw) -> Raw:
        self.calls.append(("label", name))
        if name in self.gone:
            raise NotFound(f"patch {name}", status=404, reason="NotFound", message="gone")
        return {"metadata": {"name": name, "uid": name, "resourceVersion": "9", **patch["metadata"]}}

    async def patch_status(self, _resource: object, manifest: Raw, status: Raw) -> Raw:
        self.calls.append(("status", manifest["metadata"]["name"]))
        return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "9"}, "status": status}

    async def delete(self, _resource: object, name: str, _namespace: str | None) -> None:
        self.calls.append(("delete", name))


@pytest.fixture
def stores() -> Stores:
    return Stores()


def writer(stores: Stores, server: Server) -> Writer:
    return Writer(api=server, stores=stores)  # type: ignore[arg-type]


def territory(**nodes: str) -> Raw:
    return {"apiVersion": OURS, "kind": "Territory", "metadata": {"name": "health"}, "spec": {"nodes": nodes}}


async def test_what_is_as_it_should_be_is_not_written_again(stores: Stores) -> None:
    server = Server()
    await writer(stores, server).apply(territory(a="DE"))
    await writer(stores, server).apply(territory(a="DE"))
    assert server.calls == [("apply", "health")]
    await writer(stores, server).apply(territory(a="DE", b="DE"))
    assert server.calls == [("apply", "health")] * 2


async def test_a_store_knows_a_write_before_any_event_tells_it(stores: Stores) -> None:
    server = Server()
    await writer(stores, server).apply(territory(a="DE"))
    held = stores.territories.get(("", "health"))
    assert held
    assert held["spec"] == {"nodes": {"a": "DE"}}
    assert stores.territories.apply_event("ADDED", held) is None, "our own write is no news"


def way_out(model: str, port: int, uid: str | None = None) -> Raw:
    """What imports of model chat, and a model of the name chat-import, both have."""
    owner = {"apiVersion": OURS, "kind": "SovereignModel", "name": model, "uid": uid or model, "controller": True}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "chat-import", "namespace": "clinic", "ownerReferences": [owner]},
        "spec": {"podSelector": {}, "egress": [{"ports": [{"port": port}]}]},
    }


async def test_what_one_model_has_is_not_given_to_another(stores: Stores) -> None:
    server = Server()
    await writer(stores, server).apply(way_out("chat", 443))
    with pytest.raises(Terminal, match="'chat-import' belongs to SovereignModel chat; rename"):
        await writer(stores, server).apply(way_out("chat-import", 80))
    await writer(stores, server).apply(way_out("chat", 443, uid="made anew"))
    assert server.calls == [("apply", "chat-import")] * 2


async def test_all_are_written_before_the_first_error_is_raised(stores: Stores) -> None:
    class Refusing(Server):
        async def apply(self, _resource: object, manifest: Raw, **_: bool) -> Raw:
            await super().apply(_resource, manifest)
            raise NotFound("apply", status=404, reason="NotFound", message=manifest["metadata"]["name"])

    server = Refusing()
    two = [{**territory(), "metadata": {"name": name}} for name in ("a", "b")]
    with pytest.raises(NotFound, match="a"):
        await writer(stores, server).apply_all(two)
    assert server.calls == [("apply", "a"), ("apply", "b")]


async def test_a_node_that_is_gone_needs_no_label_and_the_others_get_theirs(stores: Stores) -> None:
    stores.nodes.apply_event("ADDED", {"metadata": {"name": "b", "uid": "b", "resourceVersion": "1"}})
    server = Server(gone=frozenset({"a"}))
    await writer(stores, server).label(resources.NODES, {"b", "a"}, "team", "x")
    assert server.calls == [("label", "a"), ("label", "b")]
    held = stores.nodes.get(("", "b"))
    assert held
    assert held["metadata"]["labels"] == {"team": "x"}


async def test_what_somebody_else_changed_in_the_same_breath_is_still_news(stores: Stores) -> None:
    known: Raw = {"metadata": {"name": "team", "uid": "u", "resourceVersion": "1", "labels": {"a": "b"}}}
    stores.namespaces.apply_event("ADDED", known)
    joined: Raw = {"metadata": {**known["metadata"], "resourceVersion": "8", "labels": {"a": "b", "data": "health"}}}

    class Meanwhile(Server):
        async def patch_merge(self, _resource: object, _name: str, _namespace: None, patch: Raw) -> Raw:
            labels = {**joined["metadata"]["labels"], **patch["metadata"]["labels"]}
            return {"metadata": {**joined["metadata"], "resourceVersion": "9", "labels": labels}}

    await writer(stores, Meanwhile()).label(resources.NAMESPACES, {"team"}, "mark", "true")
    assert stores.namespaces.apply_event("MODIFIED", joined), "somebody has joined a policy, and nobody would look"


async def test_what_no_store_knows_is_not_deleted(stores: Stores) -> None:
    server = Server()
    await writer(stores, server).delete(resources.TERRITORIES, "health")
    assert server.calls == []
    await writer(stores, server).apply(territory())
    await writer(stores, server).delete(resources.TERRITORIES, "health")
    assert server.calls[-1] == ("delete", "health")


async def test_a_status_that_says_nothing_new_is_not_written(stores: Stores) -> None:
    server = Server()
    policy = {"metadata": {"name": "health", "resourceVersion": "1", "uid": "u"}, "status": {"digest": "a"}}
    assert not await writer(stores, server).status(resources.RESIDENCY_POLICIES, policy, {"digest": "a"})
    assert server.calls == []
    assert await writer(stores, server).status(resources.RESIDENCY_POLICIES, policy, {"digest": "b"})
    held = stores.policies.get(("", "health"))
    assert held
    assert held["status"] == {"digest": "b"}


async def test_a_spec_that_somebody_changed_while_we_wrote_a_status_still_comes_as_an_event(stores: Stores) -> None:
    """Otherwise the store would know it already when the event comes, and no loop would look at it."""
    read: Raw = {"metadata": {"name": "health", "uid": "u", "generation": 1, "resourceVersion": "1"}, "spec": {}}
    stores.policies.apply_event("ADDED", read)
    metadata = {**read["metadata"], "generation": 2, "resourceVersion": "8"}
    changed: Raw = {"metadata": metadata, "spec": {"mode": "Warn"}}

    class Meanwhile(Server):
        async def patch_status(self, resource: object, manifest: Raw, status: Raw) -> Raw:
            assert manifest is read
            return await super().patch_status(resource, changed, status)

    assert await writer(stores, Meanwhile()).status(resources.RESIDENCY_POLICIES, read, {"observedGeneration": 1})
    change = stores.policies.apply_event("MODIFIED", changed)
    assert change
    assert change.after
    assert change.after["spec"] == {"mode": "Warn"}
