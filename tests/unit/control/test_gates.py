"""Gates end at once and altogether: a step that fails holds up no other."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.cluster.errors import Transient
from bailiwick.control.gates import Gates
from bailiwick.control.stores import MODEL_LABEL, Stores
from bailiwick.workload.external import ENDPOINT_LABEL

KEY = ("clinic", "chat")
HERE = {ENDPOINT_LABEL: "here"}


class Server:
    """Stands for API and Writer, and remembers what was removed. What ``fails`` is not."""

    def __init__(self, *fails: str) -> None:
        self.fails = fails
        self.removed: list[tuple[str, str, int | None]] = []

    async def remove(self, resource: Any, manifest: Any) -> None:
        await self.delete(resource, manifest["metadata"]["name"], uid=manifest["metadata"]["uid"])

    async def delete(self, resource: Any, name: str, *_: str, uid: str, grace_seconds: int | None = None) -> None:
        assert uid == f"uid-{name}"
        if resource.kind in self.fails:
            raise Transient(f"delete {name}", status=500, reason="InternalError", message="not now")
        self.removed.append((resource.kind, name, grace_seconds))


def put(stores: Stores, store: str, kind: str, name: str, labels: dict[str, str], **metadata: Any) -> None:
    known = {MODEL_LABEL: "chat", "app.kubernetes.io/managed-by": "bailiwick", "app.kubernetes.io/name": "external"}
    getattr(stores, store).apply_event(
        "ADDED",
        {
            "kind": kind,
            "metadata": {
                "name": name, "namespace": "clinic", "uid": f"uid-{name}", "resourceVersion": "1",
                "labels": {**known, **labels}, **metadata,
            },
            "spec": {},
            "status": {"phase": "Running"},
        },
    )  # fmt: skip


@pytest.fixture
def stores() -> Stores:
    """A model with a gate."""
    found = Stores()
    put(found, "network_policies", "NetworkPolicy", "chat", {})
    put(found, "network_policies", "NetworkPolicy", "chat.endpoint", HERE)
    put(found, "deployments", "Deployment", "chat", HERE)
    put(found, "pods", "Pod", "chat-1", HERE)
    return found


def gates(stores: Stores, server: Server) -> Gates:
    return Gates(stores=stores, api=server, writer=server)  # type: ignore[arg-type]


async def test_gates_that_lead_where_they_should_are_left_alone(stores: Stores) -> None:
    server = Server()
    await gates(stores, server).end(KEY, HERE)
    assert server.removed == []


@pytest.mark.parametrize("planned", [{}, {ENDPOINT_LABEL: "there"}])
async def test_the_way_is_shut_first_and_pods_get_a_second(stores: Stores, planned: dict[str, str]) -> None:
    server = Server()
    await gates(stores, server).end(KEY, planned)
    assert server.removed == [
        ("NetworkPolicy", "chat.endpoint", None), ("Deployment", "chat", None), ("Pod", "chat-1", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("fails", ["NetworkPolicy", "Deployment", "Pod"])
async def test_what_can_be_ended_is_ended_though_something_fails(stores: Stores, fails: str) -> None:
    server = Server(fails)
    with pytest.raises(Transient):
        await gates(stores, server).end(KEY, {})
    assert [kind for kind, _, _ in server.removed] == [
        kind for kind in ("NetworkPolicy", "Deployment", "Pod") if kind != fails
    ]


async def test_a_gate_that_ends_in_its_own_time_is_hurried(stores: Stores) -> None:
    server = Server()
    for name, seconds in (("slow", 85), ("soon", 1)):
        put(
            stores, "pods", "Pod", name, HERE, deletionTimestamp="2026-11-21T00:00:00Z",
            deletionGracePeriodSeconds=seconds,
        )  # fmt: skip
    await gates(stores, server).end(KEY, {})
    assert [name for kind, name, _ in server.removed if kind == "Pod"] == ["chat-1", "slow"]


async def test_gates_of_other_models_go_on(stores: Stores) -> None:
    server = Server()
    await gates(stores, server).end(("clinic", "other"), {})
    await gates(stores, server).end(("bank", "chat"), {})
    assert server.removed == []
