"""Which keys a change puts into the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.control.canary import SETTLE_SECONDS
from bailiwick.control.offered import Offered
from bailiwick.control.queue import Priority
from bailiwick.control.routes import (
    AUDIT,
    CANARY,
    GATHER_SECONDS,
    KEEPER,
    MODEL,
    REPORT,
    SPREAD,
    SWEEP,
    TERRITORY,
    WAIVER,
    Routes,
    SpreadLoop,
)
from bailiwick.control.stores import MODEL_LABEL, Stores
from bailiwick.residency.territories import label_of
from bailiwick.workload.importing import IMPORT_LABEL

if TYPE_CHECKING:
    from collections.abc import Hashable

ALL = {(SPREAD, TERRITORY), (SPREAD, MODEL), (SPREAD, WAIVER)}


class Noted:
    """Stands for the queue, and remembers what was added."""

    def __init__(self) -> None:
        self.added: set[tuple[str, Hashable]] = set()
        self.later: set[tuple[str, Hashable]] = set()
        self.priorities: set[Priority] = set()

    def add(self, loop: str, key: Hashable, *, priority: Priority = Priority.LIVE) -> None:
        self.added.add((loop, key))
        self.priorities.add(priority)

    def add_after(self, loop: str, key: Hashable, seconds: float) -> None:
        assert seconds == (GATHER_SECONDS if loop == REPORT else SETTLE_SECONDS)
        self.later.add((loop, key))


def manifest(name: str, namespace: str = "", **labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "resourceVersion": "1", "uid": name, "labels": labels}
    return {"metadata": {**metadata, "namespace": namespace} if namespace else metadata, "spec": {}}


CHILD = manifest("chat", "clinic", **{MODEL_LABEL: "chat", "app.kubernetes.io/managed-by": "bailiwick"})
IMPORTER = manifest("chat-1", "clinic", **{IMPORT_LABEL: "chat", "app.kubernetes.io/managed-by": "bailiwick"})
BINDING = manifest("bailiwick-pods.health", **{"bailiwick.dev/policy": "health"})

ROWS: list[tuple[str, dict[str, Any], set[tuple[str, Any]]]] = [
    ("policies", manifest("health"), {(TERRITORY, "health"), (SPREAD, MODEL), (SPREAD, WAIVER), (AUDIT, SWEEP)}),
    ("territories", manifest("health"), {(TERRITORY, "health"), (AUDIT, SWEEP)}),
    ("jurisdictions", manifest("eu"), {*ALL, (AUDIT, SWEEP)}),
    ("authorities", manifest("a"), {*ALL, (AUDIT, SWEEP)}),
    ("statements", {**manifest("s"), "spec": {"node": {"name": "n"}}}, {*ALL, (AUDIT, ("", "n"))}),
    ("endpoints", manifest("nobodys"), set()),
    ("waivers", manifest("w"), ALL),
    ("approvals", manifest("a"), ALL),
    ("nodes", manifest("n"), {*ALL, (AUDIT, ("", "n"))}),
    ("namespaces", manifest("clinic"), {*ALL, (AUDIT, ("clinic", ""))}),
    ("classes", manifest("cpu"), ALL),
    ("models", manifest("chat", "clinic"), {(MODEL, ("clinic", "chat"))}),
    ("profiles", manifest("nobodys", "clinic"), set()),
    ("validating_bindings", BINDING, {(TERRITORY, "health")}),
    ("mutating_bindings", BINDING, {(TERRITORY, "health")}),
    ("validating_bindings", manifest("bailiwick-namespaces"), {(SPREAD, TERRITORY), (KEEPER, KEEPER)}),
    ("validating_policies", manifest("bailiwick-pods"), {(KEEPER, KEEPER)}),
    ("mutating_policies", manifest("bailiwick-pin"), {(KEEPER, KEEPER)}),
    ("network_policies", manifest("bailiwick-closed", "clinic"), {(SPREAD, TERRITORY)}),
    ("network_policies", manifest("bailiwick-egress", "clinic"), {(SPREAD, TERRITORY)}),
    ("webhooks", manifest("somebody-elses"), set()),
    *((name, CHILD, {(MODEL, ("clinic", "chat"))}) for name in (
        "deployments", "jobs", "services", "service_accounts", "network_policies", "budgets", "claim_templates",
        "autoscalers", "scaled_objects", "leader_worker_sets", "routes", "pools",
    )),
    ("gateways", manifest("edge", "clinic"), {(SPREAD, MODEL)}),
    ("open_reports", manifest("bailiwick", "clinic"), set()),
    ("policy_reports", manifest("bailiwick", "clinic"), set()),
    ("pods", CHILD, {(MODEL, ("clinic", "chat")), (AUDIT, ("clinic", "chat"))}),
    ("pods", IMPORTER, {(MODEL, ("clinic", "chat")), (AUDIT, ("clinic", "chat-1"))}),
    ("pods", manifest("job", "clinic"), {(AUDIT, ("clinic", "job"))}),
    ("network_policies", manifest("bailiwick-quarantine", "clinic"), {(AUDIT, ("clinic", ""))}),
]  # fmt: skip


@pytest.mark.parametrize("happens", ["ADDED", "DELETED"])
@pytest.mark.parametrize(("name", "raw", "keys"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_change_is_looked_at_by_whom_it_concerns(name: str, raw: Any, keys: Any, happens: str) -> None:
    stores, queue = Stores(), Noted()
    store = getattr(stores, name)
    if happens == "DELETED":
        store.apply_event("ADDED", raw)
    change = store.apply_event(happens, raw)
    assert change
    Routes(stores=stores, queue=queue).changed(store, [change], priority=Priority.RESYNC)  # type: ignore[arg-type]
    assert queue.added == keys
    assert queue.priorities <= {Priority.RESYNC}


@pytest.mark.parametrize(
    ("name", "raw", "keys"),
    [
        ("policies", manifest("health"), {(CANARY, "health")}),
        ("territories", manifest("health"), {(CANARY, "health")}),
        ("validating_bindings", BINDING, {(CANARY, "health")}),
        ("validating_bindings", manifest("bailiwick-namespaces"), {(SPREAD, CANARY)}),
        ("validating_policies", manifest("bailiwick-pods"), {(SPREAD, CANARY)}),
        ("validating_policies", manifest("somebody-elses"), set()),
        ("validating_bindings", manifest("somebody-elses"), set()),
        ("webhooks", manifest("bailiwick-admission"), {(SPREAD, CANARY)}),
        ("webhooks", manifest("somebody-elses"), set()),
        ("namespaces", manifest("clinic"), {(SPREAD, CANARY)}),
        ("nodes", manifest("n"), set()),
        ("pods", CHILD, set()),
        ("open_reports", manifest("bailiwick", "clinic"), {(REPORT, "clinic")}),
        ("policy_reports", manifest("bailiwick", "clinic"), {(REPORT, "clinic")}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_looked_at_a_little_later(name: str, raw: Any, keys: Any) -> None:
    stores, queue = Stores(), Noted()
    store = getattr(stores, name)
    change = store.apply_event("ADDED", raw)
    assert change
    Routes(stores=stores, queue=queue).changed(store, [change])  # type: ignore[arg-type]
    assert queue.later == keys


def test_a_child_that_moved_to_another_model_concerns_both() -> None:
    stores, queue = Stores(), Noted()
    stores.services.apply_event("ADDED", CHILD)
    moved = manifest("chat", "clinic", **{MODEL_LABEL: "other"})
    moved["metadata"]["resourceVersion"] = "2"
    change = stores.services.apply_event("MODIFIED", moved)
    assert change
    Routes(stores=stores, queue=queue).changed(stores.services, [change])  # type: ignore[arg-type]
    assert queue.added == {(MODEL, ("clinic", "chat")), (MODEL, ("clinic", "other"))}


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        ({label_of("health"): "resident", "zone": "a"}, set()),
        ({"zone": "a"}, {(TERRITORY, "health")}),
        ({label_of("health"): "forged", "zone": "a"}, {(TERRITORY, "health")}),
        ({label_of("finance"): "resident", "zone": "a"}, {(TERRITORY, "finance"), (TERRITORY, "health")}),
        ({label_of("health"): "resident", "zone": "b"}, {*ALL, (AUDIT, ("", "n"))}),
        ({"zone": "b"}, {*ALL, (AUDIT, ("", "n"))}),
    ],
    ids=["an annotation", "it is gone", "it is forged", "two at once", "another label", "both"],
)
def test_a_policy_s_label_on_a_node_concerns_that_policy_alone(labels: dict[str, str], keys: Any) -> None:
    stores, queue = Stores(), Noted()
    stores.nodes.apply_event("ADDED", manifest("n", **{label_of("health"): "resident", "zone": "a"}))
    changed = manifest("n", **labels)
    changed["metadata"] |= {"resourceVersion": "2", "annotations": {"beats": "2"}}
    change = stores.nodes.apply_event("MODIFIED", changed)
    assert change
    Routes(stores=stores, queue=queue).changed(stores.nodes, [change])  # type: ignore[arg-type]
    assert queue.added == keys


@pytest.mark.parametrize("happens", ["ADDED", "DELETED"])
def test_a_profile_concerns_the_models_that_name_it(happens: str) -> None:
    stores, queue = Stores(), Noted()
    for name, namespace, named in (("chat", "clinic", "shape"), ("other", "clinic", "else"), ("chat", "bank", "shape")):
        model = manifest(name, namespace) | {"spec": {"model": {"profile": {"configMap": named}}}}
        model["metadata"]["uid"] = f"{namespace}-{name}"
        stores.models.apply_event("ADDED", model)
    variants = [{"profile": {"configMap": named}} for named in ("else", "shape", "shape")]
    varied = manifest("varied", "clinic") | {"spec": {"model": {"variants": variants}}}
    varied["metadata"]["uid"] = "varied"
    stores.models.apply_event("ADDED", varied)
    stores.models.apply_event("ADDED", manifest("plain", "clinic"))
    if happens == "DELETED":
        stores.profiles.apply_event("ADDED", manifest("shape", "clinic"))
    change = stores.profiles.apply_event(happens, manifest("shape", "clinic"))
    assert change
    Routes(stores=stores, queue=queue).changed(stores.profiles, [change])  # type: ignore[arg-type]
    assert queue.added == {(MODEL, ("clinic", "chat")), (MODEL, ("clinic", "varied"))}


@pytest.mark.parametrize("happens", ["ADDED", "DELETED"])
def test_a_statement_about_an_endpoint_concerns_every_model_that_is_served_outside(happens: str) -> None:
    """Also those that name another one: it may dispute what that says of the same server."""
    stores, queue = Stores(), Noted()
    for name, statement in (("chat", "mac-1"), ("other", "mac-2")):
        model = manifest(name, "clinic") | {"spec": {"model": {"source": {"endpoint": {"statement": statement}}}}}
        stores.models.apply_event("ADDED", model)
    stores.models.apply_event("ADDED", manifest("plain", "clinic"))
    if happens == "DELETED":
        stores.endpoints.apply_event("ADDED", manifest("mac-1"))
    change = stores.endpoints.apply_event(happens, manifest("mac-1"))
    assert change
    Routes(stores=stores, queue=queue).changed(stores.endpoints, [change])  # type: ignore[arg-type]
    assert queue.added == {(MODEL, ("clinic", "chat")), (MODEL, ("clinic", "other"))}


def test_a_config_map_that_is_too_large_for_a_profile_takes_no_room() -> None:
    stores = Stores()
    for name, length in (("small", 1000), ("large", 70_000)):
        data = dict.fromkeys(("a", "b"), "x" * length)
        stores.profiles.apply_event("ADDED", {**manifest(name, "clinic"), "data": data})
    small, large = (stores.profiles.get(("clinic", name)) for name in ("small", "large"))
    assert small
    assert large
    assert small["data"] == {"a": "x" * 1000, "b": "x" * 1000}
    assert large["data"] == {"a": "", "b": ""}
    assert stores.profiles.size < 4000


def test_no_config_maps_but_profiles_are_asked_for() -> None:
    stores = Stores()
    assert stores.selector(stores.profiles) == "bailiwick.dev/profile=true"


def test_every_store_has_a_route() -> None:
    stores, queue = Stores(), Noted()
    routes = Routes(stores=stores, queue=queue)  # type: ignore[arg-type]
    for store in (*stores, *stores.optional):
        routes.changed(store, [])
    assert len({name for name, _, _ in ROWS}) == len((*stores, *stores.optional))


def test_what_comes_or_goes_makes_models_policies_and_reports_be_looked_at_again() -> None:
    stores, queue = Stores(), Noted()
    offered = Offered(stores=stores.optional, queue=queue)  # type: ignore[arg-type]
    assert {"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "scaledobjects"} <= set(offered.unknown())
    for served in (False, False):
        offered.tell(stores.mutating_bindings, served=served)
    assert (queue.added, offered.kinds) == (set(), frozenset())
    offered.tell(stores.mutating_bindings, served=True)
    assert queue.added == {(SPREAD, MODEL), (SPREAD, TERRITORY), (SPREAD, REPORT)}
    assert offered.kinds == {"MutatingAdmissionPolicyBinding"}


async def test_spreading_adds_every_key_behind_what_changed_by_itself() -> None:
    queue = Noted()
    spread = SpreadLoop(queue=queue, keys={TERRITORY: lambda: ["a", "b"], MODEL: list})  # type: ignore[arg-type]
    assert await spread.reconcile(TERRITORY) == 300
    assert queue.added == {(TERRITORY, "a"), (TERRITORY, "b")}
    assert queue.priorities == {Priority.RESYNC}
