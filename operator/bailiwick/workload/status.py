"""The status of a SovereignModel: what was planned, where it runs, why not elsewhere, and what is the matter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, settle, true, unknown
from bailiwick.residency.facts import Fact
from bailiwick.residency.verdict import Reason
from bailiwick.workload.naming import selector
from bailiwick.workload.service import endpoint
from bailiwick.workload.troubles import trouble_of

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
    """What there is of a model: its object, its Deployment, its pods, and what is believed about their nodes.

    ``outside`` holds, by node, the refusal of the policies for nodes where pods run that are not inside (any more).
    ``failure`` is why an object could not be written.
    """

    manifest: Raw
    deployment: Raw | None
    pods: Sequence[Raw]
    facts: Mapping[str, NodeFacts]
    outside: Mapping[str, Verdict]
    failure: str | None


def summarise(model: SovereignModel, plan: WorkloadPlan, seen: Seen, *, now: datetime) -> Raw:
    """The whole status, as JSON."""
    previous = seen.manifest.get("status") or {}
    generation = seen.manifest["metadata"].get("generation", 0)
    told = (seen.deployment or {}).get("status") or {}
    placements = [_placement(pod, seen.facts) for pod in seen.pods if pod.get("spec", {}).get("nodeName")]
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
        "jurisdictions": sorted({each["jurisdiction"] for each in placements if "jurisdiction" in each}),
        "replicas": told.get("replicas", 0),
        "readyReplicas": told.get("readyReplicas", 0),
        "selector": ",".join(f"{key}={value}" for key, value in selector(model).items()),
    }
    if plan.plan:
        status["plan"] = plan.plan.model_dump(mode="json", by_alias=True, exclude_none=True)
        status["endpoint"] = endpoint(model)
    return status


def summarise_unreadable(manifest: Raw, problem: str, *, now: datetime) -> Raw:
    """The status of a model that the schema let through and we cannot read: what runs stays, and the reason is told."""
    previous = manifest.get("status") or {}
    generation = manifest["metadata"].get("generation", 0)
    message = f"the model cannot be read, and what runs stays as it is: {problem}"
    stated = (false("Planned", Reason.INVALID_MODEL, message), false("Ready", Reason.INVALID_MODEL, message))
    conditions = settle(previous.get("conditions", ()), stated, generation=generation, now=now)
    return {**previous, "observedGeneration": generation, "conditions": conditions}


def _conditions(model: SovereignModel, plan: WorkloadPlan, seen: Seen) -> tuple[Stated, ...]:
    aspects = (_planned(plan), _placed(plan, seen), _verified(model), _available(model, seen), _resident(seen))
    return (*aspects, _ready(aspects))


def _planned(plan: WorkloadPlan) -> Stated:
    if not plan.verdict.allowed or plan.plan is None:
        return false("Planned", plan.verdict.reason, plan.verdict.message)
    return true("Planned", "Planned", f"{plan.plan.engine} on class {plan.plan.accelerator_class}")


def _placed(plan: WorkloadPlan, seen: Seen) -> Stated:
    """Every pod has a node. When no node could run the model, that is said first: waiting alone will not help."""
    waiting = [pod for pod in seen.pods if not pod.get("spec", {}).get("nodeName")]
    if seen.pods and not waiting:
        return true("Placed", "Placed", "every replica has a node")
    if plan.verdict.allowed and not plan.eligibility.nodes:
        why = "; ".join(f"{each.count} nodes {each.reason} ({each.message})" for each in plan.eligibility.ineligible)
        return false("Placed", "NoEligibleNode", f"no node could run the model, and it goes nowhere else: {why}")
    if not waiting:
        return unknown("Placed", "NoPods", "there are no pods yet")
    told = next((_scheduling(pod) for pod in waiting if _scheduling(pod)), "the scheduler has not looked at it yet")
    return false("Placed", "Unschedulable", f"{len(waiting)} of {len(seen.pods)} replicas wait for a node: {told}")


def _scheduling(pod: Raw) -> str:
    conditions = pod.get("status", {}).get("conditions", ())
    return next((each.get("message", "") for each in conditions if each.get("type") == "PodScheduled"), "")


def _verified(model: SovereignModel) -> Stated:
    """An image by digest is checked by the container runtime when it is pulled. Nothing else is checked yet."""
    oci = model.spec.model.source.oci
    if oci and "@sha256:" in oci.image:
        return true("Verified", "DigestPinned", "the weights are an image volume that is named by its digest")
    return unknown("Verified", "NotVerified", "nobody checked the weights; use an oci source by digest")


def _available(model: SovereignModel, seen: Seen) -> Stated:
    """As many replicas answer as were asked for, and they are of this generation."""
    if seen.failure:
        return false("Available", "NotWritten", f"an object could not be written: {seen.failure}")
    deployment = seen.deployment
    if deployment is None:
        return unknown("Available", "NoDeployment", "the Deployment is not there yet")
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", model.spec.replicas)
    trouble = trouble_of(deployment, seen.pods)
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if current and ready >= wanted and updated >= wanted and status.get("replicas", 0) == wanted:
        return true("Available", "Available", f"{ready} of {wanted} replicas answer")
    if trouble:
        return false("Available", trouble.reason, trouble.message)
    return false("Available", "Progressing", f"{ready} of {wanted} replicas answer; {updated} are up to date")


def _resident(seen: Seen) -> Stated:
    """Every pod is on a node that is inside now: affinity is ignored once a pod runs, this is not."""
    if not seen.pods:
        return unknown("Resident", "NoPods", "there are no pods")
    strays = sorted(
        (pod["metadata"]["name"], seen.outside[node])
        for pod in seen.pods
        if (node := pod.get("spec", {}).get("nodeName")) and node in seen.outside
    )
    if strays:
        name, verdict = strays[0]
        return false("Resident", verdict.reason, f"{len(strays)} pods are outside, {name} first: {verdict.message}")
    return true("Resident", "Inside", "every pod with a node is inside")


def _ready(aspects: Sequence[Stated]) -> Stated:
    """The first aspect that is not as it should be, or that all is well."""
    by_type = {each.type: each for each in aspects}
    for kind in ("Planned", "Resident", "Placed", "Available"):
        aspect = by_type[kind]
        if aspect.status == "False":
            return false("Ready", aspect.reason, aspect.message)
    available = by_type["Available"]
    if available.status != "True":
        return false("Ready", "Progressing", available.message)
    return true("Ready", "Serving", available.message)


def _placement(pod: Raw, facts: Mapping[str, NodeFacts]) -> Raw:
    node = pod["spec"]["nodeName"]
    conditions = pod.get("status", {}).get("conditions", ())
    placement: Raw = {
        "pod": pod["metadata"]["name"],
        "node": node,
        "ready": any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
    }
    if created := pod["metadata"].get("creationTimestamp"):
        placement["since"] = created
    known = facts.get(node)
    if known and isinstance(known.place, Fact):
        placement |= {"jurisdiction": known.place.jurisdiction, "assurance": known.place.assurance.value}
    return placement
