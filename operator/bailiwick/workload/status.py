"""The status of a SovereignModel: what was planned, where it runs, why not elsewhere, and what is the matter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, settle, true, unknown
from bailiwick.residency.facts import Fact
from bailiwick.residency.stalled import with_stalled
from bailiwick.residency.verdict import Reason
from bailiwick.workload.group import LEADER
from bailiwick.workload.imported import imported, progress
from bailiwick.workload.naming import selector
from bailiwick.workload.scaled import autoscaled
from bailiwick.workload.service import endpoint
from bailiwick.workload.starting import Start, start
from bailiwick.workload.troubles import is_overdue, is_ready, living, running, stages_of, trouble_of
from bailiwick.workload.variants import alone
from bailiwick.workload.verified import verified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.verdict import Verdict
    from bailiwick.workload.plan import WorkloadPlan

Raw = dict[str, Any]

_MOST_PLACEMENTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is of a model: its object, its Deployment or LeaderWorkerSet, its pods, and what is known of nodes.

    ``outside`` holds, by node, the refusal of the policies for nodes where pods run that are not inside (any more).
    ``failure`` is why an object could not be written.
    """

    manifest: Raw
    deployment: Raw | None
    scaler: Raw | None = None
    pods: Sequence[Raw]
    facts: Mapping[str, NodeFacts]
    outside: Mapping[str, Verdict]
    failure: str | None
    jobs: Sequence[Raw] = ()
    importers: Sequence[Raw] = ()
    """Pods of Jobs that import weights."""


def summarise(model: SovereignModel, plan: WorkloadPlan, seen: Seen, *, now: datetime) -> Raw:
    """The whole status, as JSON. Of a refused model, what was planned for the pods that go on is kept."""
    previous = seen.manifest.get("status") or {}
    generation = seen.manifest["metadata"].get("generation", 0)
    told = (seen.deployment or {}).get("status") or {}
    placements = [_placement(pod, seen.facts) for pod in running(seen.pods) if _node_of(pod)]
    placements.sort(key=lambda placement: placement["pod"])
    status: Raw = {
        "observedGeneration": generation,
        "conditions": settle(
            previous.get("conditions", ()), _conditions(model, plan, seen), generation=generation, now=now
        ),
        "policies": sorted(plan.policies),
        "nodes": {
            "eligible": len(plan.eligibility.nodes),
            "ineligible": [count.model_dump(mode="json", by_alias=True) for count in plan.eligibility.ineligible],
        },
        "placements": placements[:_MOST_PLACEMENTS],
        "jurisdictions": sorted({*_where(placements), *_outside(plan)}),
        "replicas": told.get("replicas", 0),
        "readyReplicas": told.get("readyReplicas", 0),
        "selector": ",".join(f"{key}={value}" for key, value in _counted(model, plan, previous).items()),
    }
    if told_of := progress(plan.awaited, seen.importers):
        status["imports"] = told_of
    if plan.plan:
        status["plan"] = plan.plan.model_dump(mode="json", by_alias=True, exclude_none=True)
        status["endpoint"] = endpoint(model)
    elif seen.deployment:
        status |= {key: previous[key] for key in ("plan", "endpoint") if key in previous}
    return status


def summarise_unreadable(manifest: Raw, problem: str, *, now: datetime) -> Raw:
    """The status of a model that the schema let through and we cannot read: what runs stays, and the reason is told."""
    previous = manifest.get("status") or {}
    generation = manifest["metadata"].get("generation", 0)
    message = f"the model cannot be read, and what runs stays as it is: {problem}"
    ready = false("Ready", Reason.INVALID_MODEL, message)
    stated = (false("Planned", Reason.INVALID_MODEL, message), *with_stalled(ready))
    conditions = settle(previous.get("conditions", ()), stated, generation=generation, now=now)
    return {**previous, "observedGeneration": generation, "conditions": conditions}


def _where(placements: Sequence[Raw]) -> set[str]:
    return {each["jurisdiction"] for each in placements if "jurisdiction" in each}


def _outside(plan: WorkloadPlan) -> tuple[str, ...]:
    """Where the endpoint stands that gates lead to."""
    place = plan.endpoint.place if plan.endpoint else None
    return place.jurisdictions if place else ()


