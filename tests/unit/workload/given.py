"""Short ways to say what is given: models, classes, policies, nodes and statements; and to look into what comes out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.facts import gather_all
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_policy
from bailiwick.residency.provenance import with_provenance
from bailiwick.workload.eligibility import eligibility
from bailiwick.workload.plan import Settings, plan_workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.authority import Authority
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.eligibility import Eligibility
    from bailiwick.workload.plan import WorkloadPlan

Raw = dict[str, Any]

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ATLAS = Atlas(())
DIGEST = "sha256:" + "0" * 64
IMAGE: Raw = {"oci": {"image": f"registry.example/tiny@{DIGEST}"}}
GPU = "vendor.example/gpu"


def model(*, generation: int = 1, status: Raw | None = None, **spec: Any) -> SovereignModel:
    """``clinic/chat``, as ``spec`` says in YAML's words."""
    metadata = {"name": "chat", "namespace": "clinic", "uid": "u", "generation": generation}
    whole = {"model": {"name": "tiny", "source": IMAGE}, **spec}
    return SovereignModel.read({"metadata": metadata, "spec": whole} | ({"status": status} if status else {}))


def accelerator(name: str = "cpu", *, offer: Raw | None = None, **spec: Any) -> AcceleratorClass:
    """A class that offers vLLM; ``offer`` says more of that."""
    engine = {"name": "vllm", "image": f"registry.example/{name}"} | (offer or {})
    return AcceleratorClass.read({"metadata": {"name": name}, "spec": {"engines": [engine], **spec}})


def gpus(name: str = "gpu", **more: Any) -> AcceleratorClass:
    """A class of devices."""
    return accelerator(name, **{"resources": [GPU], **more})


def policy(name: str = "health", *, spec: Raw | None = None, **place: Any) -> CompiledPolicy:
    """Germany is inside, and Declared is enough, unless ``place`` says otherwise."""
    whole = {"namespaceSelector": {}, "place": {"allow": ["DE"], "assurance": "Declared", **place}} | (spec or {})
    return compile_policy(ResidencyPolicy.read({"metadata": {"name": name}, "spec": whole}), ATLAS)


def node(
    name: str = "n",
    *,
    ready: bool = True,
    cordoned: bool = False,
    labels: Raw | None = None,
    taints: Any = (),
    **has: str,
) -> Raw:
    """A node; ``has`` are its allocatable resources, ``gpu`` for the device."""
    allocatable = {GPU if resource == "gpu" else resource: amount for resource, amount in has.items()}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"unschedulable": cordoned, "taints": list(taints)},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}], "allocatable": allocatable},
    }


def statement(
    name: str = "n", place: str = "DE", *, until: timedelta = timedelta(days=1), **more: Any
) -> NodeStatement:
    """Where a node stands, since yesterday."""
    spec = {
        "node": {"name": name},
        "place": {"jurisdiction": place},
        "issuedAt": f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{NOW + until:%Y-%m-%dT%H:%M:%SZ}",
        **more,
    }
    return NodeStatement.read({"metadata": {"name": f"about-{name}"}, "spec": spec})


def plan(
    of: SovereignModel,
    *,
    policies: Sequence[CompiledPolicy] | None = None,
    classes: Sequence[AcceleratorClass] | None = None,
    nodes: Sequence[Raw] = (),
    statements: Sequence[NodeStatement] | None = None,
    profile: str | None = None,
    profiles: Mapping[str, str | None] | None = None,
    authorities: Mapping[str, Authority] | None = None,
    served: Sequence[str] | None = None,
    gateways: Mapping[tuple[str, str], str] | None = None,
    endpoint: JudgedEndpoint | None = None,
    unreadable: Sequence[str] = (),
    **settings: Any,
) -> WorkloadPlan:
    """The plan for a model under policy ``health``, with class ``cpu``; nodes stand in Germany if nobody says else.

    ``profile`` is what a model's reference leads to, ``profiles`` what those of its variants do, by their names.
    """
    texts = dict(profiles or {})
    there = {
        each.profile: text
        for each in of.spec.model.every
        if each.profile and (text := texts.get(each.variant or "", profile))
    }
    spoken = [statement(each["metadata"]["name"]) for each in nodes] if statements is None else statements
    offered = [accelerator()] if classes is None else classes
    facts = [with_provenance(each, offered) for each in gather_all([read_node(each) for each in nodes], spoken, NOW)]
    return plan_workload(
        of,
        policies=[policy()] if policies is None else policies,
        classes={each.metadata.name: each for each in offered},
        eligible=lambda model, policies, need: eligibility(
            policies, model.spec.residency, need, facts, atlas=ATLAS, now=NOW
        ),
        settings=Settings(gate_image="gate", weights_image="weights", **settings),
        authorities=authorities or {},
        profiles=there,
        offered=served,
        gateways=gateways,
        endpoint=endpoint,
        unreadable=unreadable,
    )


def judged(
    *nodes: Raw, on: AcceleratorClass | None = None, per_replica: int | str = "auto", **given: Any
) -> Eligibility:
    """Which nodes could take a replica on one class."""
    chosen = on or accelerator()
    asked = model(accelerators={"classes": [chosen.metadata.name], "perReplica": per_replica})
    return plan(asked, classes=[chosen], nodes=nodes, **given).eligibility


def child(made: WorkloadPlan, kind: str) -> Raw:
    """One object of a plan."""
    (found,) = (each for each in made.objects if each["kind"] == kind)
    return found


def pod(made: WorkloadPlan) -> Raw:
    """The pods' spec in a plan."""
    spec: Raw = child(made, "Deployment")["spec"]["template"]["spec"]
    return spec


def engine(made: WorkloadPlan) -> Raw:
    """The engine's container in a plan."""
    (container,) = pod(made)["containers"]
    found: Raw = container
    return found
