"""What `bailiwick explain` says of a node, a pod and a model in a world that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cli.live.explain import lines
from bailiwick.cli.live.explanations import explain_model, explain_node, explain_pod
from bailiwick.cli.tables import Style
from bailiwick.control.stores import Stores
from bailiwick.control.world import World
from bailiwick.residency.rules import judge_all
from bailiwick.residency.territories import compile_territory
from bailiwick.workload.eligibility import Need
from tests.unit.residency.given import EXEMPT, FRANKFURT, NOW, VIRGINIA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.cli.live.explanations import Explanation

Raw = dict[str, Any]
LABEL = "bailiwick.dev.node-restriction.kubernetes.io/health"
PINNED = {LABEL: "resident"}
ENGINE = {"name": "vllm", "image": "i", "requests": {"cpu": "2"}}
PLAN: Raw = {
    "engine": "vllm", "image": "i", "acceleratorClass": "cpu", "devicesPerReplica": 0, "nodesPerReplica": 1,
}  # fmt: skip


def put(store: Any, *manifests: Raw) -> None:
    named = [{**each, "metadata": {"uid": "u", "resourceVersion": "1", **each["metadata"]}} for each in manifests]
    store.replace(named, "1")


def node(name: str, provider: str = "", cpu: str = "8", *, cordoned: bool = False) -> Raw:
    ready = {"type": "Ready", "status": "True"}
    return {
        "metadata": {"name": name},
        "spec": {"providerID": provider, "unschedulable": cordoned},
        "status": {"conditions": [ready], "allocatable": {"cpu": cpu}},
    }


def policy(name: str = "health", mode: str = "Enforce", allow: str = "DE") -> Raw:
    place = {"allow": [allow], "assurance": "Declared"}
    return {
        "metadata": {"name": name},
        "spec": {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": place, "mode": mode},
    }


def world(*policies: Raw, nodes: tuple[Raw, ...] = (), in_force: bool = True) -> World:
    """Frankfurt and Virginia, a governed namespace ``clinic``, a free one ``lab``, and the class ``cpu``."""
    stores = Stores()
    put(stores.nodes, node("frankfurt", FRANKFURT), node("virginia", VIRGINIA), node("attic"), *nodes)
    put(stores.policies, *policies)
    put(stores.classes, {"metadata": {"name": "cpu"}, "spec": {"engines": [ENGINE]}})
    labelled = {"metadata": {"name": "clinic", "labels": {"data": "health"}}}
    put(stores.namespaces, labelled, {"metadata": {"name": "lab"}})
    made = World(stores, clock=lambda: NOW, exempt=EXEMPT)
    if in_force:
        facts = made.facts().values()
        put(stores.territories, *(compile_territory(each, facts, NOW).manifest for each in made.policies().values()))
    return made


def pod(
    on: str | None = None, *, namespace: str = "clinic", selector: Mapping[str, str] | None = None, **more: Any
) -> Raw:
    spec = {"nodeSelector": dict(PINNED if selector is None else selector), **({"nodeName": on} if on else {})}
    return {"metadata": {"name": "chat", "namespace": namespace}, "spec": spec, **more}


def model(*, namespace: str = "clinic", plan: Raw | None = PLAN, **spec: Any) -> SovereignModel:
    status: Raw = {"observedGeneration": 1, **({"plan": plan} if plan else {})}
    source = {"oci": {"image": "registry.example/tiny:1"}}
    whole = {"model": {"name": "tiny", "source": source}, **spec}
    return SovereignModel.read({"metadata": {"name": "chat", "namespace": namespace}, "spec": whole, "status": status})


def told(explanation: Explanation) -> str:
    return "\n".join(lines(explanation, Style()))


def reasons(explanation: Explanation) -> dict[str, str]:
    return {each.where: each.verdict.reason.value for each in explanation.judged}


def test_a_node_is_told_with_who_vouches_and_what_each_policy_makes_of_it() -> None:
    known = world(policy(), policy("us-law", allow="US"))
    found = explain_node(known, "frankfurt", known.facts()["frankfurt"])
    assert found.summary == "node frankfurt is inside for health"
    assert dict(found.facts)["place"].startswith("DE, Asserted by providerID: ")
    assert dict(found.facts)["brand"].startswith("not known (OriginUnknown): nobody vouches for whose brand")
    assert reasons(found) == {"health": "Allowed", "us-law": "WrongPlace"}
    text = told(found)
    assert "inside    health" in text
    assert "    WrongPlace: node frankfurt stands in DE (Asserted by providerID" in text
    assert found.notes == ()


def test_the_reasons_are_those_of_admission() -> None:
    known = world(policy())
    found = explain_pod(known, pod())
    for each in found.judged:
        assert each.verdict == judge_all(known.governing("clinic"), known.facts()[each.where], NOW)
    assert reasons(found) == {"attic": "PlaceUnknown", "frankfurt": "Allowed", "virginia": "WrongPlace"}


@pytest.mark.parametrize(
    ("on", "allowed", "summary"),
    [
        ("frankfurt", True, "pod clinic/chat runs on node frankfurt (DE), where it may"),
        ("virginia", False, "pod clinic/chat runs on node virginia (US), where it may not: WrongPlace: "),
        ("attic", False, "pod clinic/chat runs on node attic (nobody knows where), where it may not: PlaceUnknown: "),
        ("gone", False, "pod clinic/chat is on node gone, which is not there (any more); delete the pod"),
        (None, None, "pod clinic/chat has no node yet; it may run on 1 of 3"),
    ],
)
def test_a_pod_is_told_whether_it_is_where_it_may_be(on: str | None, allowed: bool | None, summary: str) -> None:
    found = explain_pod(world(policy()), pod(on))
    assert found.summary.startswith(summary)
    assert found.allowed is allowed


def test_nodes_are_shown_by_why_they_are_outside_the_commonest_first() -> None:
    found = explain_pod(world(policy(), nodes=(node("ohio", VIRGINIA),)), pod())
    text = told(found)
    assert "MAY RUN ON (1)\nNODE        PLACE\nfrankfurt   DE\n\nNOT ON (3)\nWrongPlace 2: ohio, virginia\n" in text
    assert "PlaceUnknown 1: attic" in text


def test_all_policies_must_allow() -> None:
    assert reasons(explain_pod(world(policy(), policy("other", allow="US")), pod())) == {
        "attic": "PlaceUnknown", "frankfurt": "WrongPlace", "virginia": "WrongPlace",
    }  # fmt: skip


def test_what_a_policy_only_warns_of_is_a_doubt_and_no_refusal() -> None:
    found = explain_pod(world(policy(), policy("wish", "Warn", allow="US")), pod("frankfurt"))
    assert found.allowed is True
    assert "frankfurt, in spite of WrongPlace: node frankfurt stands in DE" in told(found)
    assert dict(found.facts)["policies"] == "health (Enforce), wish (Warn)"


def test_a_pod_that_nobody_governs_may_run_anywhere() -> None:
    found = explain_pod(world(policy()), pod("virginia", namespace="lab"))
    assert found.summary == "no policy governs namespace lab: pod lab/chat may run anywhere and runs on node virginia"
    assert found.judged == ()


UNREAD = "InvalidPolicy: policy law cannot be read by this release, so nobody knows what it asks"


def test_what_a_policy_asks_that_cannot_be_read_nobody_claims_to_know() -> None:
    broken = policy("law", mode="Hesitate")
    found = explain_pod(world(broken), pod("virginia"))
    assert found.summary.startswith("no policy that can be read governs namespace clinic: nobody knows where pod ")
    beside = world(policy(), broken)
    (node,) = (each for each in beside.facts().values() if each.name == "virginia")
    explained = (
        explain_pod(beside, pod("frankfurt")), explain_model(beside, model()), explain_node(beside, "virginia", node),
    )  # fmt: skip
    assert all(each.notes[-1] == UNREAD and each.allowed is None for each in (found, *explained))
    assert explain_pod(beside, pod("virginia", namespace="lab")).notes == (), "it does not select that namespace"


def test_a_pod_without_the_label_of_its_policy_is_called_unpinned() -> None:
    (note,) = explain_pod(world(policy()), pod("frankfurt", selector={})).notes
    assert note.startswith(f"NotPinned: policy health asks for nodeSelector {LABEL}=resident")


def test_what_else_keeps_a_pod_from_a_node_is_told_in_the_schedulers_words() -> None:
    conditions = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: insufficient cpu"}]
    waiting = pod(status={"conditions": conditions})
    assert explain_pod(world(policy()), waiting).notes == ("the scheduler says: 0/3 nodes: insufficient cpu",)


def test_a_border_that_is_not_in_force_as_it_should_be_is_told() -> None:
    known = world(policy(), in_force=False)
    (note,) = explain_pod(known, pod()).notes
    assert note.startswith("policy health has no Territory: nothing of it is in force")
    put(known.stores.territories, {"metadata": {"name": "health"}, "spec": {"nodes": {"virginia": "US"}}})
    (note,) = explain_pod(known, pod()).notes
    assert note.startswith("Territory health does not have it so yet for frankfurt, virginia; ")


def test_a_model_is_told_which_nodes_could_take_a_replica_as_it_is_planned() -> None:
    more = (node("small", FRANKFURT, cpu="1"), node("shut", FRANKFURT, cordoned=True))
    known = world(policy(), nodes=more)
    found = explain_model(known, model())
    assert found.summary == "model clinic/chat: 1 of 5 nodes could take a replica now"
    assert reasons(found) == {
        "attic": "PlaceUnknown", "frankfurt": "Allowed", "virginia": "WrongPlace", "shut": "Cordoned",
        "small": "TooSmall",
    }  # fmt: skip
    assert dict(found.facts)["plan"] == "vllm on cpu, no device"


def test_what_a_model_is_told_is_what_the_operator_counts() -> None:
    known = world(policy(), nodes=(node("small", FRANKFURT, cpu="1"),))
    (accelerator,) = known.classes().values()
    need = Need(accelerator=accelerator, serving=accelerator.spec.engines[0], resource=None, devices=0)
    counted = known.eligible(model(), known.governing("clinic"), need)
    found = explain_model(known, model())
    assert {each.where for each in found.judged if each.verdict.allowed} == set(counted.nodes)
    assert {each.reason for each in counted.ineligible} == {
        each.verdict.reason for each in found.judged if not each.verdict.allowed
    }


def test_a_device_that_the_nodes_lack_is_told() -> None:
    asked = {**PLAN, "device": "nvidia.com/gpu", "devicesPerReplica": 2}
    assert reasons(explain_model(world(policy()), model(plan=asked)))["frankfurt"] == "NoAccelerator"
    claimed = {**PLAN, "device": "gpu.nvidia.com", "devicesPerReplica": 2}
    assert reasons(explain_model(world(policy()), model(plan=claimed)))["frankfurt"] == "Allowed"


def test_the_models_own_residency_counts_besides() -> None:
    own = {"place": {"allow": ["FR"], "assurance": "Declared"}}
    found = explain_model(world(policy()), model(residency=own))
    assert reasons(found)["frankfurt"] == "WrongPlace"
    assert dict(found.facts)["residency"] == "the model's own, besides"


def test_a_model_without_a_plan_is_told_where_it_may_run_and_that_its_need_is_not_known() -> None:
    found = explain_model(world(policy()), model(plan=None))
    assert found.summary == "model clinic/chat: 1 of 3 nodes are inside"
    assert found.notes[0].startswith("the operator has not planned it yet")


def test_a_model_that_is_served_outside_is_told_by_its_endpoint() -> None:
    outside: Raw = {
        "model": {"name": "tiny", "source": {"endpoint": {"statement": "mac"}}},
        "engine": {"name": "external"},
    }
    found = explain_model(world(policy()), model(**outside))
    assert found.summary == "model clinic/chat is served outside, and nobody has stated anything of that endpoint"
    assert found.allowed is False


def test_programs_read_every_node() -> None:
    read = explain_pod(world(policy()), pod("frankfurt")).as_json()
    assert (read["version"], read["allowed"]) == (1, True)
    assert [(each["name"], each["allowed"], each["reason"]) for each in read["nodes"]] == [
        ("attic", False, "PlaceUnknown"), ("frankfurt", True, "Allowed"), ("virginia", False, "WrongPlace"),
    ]  # fmt: skip
    known = world(policy())
    assert "policies" in explain_node(known, "attic", known.facts()["attic"]).as_json()
