"""What `bailiwick status` tells: policies, models, and first of all what is not as it should be. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.resource import ConditionStatus, Resource, first_problem
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.control.policy_status import GOOD_FOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from bailiwick.api.resource import Condition, Count

Raw = dict[str, Any]
R = TypeVar("R", bound=Resource)

VERSION = 1
"""Of the JSON; it grows by fields, and changes its number when one goes or means something else."""
_BY_DESIGN = frozenset({"NotAsked", "NotSeen", "NoPods"})
"""Reasons of conditions that are Unknown because nobody asked; where pods are missed, another condition says so."""
_PROCESSES = "see whether the operator runs: kubectl get pods -n bailiwick-system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be. ``status`` is that of the condition, or Unknown where none tells."""

    kind: str
    name: str
    condition: str
    status: ConditionStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One policy. ``inside`` has its nodes by jurisdiction; None where its Territory is not there."""

    name: str
    mode: str
    conditions: Mapping[str, str]
    namespaces: int
    pods: int
    violations: int
    last_proof: datetime | None
    inside: Mapping[str, tuple[str, ...]] | None
    outside: tuple[Count, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model. ``eligible`` counts the nodes that could take a replica."""

    namespace: str
    name: str
    ready: str
    reason: str
    replicas: int
    ready_replicas: int
    runs_on: str
    eligible: int
    jurisdictions: tuple[str, ...]
    policies: tuple[str, ...]
    endpoint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything, worst first. ``unseen`` says of kinds that could not be read why."""

    findings: tuple[Finding, ...]
    policies: tuple[PolicyRow, ...]
    models: tuple[ModelRow, ...]
    unseen: tuple[str, ...] = ()


def overview(
    policies: Iterable[Raw],
    territories: Iterable[Raw],
    models: Iterable[Raw],
    *,
    now: datetime,
    unseen: Sequence[str] = (),
) -> Overview:
    """What objects say of themselves as of ``now``, and what is wrong with that."""
    found = _Findings(now)
    nodes = {each["metadata"]["name"]: _by_jurisdiction(each) for each in territories}
    read_policies = sorted(found.read(ResidencyPolicy, policies), key=lambda each: each.metadata.name)
    read_models = sorted(
        found.read(SovereignModel, models), key=lambda each: (each.metadata.namespace or "", each.metadata.name)
    )
    for policy in read_policies:
        found.look_at_policy(policy)
    for model in read_models:
        found.look_at(model, model.status.conditions if model.status else (), model.status)
    order = (ConditionStatus.FALSE, ConditionStatus.UNKNOWN)
    return Overview(
        findings=tuple(sorted(found.findings, key=lambda each: order.index(each.status))),
        policies=tuple(_policy(each, nodes.get(each.metadata.name)) for each in read_policies),
        models=tuple(_model(each) for each in read_models),
        unseen=tuple(unseen),
    )


@dataclass(slots=True)
class _Findings:
    """Gathers what is not as it should be."""

    now: datetime
    findings: list[Finding] = field(default_factory=list)

    def read(self, kind: type[R], raws: Iterable[Raw]) -> Iterator[R]:
        """The objects that can be read; of the others it is found that they cannot."""
        for raw in raws:
            try:
                yield kind.read(raw)
            except ValidationError as error:
                name = _name(raw["metadata"].get("namespace"), raw["metadata"]["name"])
                message = f"this release cannot read {first_problem(error)}; use the release of the cluster"
                self._add(kind.__name__, name, "Readable", "Unreadable", message)

    def look_at_policy(self, policy: ResidencyPolicy) -> None:
        """Its conditions, and whether the proof of them is a recent one."""
        status = policy.status
        self.look_at(policy, status.conditions if status else (), status)
        if status is None:
            return
        proved = next((each for each in status.conditions if each.type == "Enforced"), None)
        proof = status.last_proof
        if proved and proved.status is ConditionStatus.TRUE and (proof is None or self.now - proof > GOOD_FOR):
            last = f"the last proof is of {proof:%Y-%m-%d %H:%M:%S} UTC" if proof else "there is no proof"
            message = f"{last}, and one comes each minute; {_PROCESSES}"
            self._add("ResidencyPolicy", policy.metadata.name, "Enforced", "ProofTooOld", message)

    def look_at(self, each: Resource, conditions: Iterable[Condition], status: Any) -> None:
        """What its own conditions say, and whether they are about the object as it is now."""
        kind, metadata = type(each).__name__, each.metadata
        name = _name(metadata.namespace, metadata.name)
        if metadata.deletion_timestamp:
            since = f"{metadata.deletion_timestamp:%Y-%m-%d %H:%M:%S} UTC"
            self._add(kind, name, "Ready", "Terminating", f"it is being deleted since {since}")
            return
        seen = status.observed_generation if status else 0
        if seen < metadata.generation:
            message = f"nobody has looked at generation {metadata.generation} yet; if that stays so, {_PROCESSES}"
            self._add(kind, name, "Ready", "NotLookedAt", message)
        wrong = [one for one in conditions if one.status is not ConditionStatus.TRUE and not _by_design(one)]
        for one in wrong:
            # The summary repeats one of the others.
            if one.type != "Ready" or not any(other.type != "Ready" and _same(one, other) for other in wrong):
                self._add(kind, name, one.type, one.reason, one.message, one.status)

    def _add(  # noqa: PLR0913, PLR0917 - the fields of a finding, in their order
        self,
        kind: str,
        name: str,
        condition: str,
        reason: str,
        message: str,
        status: ConditionStatus = ConditionStatus.UNKNOWN,
    ) -> None:
        self.findings.append(
            Finding(kind=kind, name=name, condition=condition, status=status, reason=reason, message=message)
        )


def _by_design(condition: Condition) -> bool:
    return condition.status is ConditionStatus.UNKNOWN and condition.reason in _BY_DESIGN


def _same(one: Condition, other: Condition) -> bool:
    return (one.status, one.reason, one.message) == (other.status, other.reason, other.message)


def _name(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _by_jurisdiction(territory: Raw) -> Mapping[str, tuple[str, ...]]:
    """Names of nodes inside, sorted, by where they stand."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for node, place in sorted(territory["spec"]["nodes"].items()):
        found[place].append(node)
    return {place: tuple(nodes) for place, nodes in sorted(found.items())}


