"""Waivers: which of them count, and what a policy still asks of a machine that has one.

A waiver is judged alone, by the limits that it leaves of its policy. None is ever merged with another, so two of them
let in nothing that neither lets in by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bailiwick.api.codes import COUNTRIES
from bailiwick.api.nodestatement import Machine
from bailiwick.api.residencywaiver import ResidencyWaiver, Waivable, WaiverApproval
from bailiwick.api.resource import Assurance
from bailiwick.api.timestamps import span
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.facts import strange_identity
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import Node
from bailiwick.residency.policies import Bounds, CompiledPolicy, Limits, PlaceLimit
from bailiwick.residency.verdict import Problem, Reason

_ANYWHERE = frozenset(COUNTRIES)
_ROBOTS = "system:"
"""What the names of service accounts, kubelets and Kubernetes' own parts begin with. A token of one of these may be in
anybody's hands, also twice in those of one person."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A waiver that enough people approved. ``limits`` is what its policy still asks of the one machine."""

    name: str
    machine: Machine
    limits: Limits
    begins: datetime
    ends: datetime

    def holds(self, now: datetime) -> bool:
        """Whether it has begun and not ended."""
        return self.begins <= now < self.ends

    def changes(self, now: datetime) -> Iterable[datetime]:
        """The moments after ``now`` at which it begins or ends."""
        return (moment for moment in (self.begins, self.ends) if moment > now)

    def concerns(self, node: Node) -> bool:
        """Whether a node is the one machine: it has the name, and every identity that the waiver gives."""
        return node.name == self.machine.name and strange_identity(node, self.machine) is None


def is_person(user: str) -> bool:
    """Whether a user name may ask and approve."""
    return not user.startswith(_ROBOTS)


def approvers(waiver: ResidencyWaiver, approvals: Iterable[WaiverApproval]) -> tuple[str, ...]:
    """Those whose approvals count, sorted, one name for each of them.

    An approval counts for the very object that it names by its uid and whose requester it knows. Names that differ in
    upper and lower case are taken for one person's, here and between requester and approver.
    """
    people: dict[str, str] = {}
    for approval in approvals:
        spec = approval.spec
        counts = (
            (spec.waiver, spec.waiver_uid) == (waiver.metadata.name, waiver.metadata.uid)
            and spec.requester == waiver.spec.requester
            and spec.approver.casefold() != waiver.spec.requester.casefold()
            and is_person(spec.approver)
            and approval.metadata.deletion_timestamp is None
        )
        if counts:
            known = people.setdefault(spec.approver.casefold(), spec.approver)
            people[spec.approver.casefold()] = min(known, spec.approver)
    return tuple(sorted(people.values()))


def objection(policy: CompiledPolicy, waiver: ResidencyWaiver, approvals: Iterable[WaiverApproval]) -> Problem | None:
    """Why a waiver of this policy cannot count, whatever the time; None when it is approved."""
    spec, terms = waiver.spec, policy.spec.waivers
    if terms is None:
        said = f"{policy.by} allows no waivers; give it spec.waivers, or run on a node inside"
        return Problem(Reason.NO_WAIVERS, said)
    if waiver.metadata.deletion_timestamp is not None:
        return Problem(Reason.WAIVER_WITHDRAWN, "the waiver is being deleted; ask anew if it is still needed")
    if not is_person(spec.requester):
        said = f"waivers are asked for by people, but the requester is {spec.requester}; let a person ask"
        return Problem(Reason.NOT_A_PERSON, said)
    if spec.expires_at - spec.not_before > span(terms.max_duration):
        said = (
            f"{policy.by} allows waivers of at most {terms.max_duration}, but this one is for "
            f"{spec.expires_at - spec.not_before}; ask for a shorter one"
        )
        return Problem(Reason.WAIVER_TOO_LONG, said)
    counted = approvers(waiver, approvals)
    if len(counted) < terms.approvals:
        said = (
            f"{policy.by} asks for {terms.approvals} approvals by people other than {spec.requester}, but there are "
            f"{len(counted)}; let somebody make a WaiverApproval with waiver: {waiver.metadata.name}, waiverUID: "
            f"{waiver.metadata.uid}, requester: {spec.requester}"
        )
        return Problem(Reason.APPROVALS_MISSING, said)
    return None


def with_waivers(
    policy: CompiledPolicy, waivers: Iterable[ResidencyWaiver], approvals: Iterable[WaiverApproval], atlas: Atlas
) -> CompiledPolicy:
    """The policy with the approved ones of its waivers, by the name of their node. The order of neither matters."""
    about: defaultdict[str, list[WaiverApproval]] = defaultdict(list)
    for approval in approvals:
        about[approval.spec.waiver].append(approval)
    found: defaultdict[str, list[Waiver]] = defaultdict(list)
    for each in sorted(waivers, key=lambda each: each.metadata.name):
        if each.spec.policy == policy.name and objection(policy, each, about[each.metadata.name]) is None:
            found[each.spec.node.name].append(compile_waiver(policy, each, atlas))
    return replace(policy, waivers={node: tuple(each) for node, each in found.items()})


def compile_waiver(policy: CompiledPolicy, waiver: ResidencyWaiver, atlas: Atlas) -> Waiver:
    """The waiver as it is judged by, whether approved or not."""
    spec = waiver.spec
    lifted = frozenset(spec.dimensions)
    further = atlas.expand(spec.jurisdictions).places if spec.jurisdictions else None
    limits = Limits(
        by=f"{policy.by} (with waiver {waiver.metadata.name})",
        path=policy.path,
        place=policy.place and _place(policy.place, lifted, further),
        others=dict(_others(policy.others, lifted, further)),
        tolerates_unknown=policy.tolerates_unknown,
        problems=policy.problems,
    )
    return Waiver(waiver.metadata.name, spec.node, limits, spec.not_before, spec.expires_at)


def _place(limit: PlaceLimit, lifted: frozenset[Waivable], further: frozenset[str] | None) -> PlaceLimit | None:
    """What is still asked of the place; None when nothing is.

    How well and how recently somebody vouches is asked of a place that is known, so as long as either is asked, a place
    that nobody knows stays outside.
    """
    bounds, assurance, max_age = limit.bounds, limit.assurance, limit.max_age
    if Waivable.ASSURANCE in lifted:
        assurance = Assurance.DECLARED
    if Waivable.AGE in lifted:
        max_age = None
    if Waivable.PLACE in lifted:
        if further is None and Waivable.ASSURANCE in lifted and max_age is None:
            return None
        bounds = _widened(bounds, _ANYWHERE if further is None else further)
    return replace(limit, bounds=bounds, assurance=assurance, max_age=max_age)


def _others(
    asked: Mapping[Dimension, Bounds], lifted: frozenset[Waivable], further: frozenset[str] | None
) -> Iterable[tuple[Dimension, Bounds]]:
    """What is still asked besides the place."""
    for dimension, bounds in asked.items():
        if Waivable(dimension.value) not in lifted:
            yield dimension, bounds
        elif further is not None:
            yield dimension, _widened(bounds, further)


def _widened(bounds: Bounds, further: frozenset[str]) -> Bounds:
    """The bounds with places that are inside even where the policy denies them.

    Where the policy denies something that cannot be resolved, everything but these stays outside.
    """
    if bounds.unresolved:
        return replace(bounds, allow=frozenset(), unresolved="", waived=further)
    return replace(bounds, waived=further)
