"""What is different between two standings: what a change stops, what it lets in, what it only records. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.audit import last_step
from bailiwick.residency.verdict import ALLOWED
from bailiwick.residency.widening import Widening, widenings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.cli.whatif.standing import Found, Outside, Place, Rule, Standing
    from bailiwick.cli.whatif.subjects import Subject
    from bailiwick.residency.egress import Destination

_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True, order=True)
class NodeMove:
    """A node that comes into a territory (``reason``: why it was outside) or falls out (why it is outside then)."""

    node: str
    place: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, order=True)
class NamespaceMove:
    """A namespace that a policy begins or ceases to govern. ``alone``: no other policy governs it."""

    namespace: str
    pods: int
    alone: bool


@dataclass(frozen=True, slots=True, order=True)
class ObjectMove:
    """What the API server says of somebody's object, or of the pods that somebody makes: before and afterwards.

    ``pods`` is 0 where it is the object itself. ``besides``: the object is refused in the other standing, too, by
    another rule, so that this one alone changes nothing for it.
    """

    subject: Subject
    reason: str
    guard: str
    message: str
    pods: int
    was: Mode | None
    becomes: Mode | None
    besides: bool


@dataclass(frozen=True, slots=True, order=True)
class PodsMove:
    """Pods that run, or claims that are bound, of which a policy begins or ceases to say that they are outside."""

    subject: Subject
    reason: str
    message: str
    where: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True, order=True)
class ModelMove:
    """A model that more or fewer nodes could take. For one that is served outside, the endpoint counts as its node."""

    subject: Subject
    before: int
    after: int
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, order=True)
class SpaceMove:
    """A governed namespace whose pods find no node any more, or may reach less than before, or more."""

    namespace: str
    pods: int
    before: int
    after: int
    cut: bool
    opened: bool

    @property
    def stranded(self) -> bool:
        """Whether no node is left."""
        return self.before > 0 and self.after == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMove:
    """What becomes of one policy, and what follows. ``was`` and ``becomes`` are its modes, None where it is not there.

    ``stopped`` is refused afterwards and was not, ``let_in`` the reverse; ``recorded`` is only warned of or recorded.
    ``would`` counts objects and pods that it refuses in mode Enforce, whatever its mode is.
    """

    name: str
    was: Mode | None
    becomes: Mode | None
    changed: bool
    widenings: tuple[Widening, ...]
    nodes: tuple[int, int]
    come: tuple[NodeMove, ...]
    go: tuple[NodeMove, ...]
    governed: tuple[NamespaceMove, ...]
    released: tuple[NamespaceMove, ...]
    stopped: tuple[ObjectMove, ...]
    let_in: tuple[ObjectMove, ...]
    recorded: tuple[ObjectMove, ...]
    outside: tuple[int, int]
    """Pods and claims that are outside, before and afterwards."""
    newly_outside: tuple[PodsMove, ...]
    inside_again: tuple[PodsMove, ...]
    would: tuple[int, int]
    follows: str
    """What is done about pods that are outside."""

    @property
    def enforces(self) -> bool:
        """Whether it refuses afterwards."""
        return self.becomes is Mode.ENFORCE

    @property
    def nothing(self) -> bool:
        """Whether it is what it was, and so is all that follows."""
        moved = (*self.widenings, *self.come, *self.go, *self.governed, *self.released, *self.stopped, *self.let_in)
        rest = (*self.recorded, *self.newly_outside, *self.inside_again)
        return not self.changed and not moved and not rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that is different. ``others`` hang on no single policy, such as models where none governs any more."""

    policies: tuple[PolicyMove, ...]
    others: tuple[ObjectMove, ...]
    spaces: tuple[SpaceMove, ...]
    models: tuple[ModelMove, ...]
    seen: Mapping[str, int] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()

    @property
    def widenings(self) -> tuple[Widening, ...]:
        """Everything that is let in more than before."""
        return tuple(each for policy in self.policies for each in policy.widenings)

    @property
    def stopped(self) -> tuple[ObjectMove, ...]:
        """What the API server takes today, and then refuses."""
        moves = [*self.others, *(each for policy in self.policies for each in policy.stopped)]
        return tuple(each for each in moves if each.becomes is Mode.ENFORCE and not each.besides)

    @property
    def stops(self) -> bool:
        """Whether anything that goes on today would not."""
        return bool(
            self.stopped
            or any(each.enforces and each.newly_outside for each in self.policies)
            or any(each.before and not each.after for each in self.models)
            or any(each.pods and (each.stranded or each.cut) for each in self.spaces)
        )


