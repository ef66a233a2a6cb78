"""What is decided for a model: whether it can be served, on what, and by which objects. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bailiwick.api.modelstatus import Plan
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse
from bailiwick.workload import sources
from bailiwick.workload.deployment import deployment
from bailiwick.workload.eligibility import Eligibility
from bailiwick.workload.engines import ENGINES
from bailiwick.workload.networkpolicy import network_policy
from bailiwick.workload.poddisruptionbudget import pod_disruption_budget
from bailiwick.workload.service import service
from bailiwick.workload.serviceaccount import service_account

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass, ServingEngine
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.engines import Engine
    from bailiwick.workload.naming import Manifest

    Eligible = Callable[[SovereignModel, Sequence[CompiledPolicy], AcceleratorClass], Eligibility]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the installation decides for all models."""

    gate_image: str
    monitoring_namespace: str | None = None
    """Where Prometheus runs; None: nobody scrapes engines."""
    serves_ungoverned: bool = False
    """Whether models of namespaces that no policy governs are served, anywhere: for laboratories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Everything that the pods of a model are made from."""

    model: SovereignModel
    policies: tuple[str, ...]
    accelerator: AcceleratorClass
    serving: ServingEngine
    engine: Engine
    engine_image: str
    gate_image: str
    devices: int
    resource: str | None
    """The extended resource by which devices are asked for; None on a plain CPU."""
    only_nodes: tuple[str, ...] | None
    """The nodes that the model's own residency leaves, where it has one; else labels say it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPlan:
    """The decision. ``objects`` is empty when the verdict refuses: what runs is then left as it is."""

    verdict: Verdict
    policies: tuple[str, ...] = ()
    plan: Plan | None = None
    eligibility: Eligibility = field(default_factory=lambda: Eligibility((), ()))
    objects: tuple[Manifest, ...] = ()


def plan_workload(
    model: SovereignModel,
    *,
    policies: Sequence[CompiledPolicy],
    classes: Mapping[str, AcceleratorClass],
    eligible: Eligible,
    settings: Settings,
) -> WorkloadPlan:
    """Decide. ``eligible`` tells which nodes could run the model on a class.

    The first class in the order of preference that has an eligible node is taken, and when none has, the first: the
    model then waits for a node, and never goes elsewhere.
    """
    names = tuple(policy.name for policy in policies)
    refusal = _refusal(model, policies, settings)
    if refusal:
        return WorkloadPlan(verdict=refusal, policies=names)
    engine = ENGINES[model.spec.engine.name]
    candidates = [classes[name] for name in model.spec.accelerators.classes if name in classes]
    serving = {
        each.metadata.name: offer
        for each in candidates
        for offer in each.spec.engines
        if offer.name is model.spec.engine.name
    }
    candidates = [each for each in candidates if each.metadata.name in serving]
    if not candidates:
        return WorkloadPlan(verdict=_no_class(model, classes), policies=names)
    asked = [(each, eligible(model, policies, each)) for each in candidates]
    accelerator, found = next((each for each in asked if each[1].nodes), asked[0])
    offer = serving[accelerator.metadata.name]
    placing = Placing(
        model=model,
        policies=names,
        accelerator=accelerator,
        serving=offer,
        engine=engine,
        engine_image=model.spec.engine.image or offer.image,
        gate_image=settings.gate_image,
        devices=_devices(model, accelerator),
        resource=next(iter(accelerator.spec.resources), None),
        only_nodes=found.nodes if model.spec.residency else None,
    )
    return WorkloadPlan(
        verdict=ALLOWED,
        policies=names,
        plan=_told(placing),
        eligibility=found,
        objects=(
            # The border around a pod is there before the pod.
            network_policy(model, monitoring_namespace=settings.monitoring_namespace),
            service_account(model),
            pod_disruption_budget(model),
            service(model),
            deployment(placing),
        ),
    )


def _refusal(model: SovereignModel, policies: Sequence[CompiledPolicy], settings: Settings) -> Verdict | None:
    """What cannot be served at all."""
    namespace = model.metadata.namespace
    if not policies and not settings.serves_ungoverned:
        return refuse(
            Reason.UNGOVERNED,
            f"no ResidencyPolicy governs namespace {namespace}, so nobody says where the model may run; give the "
            f"namespace the labels that a policy selects, or ask for a policy",
        )
    name = model.spec.engine.name
    if name not in ENGINES:
        known = ", ".join(str(each) for each in ENGINES)
        return refuse(Reason.INVALID_MODEL, f"engine {name} is not served by this release; use one of: {known}")
    told = sources.refusal(model) or ENGINES[name].refusal(model) or _serving(model)
    return refuse(Reason.INVALID_MODEL, told) if told else None


def _serving(model: SovereignModel) -> str | None:
    """What a user would believe to be in force, and is not in this release."""
    serving = model.spec.serving
    asked = [name for name in ("authentication", "tls", "gateway") if getattr(serving, name)]
    if asked:
        return f"serving.{asked[0]} is not enforced by this release; leave it out, and guard the Service otherwise"
    return None


def _no_class(model: SovereignModel, classes: Mapping[str, AcceleratorClass]) -> Verdict:
    asked = ", ".join(model.spec.accelerators.classes)
    there = ", ".join(sorted(classes)) or "none"
    return refuse(
        Reason.NO_ACCELERATOR,
        f"engine {model.spec.engine.name} is served by none of the accelerator classes {asked}; classes of this "
        f"cluster: {there}",
    )


def _devices(model: SovereignModel, accelerator: AcceleratorClass) -> int:
    """Devices per replica: as asked, or what parallelism needs; none on a plain CPU."""
    if not accelerator.spec.resources:
        return 0
    asked = model.spec.accelerators.per_replica
    if isinstance(asked, int):
        return asked
    parallelism = model.spec.parallelism
    return parallelism.tensor * parallelism.pipeline if parallelism else 1


def _told(placing: Placing) -> Plan:
    return Plan(
        engine=placing.model.spec.engine.name,
        image=placing.engine_image,
        accelerator_class=placing.accelerator.metadata.name,
        devices_per_replica=placing.devices,
        nodes_per_replica=1,
    )
