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


BY_HAND = "kubernetes.io/no-provisioner"
"""The provisioner of classes whose volumes people make, such as local disks."""


async def check(review: Review, known: Known) -> Judgement:
    """Judge the volume that a claim names, at its creation or when it is bound."""
    name = _volume_of(review.after)
    if not name or name == _volume_of(review.before):
        return FINE
    policies = await known.governing(review.namespace)
    return by_mode([(policy, await leads_inside(policy, name, known)) for policy in policies])


async def bound(namespace: str, claims: Iterable[str], policies: Iterable[CompiledPolicy], known: Known) -> Judgement:
    """Judge volumes that claims of a namespace have already. A claim without a volume is judged when it gets one."""
    found = [await known.claim(namespace, name) for name in claims]
    volumes = [name for name in map(_volume_of, found) if name]
    return by_mode([(policy, await leads_inside(policy, name, known)) for policy in policies for name in volumes])


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


async def leads_inside(policy: CompiledPolicy, name: str, known: Known) -> Verdict:
    """The volume's class is allowed, its driver is that of the class, and every node that reaches it is inside.

    A volume that any node reaches tells nothing of where it is: then only a class that the policy lists vouches for it.
    """
    volume = await known.volume(name)
    if volume is None:
        return _missing(policy, name)
    vouched = False
    if policy.spec.storage is not None:
        verdict, vouched = await _of_listed_class(policy, name, volume, known)
        if not verdict.allowed:
            return verdict
    spec = volume.get("spec") or {}
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    return _reached_from_inside(policy, name, terms, known) if terms or not vouched else ALLOWED


async def _of_listed_class(
    policy: CompiledPolicy, name: str, volume: Mapping[str, Any], known: Known
) -> tuple[Verdict, bool]:
    """Whether the class is listed and its own driver made the volume; and whether that vouches for where it is.

    Anybody who makes a volume writes what class it has. A class whose volumes are made by hand vouches for none.
    """
    storage_class = (volume.get("spec") or {}).get("storageClassName") or ""
    listed = policy.spec.storage.classes if policy.spec.storage else []
    if storage_class not in listed:
        return refuse(
            Reason.CLASS_NOT_ALLOWED,
            f"volume {name} has the StorageClass {storage_class or '(none)'}, but {policy.by} allows "
            f"{', '.join(listed) or 'nothing'} in spec.storage.classes; use a volume of an allowed class",
        ), False
    provisioner, driver = await known.provisioner(storage_class), _driver_of(volume)
    if provisioner == BY_HAND:
        return ALLOWED, False
    if provisioner is None or provisioner != driver:
        return refuse(
            Reason.CLASS_NOT_ALLOWED,
            f"volume {name} says that it is of StorageClass {storage_class}, which {policy.by} allows in "
            f"spec.storage.classes, but its driver is {driver or '(none)'} and that of the class is "
            f"{provisioner or 'not known: there is no such class'}; use a volume that the class made",
        ), False
    return ALLOWED, True


def _reached_from_inside(policy: CompiledPolicy, name: str, terms: list[Any], known: Known) -> Verdict:
    if not terms:
        return refuse(
            Reason.CLAIM_NOT_ALLOWED,
            f"volume {name} has no nodeAffinity, so nobody knows where it is, and {policy.by} lists no StorageClass "
            f"that made it; use a volume with nodeAffinity, or list its class in spec.storage.classes of the policy",
        )
    now = known.now()
    reaching = [facts for facts in known.facts().values() if any(_selects(term, facts) for term in terms)]
    outside = {facts.name: judge(policy, facts, now) for facts in reaching}
    outside = {node: verdict for node, verdict in outside.items() if not verdict.allowed}
    if reaching and not outside:
        return ALLOWED
    first = next(iter(outside.values()), None)
    seen = f"is reached from {some(outside)}, outside ({first})" if first else "is reached from no node of this cluster"
    return refuse(
        Reason.CLAIM_NOT_ALLOWED,
        f"volume {name} {seen}, but {policy.by} asks that data stay inside; use a volume whose nodeAffinity selects "
        f"nodes inside only",
    )


def _missing(policy: CompiledPolicy, name: str) -> Verdict:
    return refuse(
        Reason.CLAIM_NOT_ALLOWED,
        f"the claim names volume {name}, which is not there, so nobody knows where it will be, but {policy.by} asks "
        f"that data stay inside; create the volume first, or leave spec.volumeName out",
    )


def _driver_of(volume: Mapping[str, Any]) -> str:
    """The CSI driver that serves a volume, or who made one that no CSI driver serves."""
    driver = ((volume.get("spec") or {}).get("csi") or {}).get("driver")
    annotations = volume["metadata"].get("annotations") or {}
    return driver or annotations.get("pv.kubernetes.io/provisioned-by") or ""


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
