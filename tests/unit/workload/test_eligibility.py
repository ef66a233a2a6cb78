"""Which nodes could take a replica, and what is said of the others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workload.given import GPU, NOW, accelerator, gpus, judged, model, node, plan, policy, statement

if TYPE_CHECKING:
    from bailiwick.workload.eligibility import Eligibility

TAINT = {"key": "vendor.example/gpu", "value": "yes", "effect": "NoSchedule"}
PREFERRED = {**TAINT, "effect": "PreferNoSchedule"}
DOWN = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("raw", "reason", "says"),
    [
        (node(gpu="8", ready=False), "NotReady", "mend the node"),
        (node(gpu="8", ready=False, taints=[DOWN]), "NotReady", "mend the node"),
        (node(gpu="8", cordoned=True), "Cordoned", "uncordon it"),
        (node(), "NoAccelerator", f"has no {GPU} and a replica needs 2 (class gpu)"),
        (node(gpu="1"), "NoAccelerator", f"has 1 {GPU} and a replica needs 2 (class gpu)"),
        (node(gpu="0"), "NoAccelerator", "all out of order; see its device plug-in"),
        (node(gpu="8", labels={"gpu": "no"}), "NoAccelerator", "lacks the labels of accelerator class gpu"),
        (node(gpu="8", memory="32Gi"), "TooSmall", "has 32Gi memory in all and a replica asks for 64Gi"),
        (node(gpu="8", cpu="3900m"), "TooSmall", "has 3900m cpu in all and a replica asks for 4"),
        (node(gpu="8", taints=[TAINT]), "Tainted", "vendor.example/gpu=yes:NoSchedule, which accelerator class gpu"),
        (node(gpu="8", taints=[PREFERRED], memory="64Gi", cpu="4"), None, ""),
        (node(gpu="2"), None, ""),
    ],
)
def test_a_node_inside_that_cannot_take_a_replica_says_why(raw: Any, reason: str | None, says: str) -> None:
    labelled = raw | {"metadata": {"name": "n", "labels": raw["metadata"]["labels"] or {"gpu": "yes"}}}
    on = gpus(nodeSelector={"matchLabels": {"gpu": "yes"}}, offer={"requests": {"cpu": "4", "memory": "64Gi"}})
    found = judged(labelled, on=on, per_replica=2)
    assert found.nodes == (() if reason else ("n",))
    assert [(each.reason, each.count, each.examples) for each in found.ineligible] == (
        [(reason, 1, ("n",))] if reason else []
    )
    assert says in "".join(each.message for each in found.ineligible)


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "vendor.example/gpu"}, True),
        ({"key": "vendor.example/gpu", "effect": "NoSchedule"}, True),
        ({"key": "vendor.example/gpu", "operator": "Equal", "value": "yes"}, True),
        ({"key": "vendor.example/gpu", "operator": "Equal", "value": "no"}, False),
        ({"key": "vendor.example/gpu", "effect": "NoExecute"}, False),
        ({"key": "other"}, False),
    ],
)
def test_a_taint_counts_unless_the_class_tolerates_it(toleration: Any, *, tolerated: bool) -> None:
    found = judged(node(gpu="1", taints=[TAINT]), on=gpus(tolerations=[toleration]))
    assert bool(found.nodes) is tolerated


def test_residency_is_told_before_anything_that_hardware_could_mend() -> None:
    found = judged(node(ready=False), on=gpus(), statements=[statement(place="US")])
    assert [each.reason for each in found.ineligible] == ["WrongPlace"]


def test_nodes_are_counted_by_reason_with_the_first_ones_refusal() -> None:
    names = [f"n{number}" for number in (7, 3, 5, 1, 6, 2, 4)]
    abroad = [statement(name, "US") for name in names] + [statement("m", "DE")]
    found = judged(*(node(name) for name in names), node("m", cordoned=True), statements=abroad)
    first, second = found.ineligible
    assert (first.reason, first.count, first.examples) == ("WrongPlace", 7, ("n1", "n2", "n3", "n4", "n5"))
    assert "node n1 stands in US" in first.message
    assert (second.reason, second.count) == ("Cordoned", 1)


def test_an_answer_says_until_when_it_holds() -> None:
    soon = [statement(until=timedelta(hours=2))]
    assert judged(node(), statements=soon).until == NOW + timedelta(hours=2)
    young = [policy(maxAge="25h")]
    assert judged(node(), statements=soon, policies=young).until == NOW + timedelta(hours=1)
    assert judged(node(), statements=[]).until is None


FROM_KOREA = {"brand": {"jurisdictions": ["KR"], "source": "a datasheet", "confidence": "Documented"}}


@pytest.mark.parametrize(
    ("provenance", "said", "reason"),
    [
        (FROM_KOREA, ["KR"], None),
        (FROM_KOREA, ["KR", "US"], "StatementsDisagree"),
        ({}, ["KR"], None),
        (FROM_KOREA, None, None),
        ({}, None, "OriginUnknown"),
    ],
    ids=["both say so", "the statement says more", "the class is silent", "the class speaks alone", "nobody speaks"],
)
def test_a_node_is_judged_together_with_its_devices(provenance: Any, said: Any, reason: str | None) -> None:
    """Its territory is compiled from the same facts, so what could run a model there carries the label."""
    korean = policy(spec={"origin": {"brand": {"allow": ["KR"]}}})
    about = statement(origin={"brand": said}) if said else statement()
    found = judged(node(gpu="1"), on=gpus(provenance=provenance), statements=[about], policies=[korean])
    assert [each.reason for each in found.ineligible] == ([reason] if reason else [])


def test_a_models_own_residency_judges_the_origin_of_the_devices() -> None:
    asked = model(accelerators={"classes": ["gpu"]}, residency={"origin": {"brand": {"allow": ["KR"]}}})
    assert plan(asked, classes=[gpus(provenance=FROM_KOREA)], nodes=[node(gpu="1")]).eligibility.nodes == ("n",)
    unknown = plan(asked, classes=[gpus()], nodes=[node(gpu="1")]).eligibility
    assert [each.reason for each in unknown.ineligible] == ["OriginUnknown"]


PLACES = st.sampled_from(["DE", "FR", "US"])
NODES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(PLACES, st.booleans(), st.booleans(), st.sampled_from(["", "0", "1", "8"])),
    min_size=1,
)
ALLOWED = st.lists(PLACES, unique=True)


def circles(nodes: Any, allowed: Any, residency: Any) -> Eligibility:
    raws = [
        node(name, ready=ready, cordoned=cordoned, **({"gpu": count} if count else {}))
        for name, (_, ready, cordoned, count) in nodes.items()
    ]
    asked = model(accelerators={"classes": ["gpu"], "perReplica": 2}, **({"residency": residency} if residency else {}))
    spoken = [statement(name, place) for name, (place, *_) in nodes.items()]
    policies = [policy(allow=allowed)]
    return plan(asked, classes=[gpus(), accelerator()], nodes=raws, statements=spoken, policies=policies).eligibility


@given(nodes=NODES, allowed=ALLOWED, own=ALLOWED)
def test_a_models_own_residency_never_adds_a_node(nodes: Any, allowed: Any, own: Any) -> None:
    without = circles(nodes, allowed, None)
    tight = circles(nodes, allowed, {"place": {"allow": own, "assurance": "Declared"}})
    assert set(tight.nodes) <= set(without.nodes)
    assert set(tight.inside) <= set(without.inside)
    assert all(nodes[name][0] in own for name in tight.inside)


@given(nodes=NODES, allowed=ALLOWED)
def test_every_node_is_counted_once_and_the_circles_widen(nodes: Any, allowed: Any) -> None:
    found = circles(nodes, allowed, None)
    assert set(found.nodes) <= set(found.capable) <= set(found.inside) <= set(nodes)
    assert len(found.nodes) + sum(each.count for each in found.ineligible) == len(nodes)
    assert len({each.reason for each in found.ineligible}) == len(found.ineligible)
