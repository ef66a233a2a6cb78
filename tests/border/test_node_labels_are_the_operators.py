"""Only the operator says that a node is inside (charts/bailiwick/policies/nodes.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.residency.nodes import LABEL_PREFIX
from e2e.client import ApiError
from tests.border.ground import Ground, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client, PatchType

NODES = "bailiwick-nodes"
LABEL = f"{LABEL_PREFIX}shipping"
OTHER = f"{LABEL_PREFIX}other"


@pytest.fixture(params=["lite", "admin"])
def who(request: pytest.FixtureRequest, ground: Ground) -> Client:
    client: Client = getattr(ground, request.param)
    return client


@pytest.fixture(params=["", "status"], ids=["nodes", "nodes/status"])
def url(request: pytest.FixtureRequest) -> str:
    subresource: str = request.param
    return subresource


@pytest.fixture(scope="module")
def vessel(ground: Ground) -> Iterator[str]:
    """A node that the operator has labelled."""
    name = "vessel"
    ground.node(name, {LABEL: "resident", "region": "north"})
    yield name
    ground.operator.delete("v1", "Node", name)


def relabel(who: Client, node: str, labels: dict[str, str | None], url: str, how: PatchType = "merge") -> None:
    patch = {"metadata": {"labels": labels}}
    who.patch("v1", "Node", node, patch, subresource=url, how=how, dry_run=True)


@pytest.mark.parametrize("how", ["merge", "strategic"])
@pytest.mark.parametrize(
    "labels",
    [
        {OTHER: "resident"},
        {LABEL: "foreign"},
        {LABEL: None},
        {LABEL_PREFIX + "x": ""},
        {LABEL: None, OTHER: "resident"},
    ],
    ids=["set", "change", "remove", "empty", "swap"],
)
def test_nobody_else_touches_the_labels(
    who: Client, vessel: str, url: str, labels: dict[str, str | None], how: PatchType
) -> None:
    with refused(NODES, "ProtectedLabel") as refusal:
        relabel(who, vessel, labels, url, how)
    for label in labels:
        assert label in refusal.message


def test_replacing_a_node_without_its_labels_is_refused(who: Client, vessel: str, url: str, ground: Ground) -> None:
    node = ground.admin.get("v1", "Node", vessel)
    del node["metadata"]["labels"], node["metadata"]["managedFields"]
    with refused(NODES, "ProtectedLabel"):
        who.replace(node, subresource=url, dry_run=True)


def test_server_side_apply_is_no_way_around(who: Client, vessel: str, url: str) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": vessel, "labels": {OTHER: "resident"}}}
    with refused(NODES, "ProtectedLabel"):
        who.apply(node, subresource=url, manager="bailiwick", dry_run=True)


def test_a_node_does_not_come_with_the_label(who: Client) -> None:
    """An autoscaler stamps labels on new nodes; a restored backup brings them along."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "newcomer", "labels": {LABEL: "resident"}}}
    with refused(NODES, "ProtectedLabel"):
        who.create(node, dry_run=True)
    node["metadata"] = {"name": "newcomer", "labels": {"region": "north"}}
    who.create(node, dry_run=True)


def test_other_labels_are_everybodys(who: Client, vessel: str, url: str) -> None:
    relabel(who, vessel, {"region": "south", "node-restriction.kubernetes.io/zone": "z"}, url)
    relabel(who, vessel, {"region": None}, url)


def test_the_operator_writes_them(ground: Ground, vessel: str, url: str) -> None:
    relabel(ground.operator, vessel, {OTHER: "resident", LABEL: None}, url)


def test_a_kubelet_is_stopped_before_that(ground: Ground, vessel: str, url: str) -> None:
    """By NodeRestriction. Its own region it may write as it likes, which is why nobody here reads it."""
    kubelet = ground.kubelet(vessel)
    with pytest.raises(ApiError, match=f"is not allowed to modify labels: {OTHER}"):
        relabel(kubelet, vessel, {OTHER: "resident"}, url)
    relabel(kubelet, vessel, {"topology.kubernetes.io/region": "mars"}, url)
