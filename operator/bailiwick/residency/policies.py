"""Policies as they are judged by: names resolved to places, spans of time read, selectors ready."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bailiwick.api.residencypolicy import (
    JurisdictionRule,
    Mode,
    OriginRule,
    PlaceRule,
    ResidencyPolicy,
    ResidencyPolicySpec,
)
from bailiwick.api.resource import Assurance, LabelSelector
from bailiwick.api.sovereignmodel import Residency
from bailiwick.api.timestamps import span
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.jurisdictions import Atlas, contains, touching
from bailiwick.residency.verdict import Problem

if TYPE_CHECKING:
    from bailiwick.residency.waivers import Waiver

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Namespaces that no policy governs, besides Bailiwick's own: a cluster must be able to start."""

_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def exempt_namespaces(own: str) -> frozenset[str]:
    """The namespaces that no policy governs, where ``own`` is the one that Bailiwick runs in."""
    return SYSTEM_NAMESPACES | {own}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which places are inside: those allowed, without those denied. Both are resolved to countries and subdivisions."""

    allow: frozenset[str]
    deny: frozenset[str]
    near_deny: frozenset[str]
    """Codes that could mean a denied place: DE where DE-BY is denied."""
    unresolved: str
    """What is wrong with the names that are denied, or nothing. Then more may be meant, and everything is denied."""
    allow_names: str
    deny_names: str
    waived: frozenset[str] = frozenset()
    """Places that a waiver puts inside, whatever is denied."""

    def objection(self, place: str) -> str | None:
        """Why a place is outside, as the end of a sentence about who asks; None when it is inside.

        Where ``unresolved`` says something, the answer is not complete and nothing is inside.
        """
        if contains(self.waived, place):
            return None
        if contains(self.deny, place):
            return f"denies {self.deny_names}"
        if place in self.near_deny:
            return f"denies {self.deny_names}, which {place} does not rule out"
        if not contains(self.allow, place):
            return f"allows {self.allow_names}"
        return None


@dataclass(frozen=True, slots=True)
class PlaceLimit:
    """Where machines must stand, and how well and how recently that must be vouched for."""

    bounds: Bounds
    assurance: Assurance
    max_age: timedelta | None
    max_age_asked: str
    """The same in the policy's words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of a node. ``place`` is None when that is not asked.

    ``by`` names who asks, for messages: ``policy health``; ``path`` is where it asks: ``spec``. ``problems`` are names
    that could not be resolved: they never widen what is inside.
    """

    by: str
    path: str
    place: PlaceLimit | None
    others: Mapping[Dimension, Bounds]
    """The questions other than place, as far as they are asked."""
    tolerates_unknown: bool
    """Whether a node is inside of whose control or origin nobody ever said anything. Never about its place."""
    problems: tuple[Problem, ...]
    waivers: "Mapping[str, tuple[Waiver, ...]]" = field(default_factory=dict, kw_only=True)
    """By the name of a node, approved waivers about it, sorted by name; a model's own limits have none."""

    def bounds(self, dimension: Dimension) -> Bounds | None:
        """Which places are inside in one dimension; None when that is not asked."""
        if dimension is Dimension.PLACE:
            return self.place.bounds if self.place else None
        return self.others.get(dimension)


@dataclass(frozen=True, slots=True)
class CompiledPolicy(Limits):
    """One ResidencyPolicy, ready to judge by."""

    name: str
    mode: Mode
    spec: ResidencyPolicySpec

    def governs(self, namespace: str, labels: Mapping[str, str], *, exempt: Collection[str]) -> bool:
        """Whether the policy applies to a namespace with these labels. It never applies to the exempt ones."""
        return namespace not in exempt and _selects(self.spec.namespace_selector, namespace, labels)


def compile_policy(policy: ResidencyPolicy, atlas: Atlas) -> CompiledPolicy:
    """The policy with its names resolved. Never raises: what cannot be resolved is in ``problems`` and is outside."""
    spec = policy.spec
    asked = _Asked(spec.place, spec.control, spec.origin, atlas)
    return CompiledPolicy(
        by=f"policy {policy.metadata.name}",
        path="spec",
        place=asked.place,
        others=asked.others,
        tolerates_unknown=spec.unknown == "Warn",
        problems=asked.problems,
        name=policy.metadata.name,
        mode=spec.mode,
        spec=spec,
    )


def compile_residency(residency: Residency, atlas: Atlas, *, by: str) -> Limits:
    """A model's own limits. They are asked besides those of its policies, so that they can only tighten them.

    ``by`` names the model, for messages: ``model clinic/assistant``.
    """
    asked = _Asked(residency.place, residency.control, residency.origin, atlas)
    return Limits(
        by=by,
        path="spec.residency",
        place=asked.place,
        others=asked.others,
        tolerates_unknown=False,
        problems=asked.problems,
    )


def governing(
    policies: Iterable[CompiledPolicy], namespace: str, labels: Mapping[str, str], *, exempt: Collection[str]
) -> tuple[CompiledPolicy, ...]:
    """The policies that apply to a namespace, by name. All of them must allow."""
    applying = (policy for policy in policies if policy.governs(namespace, labels, exempt=exempt))
    return tuple(sorted(applying, key=lambda policy: policy.name))


def may_govern(
    unread: Mapping[str, Any], namespace: str, labels: Mapping[str, str], *, exempt: Collection[str]
) -> bool:
    """Whether a policy that cannot be read, as the API server returned it, may apply to a namespace.

    Its selector tells, where at least that can be read. Otherwise it may apply wherever a policy can.
    """
    if namespace in exempt:
        return False
    try:
        selector = LabelSelector.model_validate((unread.get("spec") or {}).get("namespaceSelector"))
    except ValidationError:
        return True
    return _selects(selector, namespace, labels)


def _selects(selector: LabelSelector, namespace: str, labels: Mapping[str, str]) -> bool:
    # The API server sees to it that this label always tells the name, whatever somebody writes into it.
    return selector.matches({**labels, _NAMESPACE_NAME: namespace})


class _Asked:
    """What policies and models ask alike, with names resolved."""

    def __init__(
        self, place: PlaceRule | None, control: JurisdictionRule | None, origin: OriginRule | None, atlas: Atlas
    ) -> None:
        problems: list[Problem] = []
        self.place = None
        if place:
            max_age = span(place.max_age) if place.max_age else None
            self.place = PlaceLimit(_bounds(place, atlas, problems), place.assurance, max_age, place.max_age or "")
        others = {
            Dimension.CONTROL: control,
            Dimension.BRAND: origin and origin.brand,
            Dimension.MANUFACTURE: origin and origin.manufacture,
            Dimension.DESIGN: origin and origin.design,
        }
        self.others: Mapping[Dimension, Bounds] = {
            dimension: _bounds(rule, atlas, problems) for dimension, rule in others.items() if rule
        }
        self.problems = tuple(dict.fromkeys(problems))


def _bounds(rule: JurisdictionRule, atlas: Atlas, problems: list[Problem]) -> Bounds:
    allow, deny = atlas.expand(rule.allow), atlas.expand(rule.deny)
    problems.extend((*allow.problems, *deny.problems))
    return Bounds(
        allow=allow.places,
        deny=deny.places,
        near_deny=touching(deny.places),
        unresolved="; ".join(problem.message for problem in deny.problems),
        allow_names=_listed(rule.allow),
        deny_names=_listed(rule.deny),
    )


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) if names else "nothing"
