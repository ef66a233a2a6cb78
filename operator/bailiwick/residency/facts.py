"""What is believed about a node, how well it is vouched for, and by whom."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.api.nodestatement import Machine, NodeStatement, OriginFact
from bailiwick.api.resource import Assurance
from bailiwick.residency.dimensions import WORDING, Dimension
from bailiwick.residency.jurisdictions import contains
from bailiwick.residency.nodes import Node
from bailiwick.residency.regions import region_of
from bailiwick.residency.verdict import Problem, Reason


def seconds_until(moments: Iterable[datetime], now: datetime) -> float | None:
    """How soon time alone changes an answer: seconds to the first of the moments, never below 0; None without any."""
    first = min(moments, default=None)
    return max((first - now).total_seconds(), 0.0) if first else None


@dataclass(frozen=True, slots=True)
class Voucher:
    """Somebody who vouches for a fact. A source that always speaks of now, such as a providerID, has no dates."""

    assurance: Assurance
    by: str
    issued: datetime | None = None
    until: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Whether it no longer counts."""
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True)
class Fact:
    """One answer, and everybody who vouches for it, best assurance first; there is always somebody.

    ``jurisdictions`` are countries or subdivisions, sorted; of several all must be inside.
    """

    jurisdictions: tuple[str, ...]
    vouchers: tuple[Voucher, ...]

    @property
    def jurisdiction(self) -> str:
        """The answer as text: ``DE``, or ``KR, TW``. A place is always one."""
        return ", ".join(self.jurisdictions)

    @property
    def assurance(self) -> Assurance:
        """How well the best of them vouches."""
        return self.vouchers[0].assurance

    @property
    def by(self) -> str:
        """Who vouches best."""
        return self.vouchers[0].by


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, and why. The message is a sentence about the node, with what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is believed about one node as of one moment.

    ``next_change`` is when time alone changes the facts; until then they hold if nothing new is said.
    """

    node: Node
    place: Fact | Unknown
    control: Fact | Unknown
    brand: Fact | Unknown
    manufacture: Fact | Unknown
    design: Fact | Unknown
    problems: tuple[Problem, ...]
    next_change: datetime | None

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.name

    @property
    def called(self) -> str:
        """What it is and its name, for messages: ``node worker-1``."""
        return _called(self.node)

    def answer(self, dimension: Dimension) -> Fact | Unknown:
        """What is believed in one dimension."""
        match dimension:
            case Dimension.PLACE:
                return self.place
            case Dimension.CONTROL:
                return self.control
            case Dimension.BRAND:
                return self.brand
            case Dimension.MANUFACTURE:
                return self.manufacture
            case Dimension.DESIGN:
                return self.design


@dataclass(frozen=True, slots=True)
class Standing:
    """What a statement is worth in one dimension. Without an assurance it vouches for nothing, and a problem says why.

    ``until`` ends it before the statement itself ends, such as the end of the key that signed it.
    """

    assurance: Assurance | None
    by: str
    until: datetime | None = None
    problem: Problem | None = None


Statement = NodeStatement | EndpointStatement
Vouching = Callable[[Statement, Dimension], Standing]
"""How well a statement vouches for its answer in one dimension: where signatures and authorities come in."""


def declared(statement: Statement, _dimension: Dimension) -> Standing:
    """Nobody checks signatures, so whatever anybody says is Declared, signed or not."""
    return Standing(Assurance.DECLARED, name_of(statement))


def name_of(statement: Statement) -> str:
    """Kind and name of a statement."""
    return f"{type(statement).__name__} {statement.metadata.name}"


def answers_of(statement: Statement, dimension: Dimension) -> tuple[str, ...]:
    """What a statement says in one dimension; empty when it says nothing."""
    spec = statement.spec
    origin = spec.origin or OriginFact()
    match dimension:
        case Dimension.PLACE:
            return (spec.place.jurisdiction,) if spec.place else ()
        case Dimension.CONTROL:
            return (spec.control.jurisdiction,) if spec.control else ()
        case Dimension.BRAND:
            return origin.brand
        case Dimension.MANUFACTURE:
            return origin.manufacture
        case Dimension.DESIGN:
            return origin.design


def gather_all(
    nodes: Iterable[Node], statements: Iterable[NodeStatement], now: datetime, *, vouching: Vouching = declared
) -> list[NodeFacts]:
    """The facts about many nodes, in their order. Looks at every statement once, where `gather` looks at all."""
    about: dict[str, list[NodeStatement]] = {}
    for statement in statements:
        about.setdefault(statement.spec.node.name, []).append(statement)
    return [gather(node, about.get(node.name, ()), now, vouching=vouching) for node in nodes]


def gather(
    node: Node, statements: Iterable[NodeStatement], now: datetime, *, vouching: Vouching = declared
) -> NodeFacts:
    """What is believed about a node as of ``now``, from its providerID and from statements about it.

    - A statement counts if it gives the node's name and every identity that it gives is the node's.
    - The best assurance wins. Sources that differ, none of them better, leave the answer unknown: none is picked.
    - A statement that has ended vouches for nothing. An answer that it denied stays unknown until somebody removes it
      or issues a statement after its end: a contradiction does not go away by waiting, so time brings no node inside.
    - A virtual node stands for another cluster: its providerID does not tell where its pods run.
    - Labels are never read, because kubelets write them.
    """
    ours = sorted(
        (statement for statement in statements if statement.spec.node.name == node.name),
        key=lambda statement: statement.metadata.name,
    )
    strange = {
        statement.metadata.name: Problem(Reason.IDENTITY_MISMATCH, why)
        for statement in ours
        if (why := _mismatch(node, statement))
    }
    return believe(node, ours, strange, now, vouching=vouching)


def believe(
    node: Node, ours: Sequence[Statement], strange: Mapping[str, Problem], now: datetime, *, vouching: Vouching
) -> NodeFacts:
    """What follows from statements about one machine; ``strange`` are those, by name, that mean another after all."""
    problems = list(strange.values())
    moments = [moment for each in ours for moment in (each.spec.issued_at, each.spec.expires_at)]
    answers: dict[Dimension, Fact | Unknown] = {}
    for dimension in Dimension:
        spoken = [each for each in ours if answers_of(each, dimension)]
        standings = [vouching(each, dimension) for each in spoken]
        claims = _provider_says(node, dimension) + [
            _statement_says(each, dimension, standing, strange)
            for each, standing in zip(spoken, standings, strict=True)
        ]
        answers[dimension], doubts = _settle(node, dimension, claims, now)
        problems.extend(standing.problem for standing in standings if standing.problem)
        problems.extend(doubts)
        moments.extend(standing.until for standing in standings if standing.until)
    return NodeFacts(
        node=node,
        place=answers[Dimension.PLACE],
        control=answers[Dimension.CONTROL],
        brand=answers[Dimension.BRAND],
        manufacture=answers[Dimension.MANUFACTURE],
        design=answers[Dimension.DESIGN],
        problems=tuple(dict.fromkeys(problems)),
        next_change=min((moment for moment in moments if moment > now), default=None),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """What one source says in one dimension. ``void`` tells why it does not count, whatever the time."""

    jurisdictions: tuple[str, ...]
    voucher: Voucher
    void: Problem | None = None

    def __str__(self) -> str:
        return f"{', '.join(self.jurisdictions)} ({self.voucher.assurance} by {self.voucher.by})"


def in_order(jurisdictions: Iterable[str]) -> tuple[str, ...]:
    """Jurisdictions as facts give them."""
    return tuple(sorted(set(jurisdictions)))


def _mismatch(node: Node, statement: NodeStatement) -> str:
    """By which identity a statement means another machine; empty when all that it gives are the node's."""
    strange = strange_identity(node, statement.spec.node)
    if strange is None:
        return ""
    what, given, seen = strange
    return (
        f"NodeStatement {statement.metadata.name} speaks of a machine with {what} {given!r}, but node {node.name} has "
        f"{seen!r}; if the machine was replaced, issue a statement about the new one and remove this one"
    )


