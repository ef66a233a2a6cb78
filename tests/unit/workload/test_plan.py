"""What is refused before anything is made, and which class and nodes are chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.facts import gather_all
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_policy
from bailiwick.workload.eligibility import eligibility
from bailiwick.workload.plan import Settings, plan_workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.eligibility import Eligibility
    from bailiwick.workload.plan import WorkloadPlan

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ATLAS = Atlas(())
IMAGE = {"oci": {"image": "registry.example/tiny@sha256:" + "0" * 64}}


def model(**spec: Any) -> SovereignModel:
    whole = {"model": {"name": "tiny", "source": IMAGE}, **spec}
    return SovereignModel.read({"metadata": {"name": "chat", "namespace": "clinic", "uid": "u"}, "spec": whole})


def accelerator(name: str = "cpu", **spec: Any) -> AcceleratorClass:
    whole = {"engines": [{"name": "vllm", "image": f"registry.example/{name}"}], **spec}
    return AcceleratorClass.read({"metadata": {"name": name}, "spec": whole})


def policy(**place: Any) -> CompiledPolicy:
    spec = {"namespaceSelector": {}, "place": {"allow": ["DE"], "assurance": "Declared", **place}}
    return compile_policy(ResidencyPolicy.read({"metadata": {"name": "health"}, "spec": spec}), ATLAS)


def node(name: str, *, ready: bool = True, cordoned: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": more.get("labels", {})},
        "spec": {"unschedulable": cordoned},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "allocatable": more.get("allocatable", {}),
        },
    }


def statement(name: str, place: str = "DE", *, until: timedelta = timedelta(days=1)) -> NodeStatement:
    return NodeStatement.read(
        {
            "metadata": {"name": f"about-{name}"},
            "spec": {
                "node": {"name": name},
                "place": {"jurisdiction": place},
                "issuedAt": f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
                "expiresAt": f"{NOW + until:%Y-%m-%dT%H:%M:%SZ}",
            },
        }
    )


def plan(
    of: SovereignModel,
    *,
    policies: Sequence[CompiledPolicy] | None = None,
    classes: Sequence[AcceleratorClass] | None = None,
    nodes: Sequence[Any] = (),
    statements: Sequence[NodeStatement] = (),
    **settings: Any,
) -> WorkloadPlan:
    facts = gather_all([read_node(each) for each in nodes], statements, NOW)
    return plan_workload(
        of,
        policies=[policy()] if policies is None else policies,
        classes={each.metadata.name: each for each in ([accelerator()] if classes is None else classes)},
        eligible=lambda model, policies, need: eligibility(
            policies, model.spec.residency, need, facts, atlas=ATLAS, now=NOW
        ),
        settings=Settings(gate_image="gate", **settings),
    )


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        (
            {"model": {"name": "a", "source": {"s3": {"endpoint": "https://s3.example", "bucket": "models"}}}},
            "UnsupportedSource", "copy the files into a PersistentVolumeClaim or an OCI image",
        ),
        (
            {"model": {"name": "a", "source": {"huggingFace": {"repository": "a/b", "revision": "0" * 40}}}},
            "UnsupportedSource", "copy the files into a PersistentVolumeClaim or an OCI image",
        ),
        (
            {"adapters": [{"name": "x", "source": {"s3": {"endpoint": "https://s3.example", "bucket": "models"}}}]},
            "UnsupportedSource", "copy the files into a PersistentVolumeClaim or an OCI image",
        ),
        ({"engine": {"name": "llama.cpp"}}, "UnsupportedEngine", "set spec.engine.name to: vllm"),
        ({"parallelism": {"data": 2}}, "UnsupportedFeature", "raise spec.replicas"),
        ({"serving": {"authentication": {"apiKeysSecret": "keys"}}}, "UnsupportedFeature", "authentication is not"),
        ({"serving": {"tls": {"secret": "tls"}}}, "UnsupportedFeature", "serving.tls is not"),
        ({"serving": {"gateway": {"name": "edge"}}}, "UnsupportedFeature", "serving.gateway is not"),
        ({"accelerators": {"classes": ["gpu"]}}, "NoAccelerator", "classes of this cluster: cpu"),
    ],
)  # fmt: skip
def test_what_this_release_cannot_serve_is_refused_with_a_remedy(spec: Any, reason: str, says: str) -> None:
    made = plan(model(**spec))
    assert (made.verdict.allowed, made.verdict.reason) == (False, reason)
    assert says in made.verdict.message
    assert made.objects == ()
    assert made.policies == ("health",)


def test_a_namespace_that_nobody_governs_is_refused_unless_the_installation_says_otherwise() -> None:
    refused = plan(model(), policies=())
    assert (refused.verdict.reason, refused.objects) == ("Ungoverned", ())
    assert "clinic" in refused.verdict.message
    assert plan(model(), policies=(), serves_ungoverned=True).objects


def test_a_class_without_the_engine_is_no_candidate() -> None:
    other = accelerator("npu", engines=[{"name": "furiosa-llm", "image": "registry.example/furiosa"}])
    asked = model(accelerators={"classes": ["npu", "cpu"]})
    made = plan(asked, classes=[other, accelerator()])
    assert made.plan
    assert made.plan.accelerator_class == "cpu"
    assert plan(model(accelerators={"classes": ["npu"]}), classes=[other]).verdict.reason == "NoAccelerator"


GPU = {"vendor.example/gpu": "8"}


@pytest.mark.parametrize(
    ("nodes", "chosen"),
    [
        ([node("a", allocatable=GPU), node("b")], "gpu"),
        ([node("b")], "cpu"),
        ([], "gpu"),
    ],
    ids=["the preferred one", "the next that has a node", "the preferred one waits"],
)
def test_the_first_class_with_a_node_is_taken(nodes: Any, chosen: str) -> None:
    asked = model(accelerators={"classes": ["gpu", "cpu"]})
    classes = [accelerator("gpu", resources=["vendor.example/gpu"]), accelerator()]
    made = plan(asked, classes=classes, nodes=nodes, statements=[statement("a"), statement("b")])
    assert made.plan
    assert made.plan.accelerator_class == chosen


@pytest.mark.parametrize(
    ("spec", "devices"),
    [
        ({}, 1),
        ({"parallelism": {"tensor": 4, "pipeline": 2}}, 8),
        ({"accelerators": {"classes": ["gpu"], "perReplica": 3}}, 3),
    ],
)
def test_a_replica_asks_for_as_many_devices_as_it_needs(spec: Any, devices: int) -> None:
    asked = model(**{"accelerators": {"classes": ["gpu"]}, **spec})
    made = plan(asked, classes=[accelerator("gpu", resources=["vendor.example/gpu"])])
    (deployment,) = (each for each in made.objects if each["kind"] == "Deployment")
    (engine,) = deployment["spec"]["template"]["spec"]["containers"]
    assert engine["resources"]["limits"]["vendor.example/gpu"] == str(devices)


def test_the_border_around_a_pod_is_made_before_the_pod() -> None:
    kinds = [each["kind"] for each in plan(model()).objects]
    assert kinds[0] == "NetworkPolicy"
    assert kinds[-1] == "Deployment"


EIGHT_GPUS: dict[str, Any] = {"labels": {"gpu": "yes"}, "allocatable": {"vendor.example/gpu": "8"}}


def judged(
    nodes: Sequence[Any], statements: Sequence[NodeStatement], on: AcceleratorClass | None = None, **place: Any
) -> Eligibility:
    accelerators = [on or accelerator()]
    asked = model(accelerators={"classes": [accelerators[0].metadata.name]})
    return plan(asked, policies=[policy(**place)], classes=accelerators, nodes=nodes, statements=statements).eligibility


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (node("n", ready=False, **EIGHT_GPUS), "NotReady"),
        (node("n", cordoned=True, **EIGHT_GPUS), "Cordoned"),
        (node("n"), "NoAccelerator"),
        (node("n", labels={"gpu": "yes"}, allocatable={"vendor.example/gpu": "0"}), "NoAccelerator"),
    ],
)
def test_a_node_inside_that_cannot_carry_the_model_says_why(raw: Any, reason: str) -> None:
    gpu = accelerator("gpu", resources=["vendor.example/gpu"], nodeSelector={"matchLabels": {"gpu": "yes"}})
    found = judged([raw], [statement("n")], gpu)
    assert found.nodes == ()
    assert [(each.reason, each.count, each.examples) for each in found.ineligible] == [(reason, 1, ("n",))]


def test_residency_is_told_before_anything_that_hardware_could_mend() -> None:
    found = judged([node("n", ready=False)], [statement("n", "US")])
    assert [each.reason for each in found.ineligible] == ["WrongPlace"]


def test_an_answer_says_until_when_it_holds() -> None:
    soon = statement("a", until=timedelta(hours=2))
    assert judged([node("a")], [soon]).until == NOW + timedelta(hours=2)
    assert judged([node("a")], [soon], maxAge="25h").until == NOW + timedelta(hours=1)
    assert judged([node("a")], []).until is None


def test_a_model_can_only_tighten() -> None:
    wide = model(residency={"place": {"allow": ["DE", "FR", "US"], "assurance": "Declared"}})
    made = plan(wide, nodes=[node("a"), node("b")], statements=[statement("a"), statement("b", "FR")])
    assert made.eligibility.nodes == ("a",)
