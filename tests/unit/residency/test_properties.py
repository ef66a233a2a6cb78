"""What must stay true of residency, whatever is said and asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bailiwick.api.resource import Assurance
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.facts import Fact, gather_all
from bailiwick.residency.jurisdictions import Atlas, touching
from bailiwick.residency.provenance import with_provenance
from bailiwick.residency.rules import judge, judge_all
from bailiwick.residency.territories import compile_territory
from tests.unit.residency.given import (
    FRANKFURT,
    VIRGINIA,
    accelerator,
    day,
    facts,
    jurisdiction,
    node,
    policy,
    statement,
    vouched,
)

if TYPE_CHECKING:
    from bailiwick.api.nodestatement import NodeStatement
    from bailiwick.residency.policies import CompiledPolicy

PLACES = ("DE", "DE-BY", "DE-BE", "FR", "US", "CN", "CN-HK", "HK")
WORLD = Atlas([
    jurisdiction("EU", "DE", "FR"),
    jurisdiction("ALLIES", "EU", "US"),
    jurisdiction("BROKEN", "FR", "ATLANTIS"),
    jurisdiction("CIRCLE", "DE", "ROUND"),
    jurisdiction("ROUND", "FR", "CIRCLE"),
])  # fmt: skip

# Policies

# Weighted so that one node in seven is inside: a property about refusals alone would prove little.
ANY_NAME = (*PLACES, "EU", "ALLIES", "BROKEN", "CIRCLE", "ATLANTIS")
groups = st.sampled_from([["EU"], ["ALLIES"], ["EU", "US"], ["DE", "FR"], ["DE"]])
some = st.lists(st.sampled_from(ANY_NAME), unique=True, max_size=3)
allowing = st.builds(lambda group, more: [*group, *(name for name in more if name not in group)], groups, some)
sometimes = st.sampled_from([True, False, False, False])
denying = st.builds(lambda really, names: names if really else [], sometimes, some)
rules = st.builds(
    lambda nothing, allow, deny: {"allow": [] if nothing else allow, "deny": deny}, sometimes, allowing, denying
)
place_rules = st.builds(
    lambda rule, assurance, max_age: rule | assurance | max_age,
    rules,
    st.fixed_dictionaries({"assurance": st.sampled_from(["Declared", "Declared", "Declared", "Asserted", "Verified"])}),
    st.sampled_from([{}, {}, {"maxAge": "48h"}]),
)
origins = st.fixed_dictionaries({}, optional={"brand": rules, "design": rules})
specs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"place": place_rules, "unknown": st.sampled_from(["Deny", "Warn"])},
    optional={"control": rules, "origin": origins},
)


def compiled(spec: dict[str, Any], name: str = "health") -> CompiledPolicy:
    return policy(name, atlas=WORLD, **spec)


policies = specs.map(compiled)
several = st.lists(specs, max_size=4).map(
    lambda asked: [compiled(spec, f"p{number}") for number, spec in enumerate(asked)]
)

# What is said


@dataclass(frozen=True)
class Said:
    """A machine and the statements about it."""

    provider_id: str
    statements: tuple[NodeStatement, ...]

    def allows(self, asked: CompiledPolicy, now: float) -> bool:
        return judge(asked, facts(*self.statements, provider_id=self.provider_id, now=day(now)), day(now)).allowed


@st.composite
def statements(
    draw: st.DrawFn, *, words: tuple[str, ...] = ("declared", "asserted", "verified"), about: str = "n1"
) -> NodeStatement:
    issued = draw(st.sampled_from([0, 0, 1, 2, 3, 6, 9, 12]))
    answers: dict[str, Any] = {
        "place": draw(st.none() | st.sampled_from(PLACES)),
        "control": draw(st.none() | st.sampled_from(PLACES)),
    }
    if draw(st.booleans()):
        answers["origin"] = {"brand": draw(st.lists(st.sampled_from(PLACES), max_size=2, unique=True))}
    if not any(answers.values()):
        answers["place"] = "DE"
    return statement(
        f"{draw(st.sampled_from(words))}-{draw(st.integers(0, 999))}",
        about=about,
        issued=issued,
        expires=issued + draw(st.sampled_from([2, 4, 8, 16, 16])),
        identity=draw(st.sampled_from([{}, {}, {}, {}, {}, {}, {}, {"machineID": "m9"}])),
        **answers,
    )


def unique(said: st.SearchStrategy[NodeStatement]) -> st.SearchStrategy[tuple[NodeStatement, ...]]:
    return st.lists(said, min_size=1, max_size=4, unique_by=lambda each: each.metadata.name).map(tuple)


worlds = st.builds(Said, st.sampled_from(["", FRANKFURT, FRANKFURT, VIRGINIA]), unique(statements()))
moments = st.integers(0, 18)
often = settings(max_examples=60, deadline=None)


@often
@given(several, worlds, moments, st.randoms())
def test_the_order_of_policies_never_matters(asked: list[CompiledPolicy], said: Said, now: int, random: Any) -> None:
    known = facts(*said.statements, provider_id=said.provider_id, now=day(now))
    shuffled = random.sample(asked, len(asked))
    assert judge_all(asked, known, day(now)) == judge_all(shuffled, known, day(now))


@often
@given(several, policies, worlds, moments)
def test_adding_a_policy_never_widens(asked: list[CompiledPolicy], more: CompiledPolicy, said: Said, now: int) -> None:
    known = facts(*said.statements, provider_id=said.provider_id, now=day(now))
    if judge_all([*asked, more], known, day(now)).allowed:
        assert judge_all(asked, known, day(now)).allowed
        assert judge(more, known, day(now)).allowed


@often
@given(worlds, moments, st.randoms())
def test_the_order_of_statements_never_matters(said: Said, now: int, random: Any) -> None:
    shuffled = random.sample(said.statements, len(said.statements))
    first, second = (facts(*order, provider_id=said.provider_id, now=day(now)) for order in (said.statements, shuffled))
    assert first == second


@often
@given(policies, worlds, statements(words=("declared",)), moments)
def test_a_weaker_statement_never_opens_what_a_better_one_closes(
    asked: CompiledPolicy, said: Said, more: NodeStatement, now: int
) -> None:
    known = facts(*said.statements, provider_id=said.provider_id, now=day(now))
    assume(isinstance(known.place, Fact) and known.place.assurance is not Assurance.DECLARED)
    assume(more.metadata.name not in {each.metadata.name for each in said.statements})
    place_only = more.model_copy(update={"spec": more.spec.model_copy(update={"control": None, "origin": None})})
    told = facts(*said.statements, place_only, provider_id=said.provider_id, now=day(now))
    assert isinstance(told.place, Fact)
    assert isinstance(known.place, Fact)
    assert told.place.jurisdictions == known.place.jurisdictions
    if not asked.place or not asked.place.max_age:
        assert judge(asked, told, day(now)).allowed == judge(asked, known, day(now)).allowed


@often
@given(specs, worlds, moments, st.data())
def test_taking_a_name_from_allow_never_widens(spec: dict[str, Any], said: Said, now: int, data: st.DataObject) -> None:
    assume(spec["place"]["allow"])
    gone = data.draw(st.sampled_from(spec["place"]["allow"]))
    fewer = [name for name in spec["place"]["allow"] if name != gone]
    narrower = spec | {"place": spec["place"] | {"allow": fewer}}
    assert said.allows(compiled(narrower), now) <= said.allows(compiled(spec), now)


@often
@given(specs, worlds, moments, st.sampled_from([*PLACES, "EU", "BROKEN", "CIRCLE", "ATLANTIS"]))
def test_adding_a_name_to_deny_never_widens(spec: dict[str, Any], said: Said, now: int, name: str) -> None:
    narrower = spec | {"place": spec["place"] | {"deny": [*spec["place"]["deny"], name]}}
    assert said.allows(compiled(narrower), now) <= said.allows(compiled(spec), now)


@often
@given(policies, worlds, moments)
def test_deny_wins(asked: CompiledPolicy, said: Said, now: int) -> None:
    known = facts(*said.statements, provider_id=said.provider_id, now=day(now))
    for dimension in Dimension:
        bounds, answer = asked.bounds(dimension), known.answer(dimension)
        denied = isinstance(answer, Fact) and bounds and set(answer.jurisdictions) & touching(bounds.deny)
        if denied or (bounds and bounds.unresolved):
            assert not judge(asked, known, day(now)).allowed


@often
@given(policies, unique(statements(about="n2")), moments)
def test_a_node_of_which_nobody_says_anything_is_foreign(
    asked: CompiledPolicy, others: tuple[NodeStatement, ...], now: int
) -> None:
    assert not Said("", others).allows(asked, now)


@often
@given(policies, worlds, moments, moments)
def test_time_only_narrows_until_something_new_is_said(asked: CompiledPolicy, said: Said, now: int, later: int) -> None:
    assume(now < later)
    settled = tuple(each for each in said.statements if not day(now) < each.spec.issued_at <= day(later))
    told = Said(said.provider_id, settled)
    assert told.allows(asked, later) <= told.allows(asked, now)


@often
@given(policies, worlds, moments, moments)
def test_facts_that_are_kept_too_long_never_widen(asked: CompiledPolicy, said: Said, now: int, later: int) -> None:
    assume(now < later)
    known = facts(*said.statements, provider_id=said.provider_id, now=day(now))
    assert judge(asked, known, day(later)).allowed <= judge(asked, known, day(now)).allowed


@often
@given(policies, worlds, moments)
def test_nothing_changes_before_the_moment_that_was_announced(asked: CompiledPolicy, said: Said, now: int) -> None:
    def at(moment: float) -> Any:
        known = facts(*said.statements, provider_id=said.provider_id, now=day(moment))
        return compile_territory(asked, [known], day(moment))

    first = at(now)
    seconds = first.look_again_in
    until = day(now) + timedelta(seconds=30 * 86400 if seconds is None else seconds - 1)
    assert until >= day(now)
    again = at((until - day(0)) / timedelta(days=1))
    assert (again.spec, again.outside, again.doubts) == (first.spec, first.outside, first.doubts)


@often
@given(policies, unique(statements(about="n1")), unique(statements(about="n2")), moments, st.randoms())
def test_the_territory_is_the_nodes_that_are_judged_inside_in_whatever_order(
    asked: CompiledPolicy, one: tuple[NodeStatement, ...], two: tuple[NodeStatement, ...], now: int, random: Any
) -> None:
    nodes = [node("n1"), node("n2", provider_id=FRANKFURT), node("n3")]
    said = [*one, *two]
    known = gather_all(nodes, said, day(now), vouching=vouched)
    told = compile_territory(asked, known, day(now))
    assert set(told.nodes) == {each.name for each in known if judge(asked, each, day(now)).allowed}
    assert sum(count.count for count in told.outside) == len(nodes) - len(told.nodes)
    mixed = gather_all(random.sample(nodes, 3), random.sample(said, len(said)), day(now), vouching=vouched)
    assert compile_territory(asked, mixed, day(now)) == told


@often
@given(specs, st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_lists(spec: dict[str, Any], random: Any) -> None:
    lists = {"models": {"sources": ["oci://a", "oci://b", "oci://c"]}, "storage": {"classes": ["x", "y"]}}
    mixed = {
        "models": {"sources": random.sample(lists["models"]["sources"], 3)},
        "storage": {"classes": random.sample(["x", "y"], 2)},
    }
    first, second = (compile_territory(compiled(spec | each), [], day(0)) for each in (lists, mixed))
    assert first.digest == second.digest


@often
@given(policies, worlds, moments, st.sampled_from(PLACES), st.sampled_from(["Documented", "Unchecked"]))
def test_a_class_of_accelerators_never_overrules_a_statement(
    asked: CompiledPolicy, said: Said, now: int, place: str, confidence: str
) -> None:
    known = facts(*said.statements, provider_id=said.provider_id, now=day(now))
    filled = with_provenance(known, [accelerator(brand=([place], confidence))])
    if isinstance(known.brand, Fact):
        assert not isinstance(filled.brand, Fact) or filled.brand.jurisdictions == known.brand.jurisdictions
        assert judge(asked, filled, day(now)).allowed <= judge(asked, known, day(now)).allowed
