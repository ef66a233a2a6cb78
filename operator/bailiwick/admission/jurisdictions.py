"""Jurisdictions: members exist, no group contains itself, and none goes while somebody names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.admission.changes import effect_of
from bailiwick.admission.judgement import FINE, Judgement, refused, some
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bailiwick.admission.known import Known
    from bailiwick.admission.review import Review
    from bailiwick.api.residencypolicy import JurisdictionRule, OriginRule, PlaceRule, ResidencyPolicySpec
    from bailiwick.api.sovereignmodel import Residency


async def check(review: Review, known: Known) -> Judgement:
    """Refuse what would leave a name without meaning; warn of what a change does to policies and their nodes."""
    others = {name: each for name, each in known.jurisdictions().items() if name != review.name}
    if review.after is None:
        known.require_readable_policies()
        users = _users(review.name.upper(), known, others.values())
        if not users:
            return FINE
        return refused(
            Reason.UNKNOWN_JURISDICTION,
            f"{review.name.upper()} is named by {some(users)}, for whom it would stand for no place any more; take it "
            f"out of them first",
        )
    changed = Jurisdiction.read(review.after)
    atlas = Atlas([*others.values(), changed])
    problems = atlas.expand([changed.name]).problems
    if problems:
        return refused(problems[0].reason, problems[0].message)
    before = known.atlas()
    policies = [each for each in known.policies().values() if _reaches(each.spec, changed.name, others)]
    warnings = [
        warning
        for policy in policies
        for warning in effect_of(known.compiled(policy, before), known.compiled(policy, atlas), known)
    ]
    if review.operation == "UPDATE" and policies and before.expand([changed.name]) != atlas.expand([changed.name]):
        named = some(policy.metadata.name for policy in policies)
        warnings.insert(0, f"{changed.name} is used by the policies {named}: what they allow changes now")
    return Judgement(warnings=tuple(warnings))


def named(place: PlaceRule | None, control: JurisdictionRule | None, origin: OriginRule | None) -> Iterator[str]:
    """The names that rules of residency give."""
    parts = (origin.brand, origin.manufacture, origin.design) if origin else ()
    for rule in (place, control, *parts):
        if rule:
            yield from rule.allow
            yield from rule.deny


def named_by(asks: ResidencyPolicySpec | Residency) -> set[str]:
    """The names that a policy or a model gives."""
    return set(named(asks.place, asks.control, asks.origin))


def _users(name: str, known: Known, others: Iterable[Jurisdiction]) -> list[str]:
    """Who names a jurisdiction itself."""
    return [
        *(f"policy {policy}" for policy, each in known.policies().items() if name in named_by(each.spec)),
        *(f"jurisdiction {each.name}" for each in others if name in each.spec.members),
        *(
            f"model {each.metadata.namespace}/{each.metadata.name}"
            for each in known.models()
            if each.spec.residency and name in named_by(each.spec.residency)
        ),
    ]


def _reaches(spec: ResidencyPolicySpec, name: str, groups: Mapping[str, Jurisdiction]) -> bool:
    """Whether a policy names a jurisdiction, or a group that has it among its members or members' members."""
    waiting, seen = list(named_by(spec)), set[str]()
    while waiting:
        each = waiting.pop()
        if each == name:
            return True
        if each not in seen and (group := groups.get(each.lower())):
            seen.add(each)
            waiting.extend(group.spec.members)
    return False
