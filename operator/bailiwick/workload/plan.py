"""What is decided for a model: whether it can be served, on what, and by which objects. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.api.modelstatus import Plan
from bailiwick.residency.egress import opened
from bailiwick.residency.models import judge
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse
from bailiwick.workload import copying, external, gateway, group, importing, needs, scaling, sources, verification
from bailiwick.workload.deployment import deployment
from bailiwick.workload.eligibility import Eligibility, Need
from bailiwick.workload.engines import ENGINES
from bailiwick.workload.horizontalpodautoscaler import horizontal_pod_autoscaler
from bailiwick.workload.httproute import http_route
from bailiwick.workload.imported import Awaited
from bailiwick.workload.inferencepool import inference_pool
from bailiwick.workload.leaderworkerset import group_network_policies, leader_worker_set
from bailiwick.workload.networkpolicy import network_policy
from bailiwick.workload.placing import Placing
from bailiwick.workload.poddisruptionbudget import pod_disruption_budget
from bailiwick.workload.resourceclaimtemplate import resource_claim_template
from bailiwick.workload.scaledobject import scaled_object
from bailiwick.workload.scaling import Scaling
from bailiwick.workload.service import service
from bailiwick.workload.serviceaccount import service_account
from bailiwick.workload.sized import Sized, Unsized, size
from bailiwick.workload.starting import start, unused
from bailiwick.workload.variants import alone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass
    from bailiwick.api.authority import Authority
    from bailiwick.api.modelsource import ProfileReference
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.naming import Manifest

    Eligible = Callable[[SovereignModel, Sequence[CompiledPolicy], Need], Eligibility]

MOST_NAMED_NODES = 500
"""Nodes that a pod template names one by one, where the model has a residency of its own: about 50 KB of it."""

NO_AUTHORITIES: Mapping[str, Authority] = MappingProxyType({})
NO_PROFILES: Mapping[ProfileReference, str] = MappingProxyType({})

_FIRST = frozenset({"NetworkPolicy", "ServiceAccount", "Job"})
_BUILDERS = (
    # The border around a pod is there before the pod.
    network_policy,
    importing.network_policy,
    external.network_policy,
    service_account,
    pod_disruption_budget,
    service,
    inference_pool,
    http_route,
    horizontal_pod_autoscaler,
    scaled_object,
    leader_worker_set,
    resource_claim_template,
    deployment,
)
_CLAIMED = (
    "devices are claimed, and which nodes have free ones only the scheduler knows: nodes count as eligible by the "
    "labels of the class"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the installation decides for all models."""

    gate_image: str
    weights_image: str
    """What verifies weights: named apart from the operator's own image, so that an upgrade restarts no model."""
    monitoring_namespace: str | None = None
    """Where Prometheus runs; None: nobody scrapes engines."""
    serves_ungoverned: bool = False
    """Whether models of namespaces that no policy governs are served, anywhere: for laboratories."""
    scaling: Scaling = field(default_factory=Scaling)
    kubernetes: tuple[int, int] | None = None
    """Release of the API server, major and minor; None: nobody asked, and nothing is refused for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPlan:
    """The decision. ``objects`` is empty when the verdict refuses: what runs is then left as it is, but for gates."""

    verdict: Verdict
    policies: tuple[str, ...] = ()
    plan: Plan | None = None
    eligibility: Eligibility = field(default_factory=Eligibility)
    objects: tuple[Manifest, ...] = ()
    notes: tuple[str, ...] = ()
    """What the reader of the plan should know of it."""
    awaited: tuple[Awaited, ...] = ()
    endpoint: JudgedEndpoint | None = None
    """The server outside that gates may lead to. Gates that lead anywhere else have to end at once."""

    def due(self, done: Collection[str]) -> tuple[Manifest, ...]:
        """The objects whose time has come: while Jobs are not done, they and what they need."""
        if all(each.job in done for each in self.awaited):
            return self.objects
        return tuple(each for each in self.objects if each["kind"] in _FIRST)


def plan_workload(  # noqa: PLR0913 - by keyword
    model: SovereignModel,
    *,
    policies: Sequence[CompiledPolicy],
    classes: Mapping[str, AcceleratorClass],
    eligible: Eligible,
    settings: Settings,
    profiles: Mapping[ProfileReference, str] = NO_PROFILES,
    authorities: Mapping[str, Authority] = NO_AUTHORITIES,
    offered: Collection[str] | None = None,
    gateways: Mapping[tuple[str, str], str] | None = None,
    endpoint: JudgedEndpoint | None = None,
    unreadable: Sequence[str] = (),
) -> WorkloadPlan:
    """Decide. ``eligible`` tells which nodes could take a replica; it is asked for one need at a time.

    ``profiles`` are the texts to which the references of the model and its variants lead, as far as they are there.
    ``offered`` are the kinds of other projects that the API server serves, ``gateways`` the classes of Gateways by
    namespace and name; None: nobody looked, nothing is refused for it. ``endpoint`` is the server outside that the
    model's source names, judged by all limits; None: nobody stated anything of it. ``unreadable`` are policies that may
    govern the namespace as well: nobody knows what they ask of the model.
    No node being eligible is no refusal: the objects are written, their pods wait, and never go elsewhere.
    """
    names = tuple(policy.name for policy in policies)
    outside = model.spec.engine.name is EngineName.EXTERNAL
    offers = (external.offer(settings.gate_image),) if outside else tuple(needs.offers(model, classes))
    refusal = _unknown(model, unreadable) or external.refusal(model, policies, endpoint)
    refusal = refusal or _refusal(model, policies, settings, authorities, offered)
    refusal = refusal or (None if offers else _no_class(model, classes))
    if refusal:
        return WorkloadPlan(verdict=refusal, policies=names)
    engine = ENGINES[model.spec.engine.name]
    sized = size(
        model,
        profiles=profiles,
        offers=offers,
        needs=lambda offer, devices: needs.ways(model, offer, devices),
        eligible=lambda need: eligible(model, policies, need),
    )
    if isinstance(sized, Verdict):
        return WorkloadPlan(verdict=sized, policies=names)
    if isinstance(sized, Unsized):
        sized = needs.unsized(
            model,
            [each for each in offers if each.accelerator.metadata.name not in sized.without],
            sized,
            lambda need: eligible(model, policies, need),
        )
    # From here on the variants that were not chosen are not there: nothing of theirs is mounted, imported or read.
    model, need, found = alone(model, sized.variant), sized.need, sized.found
    refusal = engine.refusal_on(need, model) or group.refusal(model, need, offered) or _names_nothing(found)
    refusal = refusal or gateway.refusal(model, policies, offered, gateways)
    if refusal:
        return WorkloadPlan(verdict=refusal, policies=names, eligibility=found)
    placing = Placing(
        model=model,
        policies=names,
        need=need,
        parallelism=sized.parallelism,
        engine=engine,
        engine_image=model.spec.engine.image or need.serving.image,
        gate_image=settings.gate_image,
        weights_image=settings.weights_image,
        authorities=authorities,
        egress=opened(policies),
        monitoring_namespace=settings.monitoring_namespace,
        only_nodes=_only(model, policies, need, found),
        scaling=settings.scaling,
        start=start(model.spec.model.weights, sized.figures.get("weight_bytes")),
        endpoint=endpoint,
    )
    unused_speed = unused(model.spec.model.weights, placing.start.bytes)
    jobs = importing.jobs(placing)
    built = [made for build in _BUILDERS if (made := build(placing))]
    return WorkloadPlan(
        verdict=ALLOWED,
        policies=names,
        plan=_told(placing, sized),
        eligibility=found,
        objects=(*group_network_policies(placing), *built, *(job for _, job in jobs)),
        awaited=tuple(Awaited(f"{item.where}.source", job["metadata"]["name"]) for item, job in jobs),
        notes=tuple(
            filter(
                None,
                (
                    external.told(endpoint) if endpoint else None,
                    *sized.notes,
                    _CLAIMED if need.device_class else None,
                    unused_speed,
                ),
            )
        ),
        endpoint=endpoint,
    )


def _unknown(model: SovereignModel, unreadable: Sequence[str]) -> Verdict | None:
    if not unreadable:
        return None
    return refuse(
        Reason.INVALID_POLICY,
        f"policy {unreadable[0]} cannot be read, and it may govern namespace {model.metadata.namespace}: nobody knows "
        f"what it asks of the model; correct the policy as its own status says",
    )


def _refusal(
    model: SovereignModel,
    policies: Sequence[CompiledPolicy],
    settings: Settings,
    authorities: Mapping[str, Authority],
    offered: Collection[str] | None,
) -> Verdict | None:
    """What cannot be served at all, whatever the cluster has."""
    if not policies and not settings.serves_ungoverned:
        return refuse(
            Reason.UNGOVERNED,
            f"no ResidencyPolicy governs namespace {model.metadata.namespace}, so nobody says where the model may run; "
            f"give the namespace the labels that a policy selects, or ask for a policy",
        )
    return (
        judge(model, policies)
        or sources.refusal(model)
        or copying.refusal(model, settings.kubernetes)
        or verification.refusal(model, authorities)
        or ENGINES[model.spec.engine.name].refusal(model)
        or _devices_disagree(model)
        or scaling.refusal(model, settings.scaling, offered)
    )


def _devices_disagree(model: SovereignModel) -> Verdict | None:
    asked, parallelism = model.spec.accelerators.per_replica, model.spec.parallelism
    if not isinstance(asked, int) or not asked or parallelism is None:
        return None
    used = group.devices_of(parallelism)
    if used == asked:
        return None
    return refuse(
        Reason.INVALID_MODEL,
        f"spec.accelerators.perReplica is {asked}, but spec.parallelism spreads a replica over {used} devices "
        f"(tensor {parallelism.tensor} x pipeline {parallelism.pipeline} x data {parallelism.data}); "
        f"make them equal, or leave one of them out",
    )


def _named(found: Eligibility) -> tuple[str, ...]:
    """The nodes to name in the pod template: all that are inside, so that it changes only when the inside does."""
    if len(found.inside) <= MOST_NAMED_NODES:
        return found.inside
    capable = set(found.capable)
    return tuple(sorted(sorted(found.inside, key=lambda name: (name not in capable, name))[:MOST_NAMED_NODES]))


def _only(
    model: SovereignModel, policies: Sequence[CompiledPolicy], need: Need, found: Eligibility
) -> tuple[str, ...] | None:
    """The nodes to name, where labels do not say it all: a residency of the model's own, or a group's one country."""
    if need.nodes > 1 and policies:
        home = group.one_country(found, need, model.status.jurisdictions if model.status else ())
        if home is not None:
            return _named(replace(found, inside=home))
    return _named(found) if model.spec.residency else None


def _names_nothing(found: Eligibility) -> Verdict | None:
    """A name in the model's own residency that means nothing would leave it without nodes, or with too few."""
    if not found.problems:
        return None
    problem = found.problems[0]
    return refuse(problem.reason, f"spec.residency of the model: {problem.message}")


def _no_class(model: SovereignModel, classes: Mapping[str, AcceleratorClass]) -> Verdict:
    asked = ", ".join(model.spec.accelerators.classes)
    there = ", ".join(sorted(classes)) or "none"
    return refuse(
        Reason.NO_ACCELERATOR,
        f"engine {model.spec.engine.name} is served by none of the accelerator classes {asked}; classes of this "
        f"cluster: {there}; name one that offers the engine, or add the engine to spec.engines of a class",
    )


def _told(placing: Placing, sized: Sized) -> Plan:
    return Plan(
        engine=placing.model.spec.engine.name,
        image=placing.engine_image,
        accelerator_class=placing.need.accelerator.metadata.name,
        variant=sized.variant,
        device=placing.need.device,
        devices_per_replica=placing.need.devices * placing.need.nodes,
        nodes_per_replica=placing.need.nodes,
        **sized.figures,
    )