def _policy(policy: ResidencyPolicy, inside: Mapping[str, tuple[str, ...]] | None) -> PolicyRow:
    status = policy.status
    return PolicyRow(
        name=policy.metadata.name,
        mode=policy.spec.mode.value,
        conditions={each.type: each.status.value for each in status.conditions} if status else {},
        namespaces=status.counts.namespaces if status else 0,
        pods=status.counts.pods if status else 0,
        violations=status.counts.violations if status else 0,
        last_proof=status.last_proof if status else None,
        inside=inside,
        outside=status.outside if status else (),
    )


def _model(model: SovereignModel) -> ModelRow:
    status = model.status
    ready = next((each for each in status.conditions if each.type == "Ready"), None) if status else None
    plan = status.plan if status else None
    return ModelRow(
        namespace=model.metadata.namespace or "",
        name=model.metadata.name,
        ready=ready.status.value if ready else "Unknown",
        reason=ready.reason if ready else "NotLookedAt",
        replicas=model.spec.replicas,
        ready_replicas=status.ready_replicas if status else 0,
        runs_on=" on ".join(filter(None, (plan.engine, plan.accelerator_class))) if plan else "",
        eligible=status.nodes.eligible if status else 0,
        jurisdictions=status.jurisdictions if status else (),
        policies=status.policies if status else (),
        endpoint=status.endpoint if status else None,
    )


def as_json(told: Overview) -> Raw:
    """For programs."""
    return {
        "version": VERSION,
        "findings": [
            {
                "kind": each.kind,
                "name": each.name,
                "condition": each.condition,
                "status": each.status.value,
                "reason": each.reason,
                "message": each.message,
            }
            for each in told.findings
        ],
        "policies": [
            {
                "name": each.name,
                "mode": each.mode,
                "conditions": dict(each.conditions),
                "namespaces": each.namespaces,
                "pods": each.pods,
                "violations": each.violations,
                "lastProof": f"{each.last_proof:%Y-%m-%dT%H:%M:%SZ}" if each.last_proof else None,
                "inside": None if each.inside is None else {place: list(nodes) for place, nodes in each.inside.items()},
                "outside": [count.model_dump(mode="json", by_alias=True) for count in each.outside],
            }
            for each in told.policies
        ],
        "models": [
            {
                "namespace": each.namespace,
                "name": each.name,
                "ready": each.ready,
                "reason": each.reason,
                "replicas": each.replicas,
                "readyReplicas": each.ready_replicas,
                "runsOn": each.runs_on,
                "eligibleNodes": each.eligible,
                "jurisdictions": list(each.jurisdictions),
                "policies": list(each.policies),
                "endpoint": each.endpoint,
            }
            for each in told.models
        ],
        "unseen": list(told.unseen),
    }