def strange_identity(node: Node, machine: Machine) -> tuple[str, str, str] | None:
    """The first identity by which another machine than the node is meant: which one, as given, and as the node's."""
    for what, given, seen in (
        ("uid", machine.uid, node.uid),
        ("machineID", machine.machine_id, node.machine_id),
        ("systemUUID", machine.system_uuid, node.system_uuid),
        ("providerID", machine.provider_id, node.provider_id),
    ):
        # An empty identity names no machine, and must not match a node that tells none.
        if given is not None and (not given or given != seen):
            return what, given, seen
    return None


def _provider_says(node: Node, dimension: Dimension) -> list[Claim]:
    """What the cloud provider asserts by the providerID of a real machine."""
    region = None if node.virtual else region_of(node.provider_id)
    if region is None:
        return []
    says = {Dimension.PLACE: (region.country,), Dimension.CONTROL: region.operator}.get(dimension, ())
    by = f"providerID: {region.provider} {region.name}"
    return [Claim(in_order(says), Voucher(Assurance.ASSERTED, by))] if says else []


def _statement_says(
    statement: Statement, dimension: Dimension, standing: Standing, strange: Mapping[str, Problem]
) -> Claim:
    spec = statement.spec
    until = min(spec.expires_at, standing.until) if standing.until else spec.expires_at
    assurance = standing.assurance or Assurance.DECLARED
    void = strange.get(statement.metadata.name) or (standing.problem if standing.assurance is None else None)
    voucher = Voucher(assurance, standing.by, spec.issued_at, until)
    return Claim(in_order(answers_of(statement, dimension)), voucher, void)


