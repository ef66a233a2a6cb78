"""In what a changed policy lets more in than it did: read from the policies alone, whatever is in the cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bailiwick.api.codes import country_of
from bailiwick.api.residencypolicy import Mode
from bailiwick.api.timestamps import span
from bailiwick.residency.audit import last_step
from bailiwick.residency.dimensions import WORDING, Dimension
from bailiwick.residency.egress import common
from bailiwick.residency.jurisdictions import contains

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from bailiwick.api.residencypolicy import ResidencyPolicySpec
    from bailiwick.residency.policies import Bounds, CompiledPolicy, PlaceLimit

_MOST: Final = 12
_OTHER_PARTS: Final = "-*"
_MODES: Final = (Mode.AUDIT, Mode.WARN, Mode.ENFORCE)


@dataclass(frozen=True, slots=True, order=True)
class Widening:
    """One thing that a policy let less of before. ``field`` is where the policy says it."""

    policy: str
    field: str
    told: str

    def __str__(self) -> str:
        return f"policy {self.policy}, {self.field}: {self.told}"


def widenings(before: CompiledPolicy | None, after: CompiledPolicy | None) -> tuple[Widening, ...]:
    """What a change lets in; nothing for a policy that is new, since all policies of a namespace must agree.

    Whoever is told nothing here can rely on it: no node, object or destination that the policy judges is inside or
    allowed that was not before. Namespaces that its selector leaves are not known here.
    """
    if before is None:
        return ()
    if after is None:
        return (Widening(before.name, "spec", "goes, and with it everything that the policy asks"),)
    told = (
        *_judged(before, after),
        *((f"spec.{field}", text) for compare in _PARTS for field, text in compare(before.spec, after.spec)),
    )
    return tuple(Widening(before.name, field, text) for field, text in told)


def _judged(before: CompiledPolicy, after: CompiledPolicy) -> Iterator[tuple[str, str]]:
    """Of the nodes that are inside, and of what follows for what is not."""
    if _MODES.index(after.mode) < _MODES.index(before.mode):
        was = "refused what is outside" if before.mode is Mode.ENFORCE else "warned of it"
        yield "spec.mode", f"{after.mode} refuses nothing, {before.mode} {was}"
    for dimension in Dimension:
        if text := _newly_inside(before.bounds(dimension), after.bounds(dimension)):
            yield f"spec.{WORDING[dimension].field}", text
    if before.place and after.place:
        yield from _vouched(before.place, after.place)
    if after.tolerates_unknown and not before.tolerates_unknown:
        yield "spec.unknown", "Deny becomes Warn: a node of whose control or origin nobody said anything is inside"
    if last_step(after) < last_step(before) and after.mode is before.mode:
        yield "spec.violation", f"{last_step(before).word} becomes {last_step(after).word} for pods that are outside"


def _newly_inside(before: Bounds | None, after: Bounds | None) -> str:
    """Which places come inside in one dimension; empty where none does."""
    if before is None or (after is not None and after.unresolved):
        return ""
    if after is None:
        return "is not asked any more, so any answer will do"
    listed = before.allow | before.deny | before.near_deny | after.allow | after.deny | after.near_deny
    # Where a part of a country is denied, the country itself is outside, and all its other parts may be inside.
    known = listed | {f"{country_of(place)}{_OTHER_PARTS}" for place in listed}
    come = frozenset(place for place in known if not _inside(before, place) and _inside(after, place))
    # A part says nothing besides its whole.
    named = sorted(place for place in come if not contains(come - {place}, place))
    told = [place.replace(_OTHER_PARTS, " (where no part is denied)") for place in named]
    return f"{_listed(told)} {'comes' if len(told) == 1 else 'come'} inside" if told else ""


def _inside(bounds: Bounds, place: str) -> bool:
    return not bounds.unresolved and bounds.objection(place) is None


def _vouched(before: PlaceLimit, after: PlaceLimit) -> Iterator[tuple[str, str]]:
    if after.assurance.rank < before.assurance.rank:
        yield "spec.place.assurance", f"{after.assurance} is enough, {before.assurance} was asked"
    if before.max_age is not None and (after.max_age is None or after.max_age > before.max_age):
        yield "spec.place.maxAge", f"{after.max_age_asked or 'any age'} will do, {before.max_age_asked} was asked"


def _models(before: ResidencyPolicySpec, after: ResidencyPolicySpec) -> Iterator[tuple[str, str]]:
    was, now = before.models, after.models
    if was is None:
        return
    if now is None:
        yield "models", "is not asked any more, so any source will do"
        return
    yield from _more("models.sources", _beyond(was.sources, now.sources))
    yield from _dropped("models.requireDigest", asked=was.require_digest, still=now.require_digest)
    for field, had, has in (("signedBy", was.signed_by, now.signed_by), ("licences", was.licences, now.licences)):
        if had and not has:
            yield f"models.{field}", "is not asked any more"
        elif had:
            yield from _more(f"models.{field}", set(has) - set(had))


def _images(before: ResidencyPolicySpec, after: ResidencyPolicySpec) -> Iterator[tuple[str, str]]:
    was, now = before.images, after.images
    if was is None:
        return
    if now is None:
        yield "images", "is not asked any more, so any image will do"
        return
    yield from _more("images.registries", _beyond(was.registries, now.registries))
    yield from _dropped("images.requireDigest", asked=was.require_digest, still=now.require_digest)


def _network(before: ResidencyPolicySpec, after: ResidencyPolicySpec) -> Iterator[tuple[str, str]]:
    was, now = before.network, after.network
    if was is None:
        return
    if now is None:
        yield "network", "is not asked any more, so any destination, Service and Ingress will do"
        return
    open_before = common((was.egress,))
    reached = [
        f"{each.network} ({each.protocol} {'-'.join(map(str, dict.fromkeys(each.ports)))})"
        for each in common((now.egress,))
        if not any(each.within(one) == each for one in open_before)
    ]
    yield from _more("network.egress", reached)
    yield from _more("network.services", set(now.services) - set(was.services))
    yield from _more("network.ingressClasses", set(now.ingress_classes) - set(was.ingress_classes))
    yield from _more("network.gatewayClasses", set(now.gateway_classes) - set(was.gateway_classes))


def _storage(before: ResidencyPolicySpec, after: ResidencyPolicySpec) -> Iterator[tuple[str, str]]:
    was, now = before.storage, after.storage
    if was is not None and now is None:
        yield "storage", "is not asked any more, so any class will do"
    elif was is not None and now is not None:
        yield from _more("storage.classes", set(now.classes) - set(was.classes))


def _access(before: ResidencyPolicySpec, after: ResidencyPolicySpec) -> Iterator[tuple[str, str]]:
    if before.access is None:
        return
    denied = {field for field, said in before.access.model_dump(by_alias=True).items() if said == "Deny"}
    still = after.access.model_dump(by_alias=True) if after.access else {}
    for field in sorted(denied):
        if still.get(field) != "Deny":
            yield f"access.{field}", "is allowed"


def _waivers(before: ResidencyPolicySpec, after: ResidencyPolicySpec) -> Iterator[tuple[str, str]]:
    was, now = before.waivers, after.waivers
    if now is None:
        return
    if was is None:
        yield "waivers", f"exceptions become possible: {now.approvals} approvals, at most {now.max_duration}"
        return
    if now.approvals < was.approvals:
        yield "waivers.approvals", f"{now.approvals} are enough, {was.approvals} were asked"
    if span(now.max_duration) > span(was.max_duration):
        yield "waivers.maxDuration", f"a waiver may last {now.max_duration}, {was.max_duration} was the longest"


def _violation(before: ResidencyPolicySpec, after: ResidencyPolicySpec) -> Iterator[tuple[str, str]]:
    was, now = before.violation, after.violation
    if was and now and was.action == now.action != "Report" and span(now.after) > span(was.after):
        yield "violation.after", f"the last step comes after {now.after}, not after {was.after}"


_PARTS: Final[tuple[Callable[[ResidencyPolicySpec, ResidencyPolicySpec], Iterator[tuple[str, str]]], ...]] = (
    _models, _images, _network, _storage, _access, _waivers, _violation,
)  # fmt: skip


def _more(field: str, added: Collection[str]) -> Iterator[tuple[str, str]]:
    if added:
        yield field, f"{_listed(sorted(added))} {'is' if len(added) == 1 else 'are'} allowed"


def _dropped(field: str, *, asked: bool, still: bool) -> Iterator[tuple[str, str]]:
    if asked and not still:
        yield field, "a name without a digest will do"


def _beyond(before: Collection[str], after: Collection[str]) -> list[str]:
    """Prefixes that are not below one that was there. A prefix ends where a part of the name does."""
    return [each for each in after if not any(_below(each, known) for known in before)]


def _below(prefix: str, known: str) -> bool:
    """Without the stroke at its end a prefix is also a name by itself, and an image's in every version."""
    if _whole(prefix) == _whole(known):
        return prefix == known or prefix.endswith("/")
    return _whole(prefix).startswith(_whole(known))


def _whole(prefix: str) -> str:
    return prefix if prefix.endswith("/") else f"{prefix}/"


def _listed(names: Collection[str]) -> str:
    some = list(names)[:_MOST]
    return ", ".join(some) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