def _conditions(model: SovereignModel, plan: WorkloadPlan, seen: Seen) -> tuple[Stated, ...]:
    fetched = imported(plan.awaited, seen.jobs, seen.importers)
    served = alone(model, _told_before(plan, seen, "variant"))
    begun = _start(served, _told_before(plan, seen, "weightBytes"))
    aspects = (
        _planned(plan),
        *((fetched,) if fetched else ()),
        _placed(plan, seen),
        verified(served, seen.pods, some_older=_some_older(seen.deployment)),
        _available(seen, begun),
        _resident(plan, seen),
    )
    scaled = (autoscaled(seen.scaler),) if model.spec.autoscaling and plan.verdict.allowed else ()
    return (*aspects, *scaled, *with_stalled(_ready(aspects, seen, begun), overdue=is_overdue(seen.deployment)))


def _told_before(plan: WorkloadPlan, seen: Seen, field: str) -> Any:
    """A field of what is served: as planned, or as it was when the plan is refused and what runs goes on."""
    before = (seen.manifest.get("status") or {}).get("plan") or {}
    return (plan.plan.model_dump(mode="json", by_alias=True) if plan.plan else before).get(field)


def _start(model: SovereignModel, weight_bytes: int | None) -> Start:
    """What the engine may take to come up; as for any model while nobody knows from which variant."""
    every = model.spec.model.every
    return start(every[0], weight_bytes) if len(every) == 1 else Start()


def _planned(plan: WorkloadPlan) -> Stated:
    if not plan.verdict.allowed or plan.plan is None:
        return false("Planned", plan.verdict.reason, plan.verdict.message)
    on = "" if plan.endpoint else f" on class {plan.plan.accelerator_class}"
    variant = f" with variant {plan.plan.variant}" if plan.plan.variant else ""
    told = [f"{plan.plan.engine}{on}{variant}"]
    return true("Planned", "Planned", "; ".join([*told, *([plan.plan.why] if plan.plan.why else []), *plan.notes]))


def _placed(plan: WorkloadPlan, seen: Seen) -> Stated:
    """Every replica has a node. When no node could take one, that is said first: waiting alone will not help."""
    pods = living(seen.pods)
    waiting = [pod for pod in pods if not _node_of(pod)]
    if pods and not waiting:
        return true("Placed", "Placed", "every replica has a node")
    if plan.verdict.allowed and not plan.eligibility.nodes:
        return false("Placed", "NoEligibleNode", _nowhere(plan))
    if not waiting:
        return unknown("Placed", "NoPods", "there are no pods")
    told = next((why for pod in waiting if (why := _scheduling(pod))), "the scheduler has not looked at it yet")
    return false("Placed", "Unschedulable", f"{len(waiting)} of {len(pods)} replicas wait for a node: {told}")


def _nowhere(plan: WorkloadPlan) -> str:
    """Which policies, which rule, how many nodes miss: a model never goes elsewhere silently."""
    asked = f"policies {', '.join(plan.policies)}" if plan.policies else "no policy"
    on = f" and class {plan.plan.accelerator_class}" if plan.plan else ""
    why = "; ".join(f"{each.reason} {each.count} ({each.message})" for each in plan.eligibility.ineligible)
    return (
        f"no node can take a replica under {asked}{on}, and the model goes nowhere else: {why or 'there are no nodes'}"
    )


def _scheduling(pod: Raw) -> str:
    conditions = pod.get("status", {}).get("conditions", ())
    return next((each.get("message", "") for each in conditions if each.get("type") == "PodScheduled"), "")


def _available(seen: Seen, begun: Start) -> Stated:
    """As many replicas answer as were asked for, be they of this generation or the one before."""
    deployment = seen.deployment
    if deployment is None and seen.failure:
        return false("Available", "NotWritten", f"an object could not be written: {seen.failure}")
    if deployment is None:
        return unknown("Available", "NoDeployment", "there is no Deployment")
    wanted, ready = deployment["spec"]["replicas"], (deployment.get("status") or {}).get("readyReplicas", 0)
    told = f"{ready} of {wanted} replicas answer"
    if ready >= wanted:
        return true("Available", "Available", told)
    if trouble := trouble_of(deployment, seen.pods, begun):
        return false("Available", trouble.reason, f"{told}: {trouble.message}")
    stages = stages_of(seen.pods)
    return false("Available", "Progressing", f"{told}: {stages}" if stages else told)


