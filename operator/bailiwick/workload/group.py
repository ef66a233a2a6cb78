"""Replicas that one node cannot hold: how many nodes each takes, where they stand, and when there are none. Pure.

The members of a group hold one set of weights and act as one engine, so they stand in one country: otherwise every
request would cross a border.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.residency.verdict import Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bailiwick.api.sovereignmodel import Parallelism, SovereignModel
    from bailiwick.workload.eligibility import Eligibility, Need

GROUP_SET = "LeaderWorkerSet"
LONGEST_NAME = 41
"""Of a model that is served by groups. Its StatefulSets are called after it, and their names become labels of pods,
with the number of a group and a hash behind them."""
SET_LABEL = "leaderworkerset.sigs.k8s.io/name"
GROUP_LABEL = "leaderworkerset.sigs.k8s.io/group-index"
MEMBER_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"
LEADER = {MEMBER_LABEL: "0"}
"""What only a leader carries: the member that has a gate, and answers."""


def devices_of(parallelism: Parallelism) -> int:
    """Devices of one replica."""
    return parallelism.tensor * parallelism.pipeline * parallelism.data


def spread(devices: int, per_node: int | None) -> tuple[int, int]:
    """Nodes for one replica, and its devices on each: as few nodes as hold them, with as many devices on each."""
    if not devices or per_node is None or devices <= per_node:
        return 1, devices
    nodes = next(count for count in range(-(-devices // per_node), devices + 1) if devices % count == 0)
    return nodes, devices // nodes


def set_name(model: SovereignModel) -> str:
    """The LeaderWorkerSet's name. It differs from the model's, which is the Service's: its own Service has its name."""
    return f"{model.metadata.name}-group"


def refusal(model: SovereignModel, need: Need, offered: Collection[str] | None) -> Verdict | None:
    """Why no group can serve the model. ``offered`` are kinds that the cluster has; None: not known."""
    if need.nodes == 1:
        return None
    takes = (
        f"a replica takes {need.nodes} nodes with {need.devices} devices of class {need.accelerator.metadata.name} each"
    )
    fewer = "ask for no more devices than one node has (devicesPerNode of the class)"
    name = model.metadata.name
    if model.spec.engine.name is not EngineName.VLLM:
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            f"{takes}, and engine {model.spec.engine.name} serves from one node only; use vllm, or {fewer}",
        )
    if model.spec.parallelism and model.spec.parallelism.data > 1:
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            f"{takes}, and spec.parallelism.data is {model.spec.parallelism.data}; data parallelism is for the "
            f"devices of one node: raise spec.replicas instead, or {fewer}",
        )
    if offered is not None and GROUP_SET not in offered:
        return refuse(
            Reason.NOT_INSTALLED,
            f"{takes}, but the API server serves no leaderworkersets.leaderworkerset.x-k8s.io; install "
            f"LeaderWorkerSet, or {fewer}",
        )
    if len(name) > LONGEST_NAME:
        return refuse(
            Reason.INVALID_MODEL,
            f"{takes}, and the name {name} has {len(name)} characters, of which labels of its pods can take "
            f"{LONGEST_NAME}; give it a shorter name, or {fewer}",
        )
    return None


def one_country(found: Eligibility, need: Need, now_in: Collection[str]) -> tuple[str, ...] | None:
    """The nodes of the one country where the groups of a model stand; None when the inside is one country anyway.

    Stays in the country where it is (``now_in``: jurisdictions of its pods) while that can carry a group. Else the one
    with the most nodes that could take a pod now, or ever. A node of which nobody says where it stands is in none.
    """
    places = {name: country(place) for name, place in found.places.items()}
    if all(name in places for name in found.inside) and len(set(places.values())) == 1:
        return None
    chosen = _choose(found, need, places, {country(each) for each in now_in})
    return tuple(name for name in found.inside if places.get(name) == chosen) if chosen else ()


def country(jurisdiction: str) -> str:
    """``DE`` of ``DE-BY``."""
    return jurisdiction.partition("-")[0]


def _choose(found: Eligibility, need: Need, places: Mapping[str, str], now_in: Collection[str]) -> str | None:
    free = Counter(places[name] for name in found.nodes if name in places)
    able = Counter(places[name] for name in found.capable if name in places)
    candidates = sorted(
        set(places.values()),
        key=lambda each: (
            not (each in now_in and able[each] >= need.nodes),
            free[each] < need.nodes,
            -free[each],
            -able[each],
            each,
        ),
    )
    return candidates[0] if candidates else None
