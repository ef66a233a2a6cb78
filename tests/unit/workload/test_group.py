"""Replicas of several nodes: how many, where, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.workload.eligibility import Eligibility, Need
from bailiwick.workload.group import one_country, spread
from tests.unit.workload.given import GPU, child, gpus, model, node, plan, policy, statement

LARGE: Any = {"accelerators": {"classes": ["gpu"]}, "parallelism": {"tensor": 8, "pipeline": 2}}
EIGHT = gpus(devicesPerNode=8)
BOTH = policy(allow=["DE", "FR"])
GROUPS = ["LeaderWorkerSet"]


def made(places: dict[str, str], *, cordoned: str = "", **spec: Any) -> Any:
    """The plan for a model of two nodes per replica, on nodes of eight devices that stand in places."""
    status = spec.pop("status", None)
    nodes = [node(name, gpu="8", cordoned=name == cordoned) for name in places]
    statements = [statement(name, place) for name, place in places.items() if place]
    found = plan(
        model(status=status, **(LARGE | spec)), policies=[BOTH], classes=[EIGHT], nodes=nodes,
        statements=statements, served=GROUPS,
    )  # fmt: skip
    assert found.verdict.allowed, found.verdict
    return found


def member(found: Any, which: str = "workerTemplate") -> Any:
    """The pods of one kind in the plan's groups."""
    return child(found, "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"][which]["spec"]


def named(found: Any) -> list[str] | None:
    """The nodes that leaders name, or None when labels say it all; workers must name the same."""
    affinity = member(found).get("affinity")
    assert affinity == member(found, "leaderTemplate").get("affinity")
    if affinity is None:
        return None
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [each["matchFields"][0]["values"][0] for each in terms if "matchFields" in each]


@pytest.mark.parametrize(
    ("devices", "per_node", "expected"),
    [
        (0, None, (1, 0)), (1, None, (1, 1)), (64, None, (1, 64)), (8, 8, (1, 8)), (16, 8, (2, 8)), (12, 8, (2, 6)),
        (9, 8, (3, 3)), (11, 8, (11, 1)), (0, 8, (1, 0)),
    ],
)  # fmt: skip
def test_a_replica_takes_as_few_nodes_as_hold_it(devices: int, per_node: int | None, expected: tuple[int, int]) -> None:
    assert spread(devices, per_node) == expected


@given(devices=st.integers(0, 1024), per_node=st.integers(1, 64))
def test_nodes_hold_what_a_replica_needs_evenly(devices: int, per_node: int) -> None:
    nodes, on_each = spread(devices, per_node)
    assert nodes * on_each == devices
    assert on_each <= per_node


@pytest.mark.parametrize(
    ("places", "nodes"),
    [
        ({"a": "DE", "b": "DE"}, None),
        ({"a": "DE-BE", "b": "DE-HE"}, None),
        ({"a": "DE", "b": "DE", "c": "FR"}, ["a", "b"]),
        ({"a": "DE", "b": "FR", "c": "FR"}, ["b", "c"]),
        ({"a": "DE", "b": "FR"}, ["a"]),
        ({"a": "US"}, []),
    ],
    ids=["one country", "one country's parts", "the larger one", "whatever its name", "too few anywhere", "nowhere"],
)
def test_groups_stand_in_one_country(places: dict[str, str], nodes: list[str] | None) -> None:
    assert named(made(places)) == nodes


def test_a_node_of_which_nobody_says_where_it_stands_takes_no_member() -> None:
    need = Need(accelerator=EIGHT, serving=EIGHT.spec.engines[0], resource=GPU, devices=8, nodes=2)
    everywhere = ("a", "b", "c")
    found = Eligibility(nodes=everywhere, capable=everywhere, inside=everywhere, places={"a": "DE", "b": "DE"})
    assert one_country(found, need, ()) == ("a", "b")
    assert one_country(replace(found, places={}), need, ()) == ()
    assert one_country(replace(found, places=dict.fromkeys(everywhere, "DE")), need, ()) is None


def test_groups_stay_in_their_country_while_it_can_carry_one() -> None:
    places = {"a": "DE", "b": "DE", "c": "FR", "d": "FR", "e": "FR"}
    there = {"jurisdictions": ["DE"]}
    assert named(made(places)) == ["c", "d", "e"]
    assert named(made(places, status=there)) == ["a", "b"]
    assert named(made(places, status=there, cordoned="a")) == ["a", "b"], "a cordoned node is no reason to move"
    assert named(made({**places, "b": "FR"}, status=there)) == ["b", "c", "d", "e"]


