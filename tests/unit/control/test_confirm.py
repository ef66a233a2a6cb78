"""What has to agree before the audit touches a pod: nobody acts on what one watch alone has said."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster import resources, trim
from bailiwick.cluster.errors import refusal
from bailiwick.cluster.store import Store
from bailiwick.control.confirm import Witness, still_there
from bailiwick.residency.audit import read_pod
from bailiwick.residency.territories import label_of

if TYPE_CHECKING:
    from bailiwick.cluster.resources import Resource
    from bailiwick.residency.policies import CompiledPolicy

Raw = dict[str, Any]
TERRITORY: Raw = {"metadata": {"name": "health"}, "spec": {"nodes": {"berlin": "DE"}}}
NODE: Raw = {"metadata": {"name": "boston", "uid": "1", "resourceVersion": "7", "labels": {"a": "b"}}, "spec": {}}
POD: Raw = {"metadata": {"namespace": "clinic", "name": "chat", "uid": "p"}, "spec": {"nodeName": "boston"}}


class Policy:
    """As far as its confirmation counts."""

    name = "health"


class Server:
    """An API server that has these objects, by kind."""

    def __init__(self, **objects: Raw) -> None:
        self.objects = objects
        self.asked: list[str] = []

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Raw:
        self.asked.append(f"{resource.kind} {name}")
        found = self.objects.get(resource.kind)
        if found is None or found["metadata"]["name"] != name:
            raise refusal(f"get {resource.plural} {namespace or ''}/{name}", 404, b"")
        return deepcopy(found)


async def confirmed(server: Server, *known: Raw, judged: bool = True, times: int = 1) -> bool:
    """Whether node boston is confirmed to be outside, of which the stores know this."""
    nodes = Store(resources.NODES, trim=trim.node)
    nodes.replace(deepcopy(list(known)), "9")
    witness = Witness(api=server, nodes=nodes, judged=lambda *_: judged)  # type: ignore[arg-type]
    policy: CompiledPolicy = Policy()  # type: ignore[assignment]
    return all([await witness.confirms(policy, "boston") for _ in range(times)])


async def test_a_node_that_all_know_and_no_territory_lists_is_outside() -> None:
    assert await confirmed(Server(Territory=TERRITORY, Node=NODE), NODE)


async def test_a_node_that_is_gone_for_all_is_outside() -> None:
    assert await confirmed(Server(Territory=TERRITORY))


async def test_a_heartbeat_makes_no_other_node() -> None:
    later = {**NODE, "metadata": {**NODE["metadata"], "resourceVersion": "8"}, "status": {"phase": "beats"}}
    assert await confirmed(Server(Territory=TERRITORY, Node=later), NODE)


async def test_a_label_of_another_policy_makes_no_other_node() -> None:
    labelled = {**NODE, "metadata": {**NODE["metadata"], "labels": {"a": "b", label_of("other"): "resident"}}}
    assert await confirmed(Server(Territory=TERRITORY, Node=NODE), labelled)


async def test_a_node_that_the_stores_have_not_heard_of_is_not_confirmed() -> None:
    assert not await confirmed(Server(Territory=TERRITORY, Node=NODE))


async def test_a_node_that_left_and_is_still_in_the_stores_is_not_confirmed() -> None:
    assert not await confirmed(Server(Territory=TERRITORY), NODE)


@pytest.mark.parametrize("metadata", [{"uid": "2"}, {"labels": {"a": "c"}}])
async def test_a_node_that_is_another_by_now_is_not_confirmed(metadata: Raw) -> None:
    other = {**NODE, "metadata": {**NODE["metadata"], **metadata}}
    assert not await confirmed(Server(Territory=TERRITORY, Node=other), NODE)


async def test_a_node_that_the_territory_lists_is_not_confirmed() -> None:
    listed = {**TERRITORY, "spec": {"nodes": {"boston": "US"}}}
    assert not await confirmed(Server(Territory=listed, Node=NODE), NODE)


async def test_nothing_is_confirmed_without_a_territory_or_before_it_was_judged_anew() -> None:
    assert not await confirmed(Server(Node=NODE), NODE)
    assert not await confirmed(Server(Territory=TERRITORY, Node=NODE), NODE, judged=False)


async def test_many_pods_of_a_node_cost_two_calls() -> None:
    server = Server(Territory=TERRITORY, Node=NODE)
    assert await confirmed(server, NODE, times=20)
    assert server.asked == ["Territory health", "Node boston"]


@pytest.mark.parametrize(
    "live",
    [
        None,
        {**POD, "metadata": {**POD["metadata"], "uid": "q"}},
        {**POD, "spec": {"nodeName": "berlin"}},
        {**POD, "status": {"phase": "Succeeded"}},
    ],
    ids=["gone", "another of its name", "elsewhere", "finished"],
)
async def test_a_pod_that_is_not_the_one_that_was_found_is_left_alone(live: Raw | None) -> None:
    server = Server(**({"Pod": live} if live else {}))
    assert await still_there(server, read_pod(POD)) is None  # type: ignore[arg-type]
    assert await still_there(Server(Pod=POD), read_pod(POD)) == POD  # type: ignore[arg-type]
