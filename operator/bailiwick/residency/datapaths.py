"""Volumes and Services that lead out of a territory: judged and reported, never touched. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.residency.policies import CompiledPolicy

    Raw = Mapping[str, Any]
    Labels = Mapping[str, str]


def judge_service(policy: CompiledPolicy, service: Raw) -> Verdict:
    """The type of a Service is one that the policy lists. Without a network part it asks nothing."""
    kind, network = service["spec"].get("type", "ClusterIP"), policy.spec.network
    if network is None or kind in network.services:
        return ALLOWED
    listed = ", ".join(sorted(network.services)) or "none"
    return refuse(
        Reason.SERVICE_NOT_ALLOWED,
        f"{policy.by} allows Services of type {listed}, this is a {kind}; change or remove it",
    )


def judge_volume(policy: CompiledPolicy, volume: Raw, inside: Mapping[str, Labels]) -> Verdict:
    """A PersistentVolume is of an allowed class, and at least one node inside can mount it.

    ``inside`` are the labels of the nodes inside, by name. A volume without nodeAffinity says that all nodes can.
    """
    spec, storage = volume["spec"], policy.spec.storage
    name, given = volume["metadata"]["name"], spec.get("storageClassName") or ""
    if storage is not None and given not in storage.classes:
        listed = ", ".join(sorted(storage.classes)) or "none"
        return refuse(
            Reason.CLASS_NOT_ALLOWED,
            f"{policy.by} allows StorageClasses {listed}, volume {name} is of {given or 'no class'}; move the data",
        )
    required = (spec.get("nodeAffinity") or {}).get("required")
    if required is None or any(_reaches(required, node, labels) for node, labels in inside.items()):
        return ALLOWED
    return refuse(
        Reason.CLAIM_NOT_ALLOWED,
        f"{policy.by} keeps data inside, but volume {name} can be mounted by none of its {len(inside)} nodes",
    )


def _reaches(required: Raw, node: str, labels: Labels) -> bool:
    return any(_term(term, node, labels) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Raw, node: str, labels: Labels) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False  # an empty term matches no node
    by_name = {"metadata.name": node}
    return all(_meets(each, labels) for each in expressions) and all(_meets(each, by_name) for each in fields)


def _meets(requirement: Raw, labels: Labels) -> bool:
    value, values = labels.get(requirement["key"]), [str(each) for each in requirement.get("values") or ()]
    answers = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
        "Gt": _number(value) > _number(values[0] if values else None),
        "Lt": _number(value) < _number(values[0] if values else None),
    }
    return answers.get(requirement["operator"], False)


def _number(value: str | None) -> float:
    """Comparisons with what is no number are false, as the scheduler has them."""
    return int(value) if value is not None and value.lstrip("-").isdecimal() else float("nan")