def compare(before: Standing, after: Standing) -> Report:
    """All differences, by policy, worst first."""
    objects = _objects(before, after)
    moves = (
        _policy(name, before, after, objects.get(name, ())) for name in sorted({*before.policies, *after.policies})
    )
    found = [each for each in moves if not each.nothing]
    return Report(
        policies=tuple(sorted(found, key=lambda each: (not each.widenings, not each.stopped, each.name))),
        others=tuple(objects.get("", ())),
        spaces=tuple(_spaces(before, after)),
        models=tuple(sorted(_models(before, after), key=lambda each: (each.after > 0, each.after - each.before, each))),
        unseen=tuple(f"{what}: {count} objects" for what, count in sorted(after.unjudged.items())),
    )


def _policy(name: str, before: Standing, after: Standing, objects: Sequence[ObjectMove]) -> PolicyMove:
    old, new = before.policies.get(name), after.policies.get(name)
    come, go = _nodes(name, before, after)
    governed, released = _namespaces(name, before, after), _namespaces(name, after, before)
    outside = tuple(
        sum(each.count for key, each in side.outside.items() if key.policy == name) for side in (before, after)
    )
    refused = {key: each for key, each in after.refusals.items() if key.policy == name}
    return PolicyMove(
        name=name,
        was=old.mode if old else None,
        becomes=new.mode if new else None,
        changed=(old and old.spec) != (new and new.spec),
        widenings=(
            *widenings(old, new),
            *_by_effect(name, come if new else (), released),
        ),
        nodes=(_inside(name, before), _inside(name, after)),
        come=come,
        go=go,
        governed=governed,
        released=released,
        stopped=tuple(each for each in objects if each.becomes is Mode.ENFORCE),
        let_in=tuple(each for each in objects if each.was is Mode.ENFORCE),
        recorded=tuple(each for each in objects if Mode.ENFORCE not in (each.was, each.becomes) and each.becomes),
        outside=(outside[0], outside[1]),
        newly_outside=tuple(_newly(name, before.outside, after.outside)),
        inside_again=tuple(_newly(name, after.outside, before.outside)),
        would=(len({key.subject for key in refused}), _pods(refused)),
        follows=_follows(after, name),
    )


def _pods(refused: Mapping[Rule, object]) -> int:
    """Pods of all subjects, each counted once however many rules it breaks."""
    most: defaultdict[Subject, int] = defaultdict(int)
    for key, each in refused.items():
        most[key.subject] = max(most[key.subject], getattr(each, "pods", 0))
    return sum(most.values())


def _inside(policy: str, standing: Standing) -> int:
    return sum(each.allowed for each in standing.verdicts.get(policy, {}).values())


def _nodes(policy: str, before: Standing, after: Standing) -> tuple[tuple[NodeMove, ...], tuple[NodeMove, ...]]:
    """Nodes that come in and go out; to a policy that is not there every node is inside."""
    come, go = [], []
    was, becomes = before.verdicts.get(policy, {}), after.verdicts.get(policy, {})
    for node in sorted({*was, *becomes}):
        old, new, place = was.get(node, ALLOWED), becomes.get(node, ALLOWED), after.places.get(node, "")
        if new.allowed and not old.allowed:
            come.append(NodeMove(node, place, old.reason, old.message))
        elif old.allowed and not new.allowed:
            go.append(NodeMove(node, place, new.reason, new.message))
    return tuple(come), tuple(go)


def _namespaces(policy: str, before: Standing, after: Standing) -> tuple[NamespaceMove, ...]:
    """Namespaces that the policy governs in ``after`` and not in ``before``."""
    return tuple(
        NamespaceMove(name, after.pods.get(name, 0), not before.governing.get(name, ()))
        for name, governing in sorted(after.governing.items())
        if policy in governing and policy not in before.governing.get(name, ())
    )


def _by_effect(policy: str, come: Sequence[NodeMove], released: Sequence[NamespaceMove]) -> Iterator[Widening]:
    if come:
        told = [f"{each.node} ({each.place or 'nobody knows where'})" for each in come]
        yield Widening(policy, "nodes", f"{some(told)} {'comes' if len(told) == 1 else 'come'} inside")
    if released:
        names = [each.namespace for each in released]
        yield Widening(policy, "spec.namespaceSelector", f"{some(names)} {'is' if len(names) == 1 else 'are'} let go")


