"""What is refused before anything is made, and which class and nodes are chosen."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.workload.plan import MOST_NAMED_NODES
from tests.unit.workload.given import (
    GPU,
    IMAGE,
    accelerator,
    child,
    engine,
    gpus,
    model,
    node,
    plan,
    pod,
    policy,
    statement,
)

S3 = {"s3": {"endpoint": "https://s3.example", "bucket": "models"}}
HUB = {"huggingFace": {"repository": "a/b", "revision": "0" * 40}}


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"model": {"name": "a", "source": S3}}, "UnsupportedSource", "spec.model.source.s3 needs an import"),
        ({"model": {"name": "a", "source": HUB}}, "UnsupportedSource", "in spec.model.source.huggingFace.into"),
        ({"adapters": [{"name": "x", "source": S3}]}, "UnsupportedSource", "spec.adapters[x].source.s3 needs an"),
        ({"engine": {"name": "llama.cpp"}}, "NoAccelerator", "engine llama.cpp is served by none of the accelerator"),
        ({"engine": {"arguments": ["--threads", "4"]}}, "ForbiddenArgument", "is an option of another engine"),
        ({"model": {"name": "a", "source": IMAGE, "file": "a.gguf"}}, "InvalidModel", "vLLM reads its folder"),
        ({"engine": {"arguments": ["evil/model"]}}, "ForbiddenArgument", "'evil/model' in spec.engine.arguments is a"),
        ({"engine": {"arguments": ["--seed", "1", "2"]}}, "ForbiddenArgument", "'2' in spec.engine.arguments is a"),
        ({"accelerators": {"classes": ["gpu"]}}, "NoAccelerator", "classes of this cluster: cpu"),
        (
            {"accelerators": {"perReplica": 3}, "parallelism": {"tensor": 2}}, "InvalidModel",
            "perReplica is 3, but spec.parallelism spreads a replica over 2 devices",
        ),
        ({"residency": {"place": {"allow": ["DACH"]}}}, "UnknownJurisdiction", "spec.residency of the model: "),
        ({"residency": {"place": {"allow": ["DE"], "deny": ["ATLANTIS"]}}}, "UnknownJurisdiction", "ATLANTIS"),
    ],
)  # fmt: skip
def test_what_this_release_cannot_serve_is_refused_with_a_remedy(spec: Any, reason: str, says: str) -> None:
    made = plan(model(**spec))
    assert (made.verdict.allowed, made.verdict.reason) == (False, reason)
    assert says in made.verdict.message
    assert ";" in made.verdict.message, "a remedy follows"
    assert made.objects == ()
    assert made.plan is None
    assert made.policies == ("health",)


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        (
            {"arguments": ["--trust-remote-code"]},
            "argument --trust-remote-code of engine vllm in accelerator class cpu",
        ),
        ({"environment": [{"name": "HF_HUB_OFFLINE", "value": "0"}]}, "variable HF_HUB_OFFLINE of engine vllm in"),
        ({"environment": [{"name": "HF_TOKEN", "value": "secret"}]}, "variable HF_TOKEN of engine vllm in"),
        ({"environment": [{"name": "VLLM_SERVER_DEV_MODE", "value": "1"}]}, "variable VLLM_SERVER_DEV_MODE of"),
    ],
)
def test_a_class_that_would_open_the_engine_is_refused_with_its_name(offer: Any, says: str) -> None:
    made = plan(model(), classes=[accelerator(offer=offer)])
    assert (made.verdict.reason, made.objects) == ("ForbiddenArgument", ())
    assert says in made.verdict.message


def test_a_namespace_that_nobody_governs_is_refused_unless_the_installation_says_otherwise() -> None:
    refused = plan(model(), policies=())
    assert (refused.verdict.reason, refused.objects) == ("Ungoverned", ())
    assert "clinic" in refused.verdict.message
    free = plan(model(), policies=(), serves_ungoverned=True)
    assert free.verdict.allowed
    assert pod(free)["nodeSelector"] == {}


def test_no_eligible_node_is_no_refusal() -> None:
    made = plan(model(), nodes=[node()], statements=[statement(place="US")])
    assert made.verdict.allowed
    assert made.objects
    assert made.eligibility.nodes == ()
    assert [each.reason for each in made.eligibility.ineligible] == ["WrongPlace"]


# Which class


def test_a_class_without_the_engine_is_no_candidate() -> None:
    other = accelerator("npu", engines=[{"name": "furiosa-llm", "image": "registry.example/furiosa"}])
    made = plan(model(accelerators={"classes": ["npu", "cpu"]}), classes=[other, accelerator()])
    assert made.plan
    assert made.plan.accelerator_class == "cpu"
    assert plan(model(accelerators={"classes": ["npu"]}), classes=[other]).verdict.reason == "NoAccelerator"


PLANNED_ON_CPU = {"plan": {
    "engine": "vllm", "image": "i", "acceleratorClass": "cpu", "devicesPerReplica": 0, "nodesPerReplica": 1,
}}  # fmt: skip
PLANNED_ELSEWHERE = {"plan": {**PLANNED_ON_CPU["plan"], "acceleratorClass": "npu"}}
PLANNED_ON_GPU = {"plan": {**PLANNED_ON_CPU["plan"], "acceleratorClass": "gpu"}}


@pytest.mark.parametrize(
    ("nodes", "status", "chosen"),
    [
        ([node("a", gpu="8"), node("b")], {}, "gpu"),
        ([node("b")], {}, "cpu"),
        ([], {}, "gpu"),
        ([node("a", gpu="8", cordoned=True), node("b")], {}, "cpu"),
        ([node("a", gpu="8", cordoned=True)], {}, "gpu"),
        ([node("a", gpu="8", ready=False), node("b")], PLANNED_ON_GPU, "gpu"),
        ([node("a", gpu="0"), node("b")], PLANNED_ON_GPU, "gpu"),
        ([node("b")], PLANNED_ON_GPU, "cpu"),
        ([node("a", gpu="8"), node("b")], PLANNED_ON_CPU, "cpu"),
        ([node("a", gpu="8"), node("b")], PLANNED_ON_CPU | {"observedGeneration": 1}, "cpu"),
        ([node("a", gpu="8"), node("b")], PLANNED_ELSEWHERE, "gpu"),
    ],
    ids=[
        "the preferred one", "the next that has a node", "the preferred one waits", "a cordoned node gets nobody new",
        "a cordoned node is better than none", "a node that restarts keeps its models",
        "a device plug-in that restarts does too", "devices that are gone do not", "a better one is no reason to move",
        "nor is a change of the model", "a class that the model no longer lists is left",
    ],
)  # fmt: skip
def test_a_class_is_chosen_by_preference_and_kept(nodes: Any, status: Any, chosen: str) -> None:
    asked = model(
        generation=2,
        status={"observedGeneration": 2, **status} if status else None,
        accelerators={"classes": ["gpu", "cpu"]},
    )
    made = plan(asked, classes=[gpus(), accelerator()], nodes=nodes)
    assert made.plan
    assert made.plan.accelerator_class == chosen


def test_devices_are_asked_for_by_the_name_that_the_nodes_have() -> None:
    renamed = gpus(resources=["new.example/gpu", GPU])
    asked = model(accelerators={"classes": ["gpu"]})
    assert engine(plan(asked, classes=[renamed], nodes=[node(gpu="8")]))["resources"]["limits"] == {GPU: "1"}
    assert engine(plan(asked, classes=[renamed]))["resources"]["limits"] == {"new.example/gpu": "1"}


CLAIM = "gpu.vendor.example"


@pytest.mark.parametrize(
    ("asked", "nodes", "planned", "by"),
    [
        ({}, [node(gpu="8")], None, GPU),
        ({"resources": []}, [node(gpu="8")], None, CLAIM),
        ({"requestBy": ["Claim"]}, [node(gpu="8")], None, CLAIM),
        ({"requestBy": ["Resource", "Claim"]}, [node(gpu="8")], None, GPU),
        ({"requestBy": ["Resource", "Claim"]}, [node()], None, CLAIM),
        ({"requestBy": ["Resource", "Claim"]}, [], None, GPU),
        ({"requestBy": ["Claim", "Resource"]}, [node(gpu="8")], None, CLAIM),
        ({"requestBy": ["Resource", "Claim"]}, [node(gpu="8")], CLAIM, CLAIM),
        ({"requestBy": ["Claim", "Resource"]}, [node(gpu="8")], GPU, GPU),
        ({"requestBy": ["Claim", "Resource"]}, [node()], GPU, CLAIM),
    ],
    ids=[
        "a resource by default", "a claim where there is none", "as the class says", "a resource that nodes have",
        "a claim where no node has it", "the first where nobody knows", "a claim first", "a driver that comes later",
        "and a device plug-in", "unless the devices are gone",
    ],
)  # fmt: skip
def test_devices_are_asked_for_as_the_class_and_the_nodes_say(asked: Any, nodes: Any, planned: Any, by: str) -> None:
    status = {"plan": {**PLANNED_ON_GPU["plan"], "device": planned}} if planned else None
    offered = gpus(**{"deviceClasses": [CLAIM], **asked})
    made = plan(
        model(accelerators={"classes": ["gpu"], "perReplica": 2}, status=status), classes=[offered], nodes=nodes
    )
    assert made.plan
    assert made.plan.device == by
    container, claims = engine(made), pod(made).get("resourceClaims")
    templates = [each for each in made.objects if each["kind"] == "ResourceClaimTemplate"]
    if by == GPU:
        assert (container["resources"], claims, templates) == (
            {"requests": {GPU: "2"}, "limits": {GPU: "2"}}, None, [],
        )  # fmt: skip
        return
    assert container["resources"] == {"claims": [{"name": "devices"}]}
    (template,) = templates
    assert claims == [{"name": "devices", "resourceClaimTemplateName": template["metadata"]["name"]}]
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"] == {"deviceClassName": CLAIM, "allocationMode": "ExactCount", "count": 2}
    assert "only the scheduler knows" in made.notes[-1]


def test_a_template_of_claims_is_named_for_what_it_asks_for() -> None:
    """Its content can never change, and pods of before still need the one of before."""

    def name(devices: int, by: str = CLAIM) -> str:
        asked = model(accelerators={"classes": ["gpu"], "perReplica": devices})
        made = plan(asked, classes=[gpus(resources=[], deviceClasses=[by])])
        found: str = child(made, "ResourceClaimTemplate")["metadata"]["name"]
        return found

    assert name(2) == name(2)
    assert len({name(2), name(4), name(2, "other.example")}) == 3


@pytest.mark.parametrize(
    ("spec", "devices", "tensor", "pipeline"),
    [
        ({}, 1, None, None),
        ({"parallelism": {"tensor": 4, "pipeline": 2}}, 8, 4, 2),
        ({"accelerators": {"classes": ["gpu"], "perReplica": 3}}, 3, 3, None),
        ({"accelerators": {"classes": ["gpu"], "perReplica": 8}, "parallelism": {"tensor": 4, "pipeline": 2}}, 8, 4, 2),
        ({"accelerators": {"classes": ["gpu"], "perReplica": 0}}, 0, None, None),
    ],
)
def test_a_replica_asks_for_as_many_devices_as_it_needs_and_uses_all(
    spec: Any, devices: int, tensor: int | None, pipeline: int | None
) -> None:
    made = plan(model(**{"accelerators": {"classes": ["gpu"]}, **spec}), classes=[gpus()])
    assert made.plan
    assert made.plan.devices_per_replica == devices
    container = engine(made)
    asked = container["resources"].get("limits", {})
    assert asked == ({GPU: str(devices)} if devices else {})
    given = [each for each in container["args"] if "parallel-size" in each]
    wanted = [("tensor", tensor), ("pipeline", pipeline)]
    assert given == [f"--{kind}-parallel-size={size}" for kind, size in wanted if size]


# Which nodes, where the model has a residency of its own


def named(made: Any) -> list[str]:
    affinity = pod(made)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [value for term in affinity["nodeSelectorTerms"] for each in term["matchFields"] for value in each["values"]]


TIGHT = {"place": {"allow": ["DE"], "assurance": "Declared"}}
WIDE = policy(allow=["DE", "FR"])


def test_a_model_without_a_residency_of_its_own_names_no_nodes() -> None:
    assert "affinity" not in pod(plan(model(), nodes=[node()]))


def test_a_tighter_model_names_the_nodes_that_are_left_and_still_selects_every_policy() -> None:
    made = plan(
        model(residency=TIGHT), policies=[WIDE, policy("company", allow=["DE", "FR"])], nodes=[node("a"), node("b")],
        statements=[statement("a"), statement("b", "FR")],
    )  # fmt: skip
    assert named(made) == ["a"]
    assert set(pod(made)["nodeSelector"]) == {
        "bailiwick.dev.node-restriction.kubernetes.io/company", "bailiwick.dev.node-restriction.kubernetes.io/health",
    }  # fmt: skip


def test_a_model_can_only_tighten() -> None:
    wide = model(residency={"place": {"allow": ["DE", "FR", "US"], "assurance": "Declared"}})
    made = plan(wide, nodes=[node("a"), node("b")], statements=[statement("a"), statement("b", "FR")])
    assert made.eligibility.nodes == ("a",)
    assert named(made) == ["a"]


def test_pods_are_not_replaced_because_a_node_restarts() -> None:
    asked = model(residency=TIGHT)
    calm = plan(asked, nodes=[node("a"), node("b")])
    restless = plan(asked, nodes=[node("a", ready=False), node("b", cordoned=True)])
    assert restless.eligibility.nodes == ()
    assert child(restless, "Deployment") == child(calm, "Deployment")


def test_a_tighter_model_without_a_node_goes_nowhere() -> None:
    made = plan(model(residency=TIGHT), policies=[WIDE], nodes=[node()], statements=[statement(place="FR")])
    affinity = pod(made)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    assert [(each["key"], each["operator"]) for each in term["matchExpressions"]] == [
        ("bailiwick.dev/nowhere", "Exists"), ("bailiwick.dev/nowhere", "DoesNotExist"),
    ]  # fmt: skip


def test_a_pod_names_no_more_nodes_than_it_can_and_first_those_with_the_devices() -> None:
    many = [node(f"n{number:04}", gpu="8") if number % 2 else node(f"n{number:04}") for number in range(900)]
    made = plan(
        model(residency=TIGHT, accelerators={"classes": ["gpu"]}), classes=[gpus()], nodes=many,
    )  # fmt: skip
    found = named(made)
    assert len(found) == MOST_NAMED_NODES
    assert found == sorted(found)
    assert {f"n{number:04}" for number in range(1, 900, 2)} < set(found)


# In which order


def test_the_border_around_a_pod_is_made_before_the_pod() -> None:
    kinds = [each["kind"] for each in plan(model()).objects]
    assert kinds == ["NetworkPolicy", "ServiceAccount", "PodDisruptionBudget", "Service", "Deployment"]


@pytest.mark.parametrize("ungoverned", [False, True])
def test_beside_a_policy_that_nobody_can_read_a_model_is_not_planned(ungoverned: bool) -> None:
    """Neither by another policy alone, nor as one that nobody governs: what runs stays."""
    made = plan(model(), policies=[] if ungoverned else [policy()], unreadable=["law"], serves_ungoverned=True)
    assert (made.verdict.reason, made.objects) == ("InvalidPolicy", ())
    assert made.verdict.message.startswith("policy law cannot be read, and it may govern namespace clinic: ")