def _resident(plan: WorkloadPlan, seen: Seen) -> Stated:
    """Every pod is on a node that is inside now: affinity is ignored once a pod runs, this is not."""
    placed = sorted((node, pod["metadata"]["name"]) for pod in running(seen.pods) if (node := _node_of(pod)))
    strays = [(name, seen.outside[node]) for node, name in placed if node in seen.outside]
    if strays:
        name, verdict = strays[0]
        return false("Resident", verdict.reason, f"{len(strays)} pods are outside, {name} first: {verdict.message}")
    if not placed:
        return unknown("Resident", "NoPods", "no pod has a node")
    if plan.verdict.reason is Reason.INVALID_POLICY:
        return unknown("Resident", Reason.INVALID_POLICY, plan.verdict.message)
    if not plan.policies:
        return unknown("Resident", Reason.UNGOVERNED, "no policy governs the namespace, so nobody says what is inside")
    strange = [node for node, _ in placed if node not in seen.facts]
    if strange:
        return unknown("Resident", Reason.PLACE_UNKNOWN, f"nothing is known of node {strange[0]}, where a pod runs")
    return true("Resident", "Inside", "every pod with a node is inside")


def _ready(aspects: Sequence[Stated], seen: Seen, begun: Start) -> Stated:
    """The first aspect that is not as it should be, or that all is well and as the spec says now."""
    by_type = {each.type: each for each in aspects}
    for kind in ("Planned", "Resident", "Verified"):
        if by_type[kind].status == "False":
            return false("Ready", by_type[kind].reason, by_type[kind].message)
    if seen.failure:
        return false("Ready", "NotWritten", f"an object could not be written: {seen.failure}")
    for kind in ("Imported", "Placed", "Available"):
        if kind in by_type and by_type[kind].status == "False":
            return false("Ready", by_type[kind].reason, by_type[kind].message)
    available = by_type["Available"]
    if seen.deployment is None:
        return false("Ready", "Progressing", available.message)
    if unfinished := _unfinished(seen.deployment):
        trouble = trouble_of(seen.deployment, seen.pods, begun)
        reason, why = (trouble.reason, trouble.message) if trouble else ("Progressing", stages_of(seen.pods))
        return false("Ready", reason, f"{available.message}; {unfinished}" + (f": {why}" if why else ""))
    return true("Ready", "Serving", available.message)


def _unfinished(deployment: Raw) -> str | None:
    """What a rollout still has to do; None when every replica is as the Deployment says now."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    if _not_looked_at(deployment):
        return "the change has not been looked at yet"
    updated, there = status.get("updatedReplicas", 0), status.get("replicas", 0)
    if updated < wanted or there > wanted:
        return f"{updated} of them are as the spec says now, {max(there - updated, 0)} older ones are to go"
    return None


def _some_older(deployment: Raw | None) -> bool:
    """Whether replicas run that are not as the spec says now."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    return _not_looked_at(deployment) or bool(status.get("replicas", 0) > status.get("updatedReplicas", 0))


def _not_looked_at(deployment: Raw) -> bool:
    """Whether its controller has not seen the last change."""
    status = deployment.get("status") or {}
    seen: int = status.get("observedGeneration", _looked_at(status))
    return bool(seen < deployment["metadata"].get("generation", 0))


def _looked_at(status: Raw) -> int:
    """The generation that the controller of a LeaderWorkerSet looked at last: it says so in its conditions alone."""
    return max((each.get("observedGeneration", 0) for each in status.get("conditions") or ()), default=0)


def _counted(model: SovereignModel, plan: WorkloadPlan, previous: Raw) -> dict[str, str]:
    """Labels of the pods that count as replicas: of a group, its leader alone."""
    told = plan.plan.nodes_per_replica if plan.plan else (previous.get("plan") or {}).get("nodesPerReplica", 1)
    return {**selector(model), **(LEADER if told > 1 else {})}


def _node_of(pod: Raw) -> str | None:
    return pod.get("spec", {}).get("nodeName") or None


def _placement(pod: Raw, facts: Mapping[str, NodeFacts]) -> Raw:
    node = pod["spec"]["nodeName"]
    placement: Raw = {"pod": pod["metadata"]["name"], "node": node, "ready": is_ready(pod)}
    if created := pod["metadata"].get("creationTimestamp"):
        placement["since"] = created
    known = facts.get(node)
    if known and isinstance(known.place, Fact):
        placement |= {"jurisdiction": known.place.jurisdiction, "assurance": known.place.assurance.value}
    return placement