def test_only_the_leader_has_a_gate_and_answers() -> None:
    found = made({"a": "DE", "b": "DE"})
    leader, worker = member(found, "leaderTemplate"), member(found)
    assert [each["name"] for each in leader["initContainers"]] == ["seal", "gate"]
    assert [each["name"] for each in worker["initContainers"]] == ["seal"]
    assert "readinessProbe" in leader["containers"][0]
    assert not {"startupProbe", "readinessProbe", "livenessProbe"} & worker["containers"][0].keys()
    assert "--headless" in worker["containers"][0]["args"]
    assert "--headless" not in leader["containers"][0]["args"]
    for each in (leader, worker):
        assert "--nnodes 2 --node-rank $(LWS_WORKER_INDEX)" in " ".join(each["containers"][0]["args"])
        assert each["containers"][0]["resources"]["limits"] == {"vendor.example/gpu": "8"}
    assert child(found, "Service")["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
    assert "Deployment" not in {each["kind"] for each in found.objects}
    assert (found.plan.nodes_per_replica, found.plan.devices_per_replica) == (2, 16)


def test_members_reach_their_own_group_and_the_name_service_only() -> None:
    found = made({"a": "DE", "b": "DE"}, replicas=2, status={"replicas": 3})
    around = [each for each in found.objects if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] != "chat"]
    assert [each["metadata"]["name"] for each in around] == ["chat-group-0", "chat-group-1", "chat-group-2"]
    for index, each in enumerate(around):
        chosen = each["spec"]["podSelector"]
        assert chosen["matchLabels"]["leaderworkerset.sigs.k8s.io/group-index"] == str(index)
        assert each["spec"]["ingress"] == [{"from": [{"podSelector": chosen}]}]
        assert each["spec"]["egress"][0] == {"to": [{"podSelector": chosen}]}
        assert [port["port"] for port in each["spec"]["egress"][1]["ports"]] == [53, 53]
        assert len(each["spec"]["egress"]) == 2


@pytest.mark.parametrize(
    ("spec", "name", "served", "reason", "says"),
    [
        ({}, "chat", [], "NotInstalled", "install LeaderWorkerSet"),
        (
            {"parallelism": {"tensor": 8, "data": 2}},
            "chat",
            GROUPS,
            "UnsupportedFeature",
            "devices of one node",
        ),
        ({"engine": {"name": "vllm"}}, "c" * 42, GROUPS, "InvalidModel", "has 42 characters"),
    ],
    ids=["no LeaderWorkerSet", "data parallelism", "a long name"],
)
def test_groups_that_cannot_be_made_are_refused(spec: Any, name: str, served: Any, reason: str, says: str) -> None:
    asked = model(**(LARGE | spec))
    asked = asked.model_copy(update={"metadata": asked.metadata.model_copy(update={"name": name})})
    found = plan(asked, policies=[BOTH], classes=[EIGHT], nodes=[node("a", gpu="8")], served=served)
    assert (found.verdict.reason, found.objects) == (reason, ())
    assert says in found.verdict.message
    assert "a replica takes 2 nodes with 8 devices of class gpu each" in found.verdict.message


def test_one_node_is_enough_without_devices_per_node_or_with_few_devices() -> None:
    for classes, asked in (([gpus()], LARGE), ([EIGHT], {**LARGE, "parallelism": {"tensor": 8}})):
        found = plan(model(**asked), classes=classes, nodes=[node("a", gpu="16")], served=[])
        assert child(found, "Deployment")
        assert found.plan
        assert found.plan.nodes_per_replica == 1


def test_parallelism_that_nobody_asked_for_is_pipelines_over_nodes() -> None:
    asked: Any = {"accelerators": {"classes": ["gpu"], "perReplica": 16}, "parallelism": None}
    arguments = member(made({"a": "DE", "b": "DE"}, **asked))["containers"][0]["args"]
    assert {"--tensor-parallel-size=8", "--pipeline-parallel-size=2"} <= set(arguments)


def test_data_parallelism_takes_devices_of_one_node() -> None:
    asked: Any = {"accelerators": {"classes": ["gpu"]}, "parallelism": {"tensor": 2, "data": 4, "expert": True}}
    found = plan(model(**asked), classes=[EIGHT], nodes=[node("a", gpu="8")], served=[])
    container = child(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert {"--tensor-parallel-size=2", "--data-parallel-size=4", "--enable-expert-parallel"} <= set(container["args"])
    assert container["resources"]["limits"] == {"vendor.example/gpu": "8"}
