"""Claims: the volume behind a claim holds data, so its class and the nodes that reach it must be inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.admission.judgement import FINE, Judgement, some
from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.rules import judge
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bailiwick.admission.known import Known
    from bailiwick.admission.review import Review
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy


async def check(review: Review, known: Known) -> Judgement:
    """Judge the volume that a claim names, at its creation or when it is bound."""
    name = _volume_of(review.after)
    if not name or name == _volume_of(review.before):
        return FINE
    policies = await known.governing(review.namespace)
    if not policies:
        return FINE
    volume = await known.volume(name)
    if volume is None:
        verdicts = [(policy, _missing(name)) for policy in policies]
    else:
        verdicts = [(policy, leads_inside(policy, name, volume, known)) for policy in policies]
    return by_mode(verdicts)


def by_mode(verdicts: Iterable[tuple[CompiledPolicy, Verdict]]) -> Judgement:
    """The refusal of the first policy that enforces; policies in mode Warn warn, in mode Audit they only record."""
    warnings = []
    for policy, verdict in verdicts:
        if verdict.allowed:
            continue
        if policy.mode is Mode.ENFORCE:
            return Judgement(verdict)
        if policy.mode is Mode.WARN:
            warnings.append(str(verdict))
    return Judgement(warnings=tuple(warnings))


def leads_inside(policy: CompiledPolicy, name: str, volume: Mapping[str, Any], known: Known) -> Verdict:
    """The volume's class is allowed, and every node that reaches it is inside.

    A volume that any node reaches tells nothing of where it is: then only a class that the policy lists vouches for it.
    """
    spec = volume.get("spec") or {}
    storage_class, storage = spec.get("storageClassName") or "", policy.spec.storage
    if storage is not None and storage_class not in storage.classes:
        return refuse(
            Reason.CLASS_NOT_ALLOWED,
            f"volume {name} has the StorageClass {storage_class or '(none)'}, but {policy.by} allows "
            f"{', '.join(storage.classes) or 'nothing'}; use a volume of an allowed class",
        )
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    if not terms:
        if storage is not None:
            return ALLOWED
        return refuse(
            Reason.CLAIM_NOT_ALLOWED,
            f"volume {name} has no nodeAffinity, so nobody knows where it is, and {policy.by} lists no StorageClass; "
            f"use a volume with nodeAffinity, or list the class in spec.storage.classes of the policy",
        )
    now = known.now()
    reaching = [facts for facts in known.facts().values() if any(_selects(term, facts) for term in terms)]
    outside = [facts.name for facts in reaching if not judge(policy, facts, now).allowed]
    if reaching and not outside:
        return ALLOWED
    seen = f"is reached from {some(outside)}, outside" if outside else "is reached from no node of this cluster"
    return refuse(
        Reason.CLAIM_NOT_ALLOWED,
        f"volume {name} {seen}, but {policy.by} asks that data stay inside; use a volume whose nodeAffinity selects "
        f"nodes inside only",
    )


def _missing(name: str) -> Verdict:
    return refuse(
        Reason.CLAIM_NOT_ALLOWED,
        f"the claim names volume {name}, which is not there, so nobody knows where it will be; create the volume first",
    )


def _volume_of(claim: Mapping[str, Any] | None) -> str:
    spec = (claim or {}).get("spec")
    name = spec.get("volumeName") if isinstance(spec, dict) else None
    return name if isinstance(name, str) else ""


def _selects(term: Mapping[str, Any], facts: NodeFacts) -> bool:
    """Whether a node selector term selects a node, with the scheduler's meaning; an empty term selects none."""
    labels = [(each, facts.node.labels.get(each.get("key", ""))) for each in term.get("matchExpressions") or ()]
    fields = [(each, facts.name) for each in term.get("matchFields") or ()]
    asked = [*labels, *fields]
    return bool(asked) and all(_meets(each, value) for each, value in asked)


def _meets(requirement: Mapping[str, Any], value: str | None) -> bool:
    values = requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "DoesNotExist":
            return value is None
        case "Exists":
            return value is not None
        case _:
            # Gt, Lt and whatever comes: taken as met, so that more nodes have to be inside and never fewer.
            return True