def _objects(before: Standing, after: Standing) -> dict[str, list[ObjectMove]]:
    """By policy, every rule whose outcome for somebody differs."""
    refused = [
        {key.subject for key, each in side.refusals.items() if each.mode is Mode.ENFORCE} for side in (before, after)
    ]
    found: defaultdict[str, list[ObjectMove]] = defaultdict(list)
    for key in sorted({*before.refusals, *after.refusals}):
        old, new = before.refusals.get(key), after.refusals.get(key)
        was, becomes = old.mode if old else None, new.mode if new else None
        told = new or old
        if was is becomes or told is None:
            continue
        besides = key.subject in refused[0] if becomes is Mode.ENFORCE else key.subject in refused[1]
        found[key.policy].append(
            ObjectMove(key.subject, key.reason, key.guard, told.message, told.pods, was, becomes, besides)
        )
    for moves in found.values():
        moves.sort(key=lambda each: (each.besides, -each.pods, each.subject, each.reason))
    return found


def _newly(policy: str, before: Mapping[Outside, Found], after: Mapping[Outside, Found]) -> Iterator[PodsMove]:
    """What is outside in ``after`` and was not in ``before``, for whatever reason it was."""
    known = {(key.subject, key.where) for key in before if key.policy == policy}
    groups: defaultdict[tuple[Subject, str], list[Outside]] = defaultdict(list)
    for key in sorted(after):
        if key.policy == policy and (key.subject, key.where) not in known:
            groups[key.subject, key.reason].append(key)
    for (subject, reason), keys in groups.items():
        count = sum(after[key].count for key in keys)
        yield PodsMove(subject, reason, after[keys[0]].message, tuple(key.where for key in keys), count)


def _follows(standing: Standing, name: str) -> str:
    """What is done about pods that run outside."""
    policy = standing.policies.get(name)
    if policy is None:
        return ""
    step, violation = last_step(policy), policy.spec.violation
    if policy.mode is not Mode.ENFORCE:
        return "reported, whatever spec.violation says: the policy does not enforce"
    match step.word:
        case "Report":
            return "reported, and left alone"
        case "Quarantine":
            return "quarantined at once"
        case word:
            first = "quarantined" if word == "Evict" else "evicted"
            last = "evicted" if word == "Evict" else "deleted"
            return f"{first} at once, {last} after {violation.after if violation else ''}"


def _models(before: Standing, after: Standing) -> Iterator[ModelMove]:
    for subject in sorted(before.models.keys() & after.models.keys()):
        old, new = before.models[subject], after.models[subject]
        if old.nodes != new.nodes:
            lost, gained = tuple(sorted(old.nodes - new.nodes)), tuple(sorted(new.nodes - old.nodes))
            why = _why(subject, lost, new, after) if lost else ""
            yield ModelMove(subject, len(old.nodes), len(new.nodes), lost, gained, why)


def _why(subject: Subject, lost: Sequence[str], place: Place, after: Standing) -> str:
    """Of the first node that is lost: what the first policy that refuses it says."""
    verdicts = (after.verdicts[policy].get(lost[0]) for policy in after.governing.get(subject.namespace, ()))
    return next((str(each) for each in verdicts if each and not each.allowed), place.why)


def _spaces(before: Standing, after: Standing) -> Iterator[SpaceMove]:
    everywhere = frozenset(after.places)
    for name in sorted(before.governing.keys() & after.governing.keys()):
        if not before.governing[name] and not after.governing[name]:
            continue
        was, becomes = before.reaches[name], after.reaches[name]
        move = SpaceMove(
            namespace=name,
            pods=after.pods.get(name, 0),
            before=len(before.open_to.get(name, everywhere)),
            after=len(after.open_to.get(name, everywhere)),
            cut=_less(was, becomes),
            opened=_less(becomes, was),
        )
        if move.stranded or move.cut or move.opened:
            yield move


def _less(before: Sequence[Destination] | None, after: Sequence[Destination] | None) -> bool:
    """Whether something that was reached is not any more; None reaches everything."""
    if after is None:
        return False
    return before is None or any(not any(one.within(each) == one for each in after) for one in before)


def some(names: Sequence[str], most: int = _EXAMPLES) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
