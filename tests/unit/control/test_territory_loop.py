"""What the loop of territories writes: above all, what it leaves alone while a policy cannot be read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.territory import TerritorySpec
from bailiwick.control.territory import TerritoryLoop
from bailiwick.residency.border import NAMESPACES_BINDING
from bailiwick.residency.territories import GOVERNED_LABEL, digest_of, label_of
from tests.unit.control.ground import START

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.unit.control.ground import Ground


class Remembering:
    """A writer that remembers the specs that it was to write, and what else; what it keeps, it finds as it is told."""

    def __init__(self, fault: str | None = None) -> None:
        self.written: dict[str, Any] = {}
        self.deleted: set[str] = set()
        self.labelled: dict[str, set[str]] = {}
        self.alarms = 0
        self._fault = fault

    async def apply(self, manifest: dict[str, Any]) -> None:
        self.written[manifest["metadata"]["name"]] = manifest["spec"]

    async def apply_all(self, manifests: Iterable[dict[str, Any]], **_: object) -> None:
        for each in manifests:
            await self.apply(each)

    async def keep(self, _: object) -> str | None:
        return self._fault

    async def delete(self, _resource: object, name: str, *_: object) -> None:
        self.deleted.add(name)

    async def label(self, _resource: object, names: set[str], label: str, value: str | None) -> None:
        if names:
            self.labelled[f"{label}={value}" if value else label] = set(names)

    def repaired(self, *_: object) -> None:
        self.alarms += 1


class Refusing:
    """A writer that must not be used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the loop calls {name}")


