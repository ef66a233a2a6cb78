"""Whether a node is inside: the rules of residency, each a function from what is known to a verdict.

Admission, territories, audit and the command line all judge by the same tuple.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from bailiwick.residency.dimensions import WORDING, Dimension
from bailiwick.residency.facts import Fact, NodeFacts, Unknown, Voucher
from bailiwick.residency.policies import Bounds, Limits, PlaceLimit
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse, strictest, tolerate
from bailiwick.residency.waivers import Waiver

Rule = Callable[[Limits, NodeFacts, datetime], Verdict]
_INSIDE = {"node": "run on a node inside", "endpoint": "serve from an endpoint inside"}


def stands_inside(limits: Limits, facts: NodeFacts, now: datetime) -> Verdict:
    """The node stands in an allowed jurisdiction, and somebody good enough said so recently enough."""
    limit = limits.place
    if limit is None:
        return ALLOWED
    if limit.bounds.unresolved:
        return _unresolved(limits, limit.bounds, Dimension.PLACE)
    if isinstance(facts.place, Unknown):
        return refuse(facts.place.reason, _but(limits, limit.bounds, facts.place))
    outside = _outside(limits, limit.bounds, facts, Dimension.PLACE, facts.place)
    return outside or _well_vouched(limits, limit, facts, facts.place, now)


def is_controlled_inside(limits: Limits, facts: NodeFacts, now: datetime) -> Verdict:
    """No foreign law reaches the party that operates the node."""
    return _answered_inside(limits, facts, Dimension.CONTROL, now)


def has_allowed_origin(limits: Limits, facts: NodeFacts, now: datetime) -> Verdict:
    """The hardware carries an allowed brand, and was made and designed in allowed countries."""
    asked = (Dimension.BRAND, Dimension.MANUFACTURE, Dimension.DESIGN)
    return strictest(_answered_inside(limits, facts, dimension, now) for dimension in asked)


RULES: tuple[Rule, ...] = (stands_inside, is_controlled_inside, has_allowed_origin)
"""First refusal wins, and is the one reported."""


def judge(limits: Limits, facts: NodeFacts, now: datetime) -> Verdict:
    """Whether a node is inside for one policy, or for a model's own limits: by itself, or by one waiver."""
    verdict = strictest(rule(limits, facts, now) for rule in RULES)
    if verdict.allowed:
        return verdict
    waiver = waived_by(limits, facts, now)
    if waiver is None:
        return verdict
    until = f"{waiver.ends:%Y-%m-%d %H:%M:%S} UTC"
    return tolerate(Reason.WAIVED, f"inside by waiver {waiver.name} until {until}, in spite of {verdict}")


def waived_by(limits: Limits, facts: NodeFacts, now: datetime) -> Waiver | None:
    """The one waiver that makes a node resident. Each is judged alone; of several that do, the first by name."""
    for waiver in limits.waivers.get(facts.name, ()):
        if waiver.holds(now) and waiver.concerns(facts.node) and judge(waiver.limits, facts, now).allowed:
            return waiver
    return None


def judge_all(limits: Iterable[Limits], facts: NodeFacts, now: datetime) -> Verdict:
    """Whether a node is inside for all of them together: every one must allow, in whatever order they are given."""
    return strictest(judge(each, facts, now) for each in sorted(limits, key=lambda each: each.by))


def _answered_inside(limits: Limits, facts: NodeFacts, dimension: Dimension, now: datetime) -> Verdict:
    """The answer to a question other than place is inside.

    ``unknown: Warn`` tolerates that nobody ever said anything. It does not tolerate a statement that has ended, names
    another machine or is disputed, or a node could come inside by the mere end of a statement that keeps it out.
    """
    bounds, answer = limits.bounds(dimension), facts.answer(dimension)
    if bounds is None:
        return ALLOWED
    if bounds.unresolved:
        return _unresolved(limits, bounds, dimension)
    if isinstance(answer, Unknown):
        tolerated = limits.tolerates_unknown and answer.reason is WORDING[dimension].unknown
        return (tolerate if tolerated else refuse)(answer.reason, _but(limits, bounds, answer))
    outside = _outside(limits, bounds, facts, dimension, answer)
    if outside:
        return outside
    if all(voucher.expired(now) for voucher in answer.vouchers):
        return _expired(limits, facts, dimension, answer, answer.vouchers[0])
    return ALLOWED


def _but(limits: Limits, bounds: Bounds, answer: Unknown) -> str:
    return f"{limits.by} allows {bounds.allow_names}, but {answer.message}"


def _outside(limits: Limits, bounds: Bounds, facts: NodeFacts, dimension: Dimension, fact: Fact) -> Verdict | None:
    """The refusal of the first jurisdiction that is outside; None when all are inside."""
    for jurisdiction in fact.jurisdictions:
        objection = bounds.objection(jurisdiction)
        if objection:
            words = WORDING[dimension]
            return refuse(
                words.wrong,
                f"{words.answer.format(facts.called)} {jurisdiction} ({fact.assurance} by {fact.by}), but {limits.by} "
                f"{objection}; {_INSIDE[facts.node.what]}, or change {limits.path}.{words.field}",
            )
    return None


def _well_vouched(limits: Limits, limit: PlaceLimit, facts: NodeFacts, fact: Fact, now: datetime) -> Verdict:
    asked = limit.assurance.rank
    good = [voucher for voucher in fact.vouchers if voucher.assurance.rank >= asked]
    if not good:
        return refuse(
            Reason.ASSURANCE_TOO_LOW,
            f"{facts.called} stands in {fact.jurisdiction} as {fact.assurance} by {fact.by}, but {limits.by} asks "
            f"for {limit.assurance} or better; have its place vouched for, or lower {limits.path}.place.assurance",
        )
    live = [voucher for voucher in good if not voucher.expired(now)]
    if not live:
        return _expired(limits, facts, Dimension.PLACE, fact, good[0])
    if not any(_fresh(voucher, limit, now) for voucher in live):
        newest = max(live, key=lambda voucher: voucher.issued or now)
        return refuse(
            Reason.STATEMENT_TOO_OLD,
            f"where {facts.called} stands was last stated on {newest.issued:%Y-%m-%d} by {newest.by}, but "
            f"{limits.by} asks for a statement younger than {limit.max_age_asked}; issue a new one",
        )
    return ALLOWED


def _fresh(voucher: Voucher, limit: PlaceLimit, now: datetime) -> bool:
    return limit.max_age is None or voucher.issued is None or now - voucher.issued < limit.max_age


def _expired(limits: Limits, facts: NodeFacts, dimension: Dimension, fact: Fact, voucher: Voucher) -> Verdict:
    return refuse(
        Reason.STATEMENT_EXPIRED,
        f"{WORDING[dimension].answer.format(facts.called)} {fact.jurisdiction} by {voucher.by}, but that ended on "
        f"{voucher.until:%Y-%m-%d} and {limits.by} asks for a statement that holds; issue a new one",
    )


def _unresolved(limits: Limits, bounds: Bounds, dimension: Dimension) -> Verdict:
    return refuse(
        Reason.UNKNOWN_JURISDICTION,
        f"{limits.by} denies in {limits.path}.{WORDING[dimension].field} what cannot be resolved and may be any place: "
        f"{bounds.unresolved}",
    )