def _settle(
    node: Node, dimension: Dimension, claims: Sequence[Claim], now: datetime
) -> tuple[Fact | Unknown, list[Problem]]:
    """The answer that follows from all claims as of ``now``, and what is doubtful about it."""
    begun = [claim for claim in claims if not claim.void and not (claim.voucher.issued and claim.voucher.issued > now)]
    live = [claim for claim in begun if not claim.voucher.expired(now)]
    lapsed = [claim for claim in begun if claim.voucher.expired(now)]
    if live:
        return weigh(node, dimension, live, [claim for claim in lapsed if not _superseded(claim, live)])
    return _nothing_counts(node, dimension, claims, lapsed), []


def _superseded(lapsed: Claim, live: Iterable[Claim]) -> bool:
    """Whether somebody has spoken since a claim ended."""
    until = lapsed.voucher.until
    return any(until and claim.voucher.issued and claim.voucher.issued >= until for claim in live)


def weigh(
    node: Node, dimension: Dimension, live: Sequence[Claim], lapsed: Sequence[Claim]
) -> tuple[Fact | Unknown, list[Problem]]:
    """The best assurance wins, unless somebody of at least that assurance says, or said until the end, otherwise."""
    strongest_first = sorted(live, key=lambda claim: -claim.voucher.assurance.rank)
    best = strongest_first[0]
    rank = best.voucher.assurance.rank
    question = WORDING[dimension].question.format(_called(node))
    for other in (*strongest_first, *lapsed):
        if other.voucher.assurance.rank >= rank and other.jurisdictions != best.jurisdictions:
            said = f"{other} until it ended {_end(other)}" if other in lapsed else str(other)
            why = f"it is disputed {question}: {best}, but {said}; remove the statement that is wrong"
            return Unknown(Reason.STATEMENTS_DISAGREE, why), [Problem(Reason.STATEMENTS_DISAGREE, why)]
    doubts = [
        Problem(
            Reason.STATEMENTS_DISAGREE,
            f"it is disputed {question}: {best} prevails over {other}; remove the statement that is wrong",
        )
        for other in strongest_first
        if _contradict(best, other)
    ]
    vouchers = tuple(claim.voucher for claim in strongest_first if claim.jurisdictions == best.jurisdictions)
    return Fact(best.jurisdictions, vouchers), doubts


def _contradict(one: Claim, other: Claim) -> bool:
    """Whether both cannot be true. A country and a part of it can."""
    if len(one.jurisdictions) == len(other.jurisdictions) == 1:
        here, there = one.jurisdictions[0], other.jurisdictions[0]
        return not (contains(frozenset({here}), there) or contains(frozenset({there}), here))
    return one.jurisdictions != other.jurisdictions


def _nothing_counts(node: Node, dimension: Dimension, claims: Sequence[Claim], lapsed: Sequence[Claim]) -> Unknown:
    """Why there is no answer, by the best that was ever said."""
    question = WORDING[dimension].question.format(_called(node))
    for claim in claims:
        if claim.void:
            return Unknown(claim.void.reason, f"nobody vouches for {question}: {claim.void.message}")
    if lapsed:
        last = max(lapsed, key=lambda claim: claim.voucher.until.timestamp() if claim.voucher.until else 0.0)
        why = f"nobody vouches any more for {question}: {last} ended {_end(last)}; issue a new statement"
        return Unknown(Reason.STATEMENT_EXPIRED, why)
    for claim in claims:
        begins = f"{claim.voucher.issued:%Y-%m-%d %H:%M} UTC"
        why = f"nobody vouches yet for {question}: {claim} begins {begins}; issue one that holds now"
        return Unknown(Reason.STATEMENT_NOT_YET_VALID, why)
    if node.virtual and dimension in (Dimension.PLACE, Dimension.CONTROL):
        why = (
            f"node {node.name} stands in for another cluster ({node.virtual}), and nobody vouches for {question}; "
            f"make a NodeStatement about it if its pods may run there"
        )
        return Unknown(Reason.VIRTUAL_NODE, why)
    wanted = "a NodeStatement" if node.what == "node" else "an EndpointStatement"
    why = f"nobody vouches for {question}; make {wanted} about the {node.what}"
    return Unknown(WORDING[dimension].unknown, why)


def _called(node: Node) -> str:
    return f"{node.what} {node.name}"


def _end(claim: Claim) -> str:
    return f"{claim.voucher.until:%Y-%m-%d}"