class Telling:
    """A writer of statuses that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    async def write(self, _resource: object, _manifest: object, status: dict[str, Any]) -> None:
        self.told.append(status)


def territory_loop(ground: Ground, writer: Any, status: Any) -> TerritoryLoop:
    """Whoever writes also hears of what was taken away."""
    return TerritoryLoop(
        world=ground.world, writer=writer, status=status, proof=lambda _: None, audited=lambda _: None,
        alarm=writer, pins=lambda: True,
    )  # fmt: skip


def loop_that_does_nothing(ground: Ground) -> TerritoryLoop:
    return territory_loop(ground, Refusing(), Refusing())


def broken(**spec: Any) -> dict[str, Any]:
    """The spec of a policy that another release took."""
    here = {"matchLabels": {"data": "health"}}
    return {"namespaceSelector": here, "place": {"allow": "everything"}, **spec}


def drawn(nodes: dict[str, str], **more: Any) -> dict[str, Any]:
    """The spec of the Territory that was drawn when it could be read."""
    rest = {"digest": "", "nodeSelector": {}, "namespaceLabels": [], "schedulers": []}
    return {"policy": "broken", "nodes": nodes, **rest, **more}


async def test_the_border_of_a_policy_that_cannot_be_read_stays_as_it_is_and_its_status_says_so(ground: Ground) -> None:
    ground.statement()
    ground.node(labels={label_of("broken"): "resident"})
    ground.put("territories", "broken", spec=drawn({"n": "DE"}))
    ground.put("policies", "broken", spec=broken())
    telling, writer = Telling(), Remembering()
    loop = territory_loop(ground, writer, telling)
    assert "broken" in loop.keys()  # noqa: SIM118 - names of policies, not a map
    assert await loop.reconcile("broken") == timedelta(hours=24).total_seconds(), "then the statement ends"
    assert writer.written == {"broken": drawn({"n": "DE"})}
    assert writer.labelled == {f"{GOVERNED_LABEL}=true": {"clinic"}}
    (status,) = telling.told
    (ready,) = (each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidPolicy")
    assert "spec.place.allow" in ready["message"]


@pytest.mark.parametrize(
    ("hours", "waived"), [(2, {}), (24, {"n": "w"})], ids=["nobody vouches any more", "it was let in by a waiver"]
)
async def test_machines_leave_the_border_of_a_policy_that_cannot_be_read_and_none_enters(
    ground: Ground, hours: float, waived: dict[str, str]
) -> None:
    for node in ("n", "other", "new"):
        ground.node(node, labels={label_of("broken"): "resident"} if node != "new" else {})
        ground.statement(node, hours=hours if node == "n" else 24)
    ground.put(
        "territories", "broken", spec=drawn({"n": "DE", "other": "DE"}, **({"waived": waived} if waived else {}))
    )
    ground.put("policies", "broken", spec=broken())
    ground.now += timedelta(hours=2)
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile("broken")
    left = writer.written["broken"]
    assert left["nodes"] == {"other": "DE"}
    assert "waived" not in left
    assert left["digest"] == digest_of(TerritorySpec.model_validate(left))
    assert writer.labelled[label_of("broken")] == {"n"}


NEAR, FAR = ({"egress": [{"cidr": cidr, "ports": []}]} for cidr in ("10.20.0.0/16", "0.0.0.0/0"))
REACHED = {
    "the other one allows more": (FAR, drawn({}, network=NEAR), "Enforce", ["10.20.0.0/16"]),
    "the other one allows less": (NEAR, drawn({}, network=FAR), "Enforce", ["10.20.0.0/16"]),
    "only it closed anything": (None, drawn({}, network=NEAR), "Enforce", ["10.20.0.0/16"]),
    "it only warned": (FAR, drawn({}, network=NEAR), "Warn", ["0.0.0.0/0"]),
    "it asked nothing": (FAR, drawn({}), "Enforce", ["0.0.0.0/0"]),
    "it was never in force": (FAR, None, "Enforce", ["0.0.0.0/0"]),
    "nobody asked anything": (None, drawn({}), "Enforce", None),
}
"""What the readable policy opens, how the border of the other was drawn, its mode; and what is reached."""


@pytest.mark.parametrize("row", REACHED)
@pytest.mark.parametrize("changed", ["health", "broken"])
async def test_of_a_policy_that_cannot_be_read_counts_what_it_opened_before(
    ground: Ground, row: str, changed: str
) -> None:
    network, territory, mode, reached = REACHED[row]
    here = {"namespaceSelector": {"matchLabels": {"data": "health"}}}
    asks = {"place": {"allow": ["DE"], "assurance": "Declared"}, **({"network": network} if network else {})}
    ground.put("policies", "health", spec={**here, **asks})
    ground.put("policies", "broken", spec=broken(mode=mode))
    if territory:
        ground.put("territories", "broken", spec=territory)
    closing = {"bailiwick-closed", "bailiwick-egress"}
    for name in closing:
        ground.put("network_policies", name, namespace="clinic")
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile(changed)
    assert writer.deleted & closing == (set() if reached else closing)
    if reached:
        ways = [to for rule in writer.written["bailiwick-egress"]["egress"] for to in rule["to"]]
        assert [each["ipBlock"]["cidr"] for each in ways if "ipBlock" in each] == reached
        assert "egress" not in writer.written["bailiwick-closed"]


@pytest.mark.parametrize(
    ("selector", "marked"), [({"matchLabels": {"data": "tax"}}, set()), (None, {"new", "former"})], ids=["apart", "any"]
)
async def test_a_namespace_is_marked_that_a_policy_may_govern_which_cannot_be_read(
    ground: Ground, selector: Any, marked: set[str]
) -> None:
    ground.put("namespaces", "former", labels={GOVERNED_LABEL: "true"})
    ground.put("namespaces", "new")
    ground.put("policies", "broken", spec=broken(namespaceSelector=selector))
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile("broken")
    assert writer.labelled[f"{GOVERNED_LABEL}=true"] == {"clinic"} | marked - {"former"}
    assert writer.labelled.get(GOVERNED_LABEL, set()) == {"former"} - marked


@pytest.mark.parametrize(("with_it", "stays"), [("", False), ("gone-too", False), ("health", True)])
async def test_the_guard_of_namespaces_goes_before_the_last_territory(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, with_it: str, *, stays: bool
) -> None:
    """Without any it would refuse to write every namespace. A policy that was never in force has none."""
    monkeypatch.setattr("bailiwick.control.territory.UNBOUND_SECONDS", 0.0)
    ground.put("validating_bindings", NAMESPACES_BINDING, spec={})
    ground.put("policies", "broken", spec=broken())
    for each in ("gone", with_it):
        ground.put("territories", each, spec=drawn({}))
    writer = Remembering()
    await territory_loop(ground, writer, Telling()).reconcile("gone")
    assert (NAMESPACES_BINDING not in writer.deleted) is stays


async def test_what_was_never_written_of_a_policy_that_could_not_be_read_was_not_taken_away(ground: Ground) -> None:
    """A release that reads it again finds another border than it wants: nobody tampered with it."""
    said = {"type": "Ready", "status": "False", "reason": "InvalidPolicy", "message": "spec.mode: wrong"}
    said["lastTransitionTime"] = f"{START:%Y-%m-%dT%H:%M:%SZ}"
    policy = ground.stores.policies.get(("", "health")) or {}
    for conditions, alarms in (([said], False), ([], True)):
        status = {"observedGeneration": 1, "conditions": conditions}
        ground.put("policies", "health", spec=policy["spec"], status=status)
        writer = Remembering(fault="changed")
        await territory_loop(ground, writer, Telling()).reconcile("health")
        assert bool(writer.alarms) == alarms


async def test_a_territory_is_old_when_its_node_changed_and_not_when_another_policy_labelled_it(ground: Ground) -> None:
    """No event tells of what we wrote ourselves, so nobody would draw the Territory anew."""
    ground.statement()
    ground.node(labels={label_of("other"): "resident"})
    loop = territory_loop(ground, Remembering(), Telling())
    await loop.reconcile("health")
    policy = ground.world.policies()["health"]
    ground.node()
    assert loop.judged(policy, "n")
    ground.node(labels={"type": "virtual-kubelet"})
    assert not loop.judged(policy, "n")


async def test_a_policy_that_is_gone_is_known_by_what_it_left(ground: Ground) -> None:
    ground.node(labels={label_of("left"): "resident"})
    ground.put("territories", "drawn", spec={"nodes": {}})
    ground.put("validating_bindings", "bailiwick-pods.bound", labels={"bailiwick.dev/policy": "bound"}, spec={})
    loop = loop_that_does_nothing(ground)
    assert loop.keys() == {"health", "left", "drawn", "bound"}
