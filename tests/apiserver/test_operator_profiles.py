"""The life of a profile on a real API server: it comes later, changes, and goes; and what runs stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.workload.sizing.profile import LABEL, Profile, write_profile
from e2e.client import eventually
from tests.apiserver.realm import ENGINE, OURS, WEIGHTS, Realm, oci
from tests.unit.workload.sizing.given import LLAMA_8B, PUBLIC, changed

if TYPE_CHECKING:
    from tests.apiserver.operator_process import OperatorProcess

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
GPU = "vendor.example/gpu"
SMALL = write_profile(Profile(config=changed(LLAMA_8B, max_position_embeddings=8192)))
LARGE = write_profile(Profile(config=PUBLIC["Llama-3-Taiwan-70B-Instruct"]))
FIGURES: dict[str, Any] = {
    "resources": [GPU], "memory": "80G", "bandwidth": "3T", "thermalDesignPower": 700, "devicesPerNode": 8,
    "engines": [{"name": "vllm", "image": ENGINE}],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _at_work(operator: OperatorProcess) -> None:
    """The operator works in every test of this module."""


@pytest.fixture
def namespace(realm: Realm) -> str:
    """A governed namespace, with a node of eight devices inside."""
    realm.create({"apiVersion": OURS, "kind": "AcceleratorClass", "metadata": {"name": "gpu"}, "spec": FIGURES})
    node = realm.node(FRANKFURT)
    size = {"cpu": "8", "memory": "32Gi", "pods": "110", GPU: "8"}
    realm.client.patch("v1", "Node", node, {"status": {"capacity": size, "allocatable": size}}, subresource="status")
    policy = realm.policy("DE")
    policy.in_force().holds(node)
    name = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(name), what="the namespace is marked")
    return name


def serve(realm: Realm, namespace: str, **spec: Any) -> None:
    """A model that names profile ``shape``."""
    whole = {"name": "tiny", "source": oci(), "profile": {"configMap": "shape"}}
    realm.model(namespace, model=whole, **{"accelerators": {"classes": ["gpu"]}, **spec})


def write(realm: Realm, namespace: str, text: str, name: str = "shape", **labels: str) -> None:
    """ConfigMap ``shape``, or of another name, with a profile."""
    metadata = {"name": name, "namespace": namespace, "labels": labels or {LABEL: "true"}}
    realm.client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"profile.json": text}})


def devices(realm: Realm, namespace: str) -> str:
    """What a replica asks for; empty without a Deployment."""
    deployment = realm.children(namespace).get("Deployment")
    if deployment is None:
        return ""
    (engine,) = deployment["spec"]["template"]["spec"]["containers"]
    asked: str = engine["resources"]["limits"][GPU]
    return asked


def said(realm: Realm, namespace: str) -> str:
    """Why it is planned like this, or not."""
    message: str = realm.condition("SovereignModel", "Planned", "chat", namespace)["message"]
    return message


def test_a_model_waits_for_its_profile_and_is_sized_as_soon_as_it_comes(realm: Realm, namespace: str) -> None:
    serve(realm, namespace)
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "MissingProfile"), what="the status says so")
    assert "bailiwick.dev/profile" in said(realm, namespace)
    assert realm.children(namespace) == {}
    write(realm, namespace, LARGE, other="true")
    write(realm, namespace, LARGE, **{LABEL: "true"})
    realm.served(namespace)
    assert devices(realm, namespace) == "4"
    told = realm.status(namespace)["plan"]
    assert (told["devicesPerReplica"], told["tensor"], told["pipeline"], told["nodesPerReplica"]) == (4, 4, 1, 1)
    assert told["weightBytes"] > 140e9
    assert told["longestLength"] == 8192
    assert "the first in order of preference that fits" in told["why"]


def test_another_profile_is_another_plan_and_none_is_not(realm: Realm, namespace: str) -> None:
    write(realm, namespace, LARGE)
    serve(realm, namespace)
    realm.served(namespace)
    assert devices(realm, namespace) == "4"
    write(realm, namespace, "{}")
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "MalformedProfile"), what="the status says so")
    assert devices(realm, namespace) == "4", "what runs is left"
    write(realm, namespace, SMALL)
    eventually(lambda: devices(realm, namespace) == "1", what="it is sized anew")
    before = realm.children(namespace)["Deployment"]["metadata"]["generation"]
    realm.client.delete("v1", "ConfigMap", "shape", namespace)
    eventually(lambda: "has no ConfigMap shape" in said(realm, namespace), what="the status says what is missing")
    assert realm.stated("Planned", namespace) == ("True", "Planned")
    assert realm.children(namespace)["Deployment"]["metadata"]["generation"] == before


def test_neither_a_catalogue_nor_another_operator_moves_what_runs(
    realm: Realm, namespace: str, operator: OperatorProcess
) -> None:
    write(realm, namespace, LARGE)
    serve(realm, namespace)
    realm.served(namespace)
    deployment = realm.children(namespace)["Deployment"]
    realm.client.patch(OURS, "AcceleratorClass", "gpu", {"spec": {"memory": "40G"}})
    realm.client.patch(OURS, "SovereignModel", "chat", {"metadata": {"labels": {"look": "again"}}}, namespace)
    before = realm.client.get("apps/v1", "Deployment", "chat", namespace)["metadata"]["resourceVersion"]
    # Scaling is no reason to plan anew, and shows that the loop has seen the class as it is now.
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"replicas": 2}}, namespace)
    eventually(
        lambda: realm.children(namespace)["Deployment"]["spec"]["replicas"] == 2, what="the replicas are as asked"
    )
    now = realm.children(namespace)["Deployment"]
    assert now["metadata"]["resourceVersion"] != before
    assert now["spec"]["template"] == deployment["spec"]["template"]
    # Asked anew, the smaller devices count.
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"context": {"maxLength": 4096}}}, namespace)
    eventually(lambda: devices(realm, namespace) == "8", what="it is planned with what is there now")


def test_devices_that_are_too_few_are_refused_with_the_figures(realm: Realm, namespace: str) -> None:
    write(realm, namespace, LARGE)
    serve(realm, namespace, accelerators={"classes": ["gpu"], "perReplica": 1})
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "DoesNotFit"), what="the status refuses")
    assert "does not fit one device of accelerator class gpu (73600000000 usable bytes each)" in said(realm, namespace)


def test_one_of_several_variants_is_served_and_stays(realm: Realm, namespace: str) -> None:
    """When the profiles of all are there, it is chosen; a lighter one that comes later is a change of the spec."""
    narrow = write_profile(
        Profile(config=changed(PUBLIC["Llama-3-Taiwan-70B-Instruct"], quantization_config={"quant_method": "fp8"}))
    )
    other = f"registry.example/narrow@sha256:{'1' * 64}"
    variants = [
        {"name": "bf16", "quality": "0.82", "source": oci(), "profile": {"configMap": "shape"}},
        {"name": "fp8", "quality": "0.8", "source": oci(other), "profile": {"configMap": "narrow"}},
    ]
    write(realm, namespace, LARGE)
    realm.model(namespace, model={"name": "tiny", "variants": variants}, accelerators={"classes": ["gpu"]})
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "MissingProfile"), what="both are needed")
    assert "spec.model.variants[fp8].profile" in said(realm, namespace)
    write(realm, namespace, narrow, "narrow")
    eventually(lambda: devices(realm, namespace) == "4", what="the first that fits is served")
    assert WEIGHTS in str(realm.children(namespace)["Deployment"])
    eventually(lambda: "with variant bf16" in said(realm, namespace), what="the status tells the variant")
    realm.client.delete("v1", "ConfigMap", "narrow", namespace)
    eventually(lambda: "no ConfigMap narrow" in said(realm, namespace), what="the loss is told")
    assert realm.stated("Planned", namespace) == ("True", "Planned")
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"objective": "Energy"}}, namespace)
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "MissingProfile"), what="it is planned anew")
    assert devices(realm, namespace) == "4"
    write(realm, namespace, narrow, "narrow")
    eventually(lambda: devices(realm, namespace) == "2", what="the cheaper one is served")
    children = str(realm.children(namespace)["Deployment"])
    assert other in children
    assert WEIGHTS not in children
