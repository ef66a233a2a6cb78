"""Which waivers count, and whom they let in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from bailiwick.api.residencywaiver import ResidencyWaiver, WaiverApproval
from bailiwick.residency.facts import gather
from bailiwick.residency.rules import judge, judge_all, waived_by
from bailiwick.residency.territories import compile_territory
from bailiwick.residency.waivers import approvers, objection, with_waivers
from tests.unit.residency.given import ATLAS, NOW, VIRGINIA, day, facts, node, policy, statement, vouched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy

TERMS = {"approvals": 2, "maxDuration": "48h"}
BOTH = ("bert", "cleo")
MACHINE = "m1"
DELETING = "2026-11-20T00:00:00Z"


def waiver(name: str = "w1", *lifts: str, begins: float = 19.5, ends: float = 21, **spec: Any) -> ResidencyWaiver:
    """A waiver of policy health for machine m1 as n1 from day ``begins`` to day ``ends``; day 20 is NOW."""
    metadata = {"name": name, "uid": f"uid-of-{name}", **spec.pop("metadata", {})}
    whole = {
        "policy": "health",
        "requester": "anna",
        "node": {"name": "n1", "machineID": MACHINE},
        "dimensions": list(lifts or ("place",)),
        "reason": "a test",
        "notBefore": day(begins).isoformat(),
        "expiresAt": day(ends).isoformat(),
        **spec,
    }
    return ResidencyWaiver.read({"metadata": metadata, "spec": whole})


def approval(by: str, of: str = "w1", **spec: Any) -> WaiverApproval:
    metadata = {"name": f"{of}-{by}", **spec.pop("metadata", {})}
    whole = {"waiver": of, "waiverUID": f"uid-of-{of}", "requester": "anna", "approver": by, **spec}
    return WaiverApproval.read({"metadata": metadata, "spec": whole})


def approved(*waivers: ResidencyWaiver, by: Iterable[str] = BOTH) -> list[WaiverApproval]:
    return [approval(each, of=one.metadata.name) for one in waivers for each in by]


def asked(*waivers: ResidencyWaiver, approvals: Iterable[WaiverApproval] | None = None, **spec: Any) -> CompiledPolicy:
    """Policy health with waivers; all of them approved unless it is said by whom."""
    compiled = policy(**{"waivers": TERMS, **spec})
    return with_waivers(compiled, waivers, approved(*waivers) if approvals is None else approvals, ATLAS)


def machine(*said: Any, provider_id: str = VIRGINIA, machine_id: str = MACHINE) -> NodeFacts:
    """What is believed about m1, which the provider puts into the US."""
    return facts(*said, about=node(provider_id=provider_id, machineID=machine_id))


def test_a_waiver_puts_its_machine_inside_and_says_until_when_and_in_spite_of_what() -> None:
    verdict = judge(asked(waiver()), machine(), NOW)
    assert (verdict.allowed, verdict.reason) == (True, "Waived")
    assert verdict.message.startswith(
        "inside by waiver w1 until 2026-11-22 00:00:00 UTC, in spite of WrongPlace: node n1 stands in US"
    )


def test_a_node_that_is_inside_anyway_needs_none() -> None:
    assert judge(asked(waiver(), place={"allow": ["US"]}), machine(), NOW).reason == "Allowed"


@pytest.mark.parametrize(
    ("why", "given_waiver", "spec"),
    [
        ("the policy has none", waiver(), {"waivers": None}),
        ("it is about another policy", waiver(policy="tax"), {}),
        ("it is longer than the policy allows", waiver(begins=19.5, ends=21.6), {}),
        ("it has not begun", waiver(begins=20.1), {}),
        ("it has ended", waiver(begins=19, ends=20), {}),
        ("it is being deleted", waiver(metadata={"deletionTimestamp": DELETING}), {}),
        ("a program asked", waiver(requester="system:serviceaccount:ci:bot"), {}),
        ("it is about another node", waiver(node={"name": "n2", "machineID": MACHINE}), {}),
        ("it is about another machine", waiver(node={"name": "n1", "machineID": "m2"}), {}),
        ("one identity of two differs", waiver(node={"name": "n1", "machineID": MACHINE, "providerID": "x"}), {}),
        ("it names the machine by nothing", waiver(node={"name": "n1", "machineID": ""}), {}),
        ("it lifts something else", waiver("w1", "control", "assurance", "age"), {}),
        ("another country is meant", waiver(jurisdictions=["GB"]), {}),
        ("what is meant is nowhere", waiver(jurisdictions=["ATLANTIS"]), {}),
        ("the policy asks for more approvals", waiver(), {"waivers": {**TERMS, "approvals": 3}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_waiver_lets_nobody_in_because(why: str, given_waiver: ResidencyWaiver, spec: Any) -> None:
    assert not judge(asked(given_waiver, **spec), machine(), NOW).allowed, why


@pytest.mark.parametrize(
    ("counted", "given_approvals"),
    [
        (BOTH, [approval("bert"), approval("cleo")]),
        (("bert",), [approval("bert"), approval("bert", metadata={"name": "again"})]),
        (("Bert",), [approval("bert"), approval("Bert")]),
        (("bert",), [approval("bert"), approval("anna")]),
        (("bert",), [approval("bert"), approval("Anna")]),
        (("bert",), [approval("bert"), approval("system:serviceaccount:ci:bot")]),
        (("bert",), [approval("bert"), approval("cleo", waiverUID="uid-of-an-older-one")]),
        (("bert",), [approval("bert"), approval("cleo", of="w2")]),
        (("bert",), [approval("bert"), approval("cleo", of="w2", waiverUID="uid-of-w1")]),
        (("bert",), [approval("bert"), approval("cleo", requester="somebody else")]),
        (("bert",), [approval("bert"), approval("cleo", metadata={"deletionTimestamp": DELETING})]),
        ((), []),
    ],
)
def test_people_are_counted_once_and_never_the_requester(counted: Any, given_approvals: Any) -> None:
    assert approvers(waiver(), given_approvals) == counted
    assert judge(asked(waiver(), approvals=given_approvals), machine(), NOW).allowed == (len(counted) == 2)


def test_what_is_missing_is_said_with_what_to_do() -> None:
    wrong = objection(policy(waivers=TERMS), waiver(), [approval("bert")])
    assert wrong
    assert str(wrong) == (
        "ApprovalsMissing: policy health asks for 2 approvals by people other than anna, but there are 1; let somebody "
        "make a WaiverApproval with waiver: w1, waiverUID: uid-of-w1, requester: anna"
    )


STRICT = {"place": {"allow": ["EU"], "assurance": "Asserted", "maxAge": "24h"}}
ABROAD = statement("verified-a", place="US", issued=19.9)


@pytest.mark.parametrize(
    ("lifts", "said", "spec", "inside"),
    [
        # The place is lifted; how well and how recently somebody vouches for it is asked as ever.
        (("place",), [statement("declared-a", place="US")], STRICT, "AssuranceTooLow"),
        (("place", "assurance"), [statement("declared-a", place="US")], STRICT, "StatementTooOld"),
        (("place", "assurance", "age"), [statement("declared-a", place="US")], STRICT, "Waived"),
        (("place",), [ABROAD], STRICT, "Waived"),
        # Nobody knows the place: nobody vouches for it well or recently either.
        (("place",), [], {}, "PlaceUnknown"),
        (("place", "age"), [], {}, "PlaceUnknown"),
        (("place", "assurance"), [], STRICT, "PlaceUnknown"),
        (("place", "assurance"), [], {}, "Waived"),
        (("assurance", "age"), [], {}, "PlaceUnknown"),
        # Inside, but not vouched for well enough, or long ago.
        (("assurance",), [statement("declared-a", place="DE", issued=19.9)], STRICT, "Waived"),
        (("assurance",), [statement("declared-a", place="DE")], STRICT, "StatementTooOld"),
        (("age",), [statement("asserted-a", place="DE")], STRICT, "Waived"),
        # The place alone does not lift the rest.
        (("place",), [ABROAD], {"control": {"allow": ["EU"]}}, "ControlUnknown"),
        (("place", "control"), [ABROAD], {"control": {"allow": ["EU"]}}, "Waived"),
        (("place", "design"), [ABROAD], {"origin": {"brand": {"allow": ["EU"]}}}, "OriginUnknown"),
        (("place", "brand"), [ABROAD], {"origin": {"brand": {"allow": ["EU"]}}}, "Waived"),
        (("control",), [ABROAD], {"control": {"allow": ["EU"]}}, "WrongPlace"),
    ],
)
def test_only_what_is_listed_is_lifted(lifts: Any, said: Any, spec: Any, inside: str) -> None:
    verdict = judge(asked(waiver("w1", *lifts), **spec), machine(*said, provider_id=""), NOW)
    limits = asked(waiver("w1", *lifts), **spec).waivers["n1"][0].limits
    alone = judge(limits, machine(*said, provider_id=""), NOW)
    assert (verdict if verdict.allowed else alone).reason == inside


@pytest.mark.parametrize(
    ("said", "inside"),
    [
        ({"place": "US"}, True),
        ({"place": "US-VA"}, True),
        ({"place": "FR"}, True),
        ({"place": "CN"}, False),
        ({"control": "US"}, False),
        ({"place": "US", "control": "CN"}, False),
        ({"place": "US", "control": "US"}, True),
    ],
)
def test_listed_jurisdictions_are_the_only_further_ones_and_nothing_unknown_is_among_them(
    said: Any, inside: bool
) -> None:
    one = waiver("w1", "place", "assurance", "control", jurisdictions=["US"])
    spec: dict[str, Any] = {} if "control" not in said else {"control": {"allow": ["EU"]}}
    assert judge(asked(one, **spec), machine(statement(**said), provider_id=""), NOW).allowed is inside


def test_what_the_policy_denies_is_lifted_where_the_waiver_names_it_and_nowhere_else() -> None:
    unresolved: dict[str, Any] = {"place": {"allow": ["WORLD"], "deny": ["US", "ATLANTIS"]}}
    one = waiver(jurisdictions=["US"])
    assert judge(asked(one, **unresolved), machine(), NOW).allowed
    assert not judge(asked(one, **unresolved), machine(statement("verified-a", place="GB")), NOW).allowed


def test_the_territory_tells_the_true_place_and_by_which_waiver() -> None:
    one = waiver("w1", "place", "assurance")
    told = compile_territory(asked(one), [machine()], NOW)
    assert (told.spec.nodes, told.spec.waived, told.waivers) == ({"n1": "US"}, {"n1": "w1"}, 1)
    assert told.doubts == ()
    nowhere = compile_territory(asked(one), [machine(provider_id="")], NOW)
    assert nowhere.spec.nodes == {"n1": "ZZ"}
    none = compile_territory(asked(waiver("w1", "control")), [machine()], NOW)
    assert (none.spec.nodes, none.spec.waived, none.waivers) == ({}, None, 1)


def test_the_territory_is_looked_at_again_when_a_waiver_begins_and_when_it_ends() -> None:
    one = waiver(begins=20.25, ends=21)
    for moment, until in ((20, 20.25), (20.25, 21)):
        told = compile_territory(asked(one), [machine()], day(moment))
        assert told.look_again_in == timedelta(days=until - moment).total_seconds()
        assert ("n1" in told.nodes) is (moment >= 20.25)
    assert compile_territory(asked(one), [], NOW).look_again_in == timedelta(days=0.25).total_seconds()
    over = compile_territory(asked(one), [machine()], day(21))
    assert (over.look_again_in, dict(over.nodes)) == (None, {})


def test_of_several_that_would_do_the_first_by_name_is_told() -> None:
    two = [waiver("w2", "place"), waiver("w1", "place", "assurance")]
    for order in (two, two[::-1]):
        by = waived_by(asked(*order), machine(), NOW)
        assert by
        assert by.name == "w1"


def test_a_waiver_of_one_policy_is_nothing_to_another() -> None:
    other = with_waivers(policy("tax", waivers=TERMS), [waiver()], approved(waiver()), ATLAS)
    assert judge(asked(waiver()), machine(), NOW).allowed
    assert not judge_all([asked(waiver()), other], machine(), NOW).allowed


# Whatever is asked, said and approved

COUNTRIES = ("DE", "FR", "US", "CN")
DIMENSIONS = ("place", "assurance", "age", "control", "brand")
MUCH = [DIMENSIONS, DIMENSIONS, ("place", "control", "brand"), ("place", "assurance", "age")]
often = settings(max_examples=60, deadline=None)
rules = st.builds(
    lambda allow, deny: {"allow": allow, "deny": deny},
    st.lists(st.sampled_from(["DE", "EU", "US"]), unique=True, max_size=2),
    st.sampled_from([[], [], [], ["US"], ["ATLANTIS"]]),
)
specs = st.fixed_dictionaries(
    {
        "place": st.builds(
            lambda rule, assurance, age: rule | {"assurance": assurance} | age,
            rules, st.sampled_from(["Declared", "Verified"]), st.sampled_from([{}, {"maxAge": "48h"}]),
        ),
        "waivers": st.sampled_from([TERMS, TERMS, {**TERMS, "approvals": 1}, {**TERMS, "approvals": 1}, None]),
        "unknown": st.sampled_from(["Deny", "Warn"]),
    },
    optional={"control": rules, "origin": st.fixed_dictionaries({"brand": rules})},
)  # fmt: skip
said = st.lists(
    st.builds(
        lambda word, place, control, brand, issued: statement(
            word, place=place, control=control, issued=issued, origin={"brand": [brand] if brand else []}
        ),
        st.sampled_from(["declared-a", "verified-a", "verified-b"]),
        st.sampled_from(COUNTRIES),
        st.none() | st.sampled_from(COUNTRIES),
        st.none() | st.sampled_from(COUNTRIES),
        st.sampled_from([0, 19.5]),
    ),
    max_size=2,
    unique_by=lambda each: each.metadata.name,
)
known = st.builds(lambda said: machine(*said, provider_id=""), said)


@st.composite
def waivers(draw: st.DrawFn) -> ResidencyWaiver:
    begins, ends = draw(st.sampled_from([(19.5, 21), (19.5, 21), (19.5, 21), (19.5, 20), (20.5, 21), (19.5, 30)]))
    return waiver(
        f"w{draw(st.integers(0, 99))}",
        *draw(st.sampled_from(MUCH) | st.lists(st.sampled_from(DIMENSIONS), unique=True, min_size=1)),
        begins=begins,
        ends=ends,
        jurisdictions=draw(st.sampled_from([[], [], [], ["US"], ["US", "CN"], ["ATLANTIS"]])),
        node={"name": "n1", "machineID": draw(st.sampled_from([MACHINE] * 7 + ["m2"]))},
        requester=draw(st.sampled_from(["anna"] * 6 + ["bert", "system:admin"])),
    )


several = st.lists(waivers(), min_size=1, max_size=4, unique_by=lambda each: each.metadata.name)


@st.composite
def approvals_of(draw: st.DrawFn, given_waivers: list[ResidencyWaiver]) -> list[WaiverApproval]:
    return [
        approval(person, of=each.metadata.name, requester=each.spec.requester)
        for each in given_waivers
        for person in draw(
            st.sampled_from([["anna", "bert", "cleo"], ["bert", "cleo"], ["bert", "cleo"], ["bert"], []])
        )
    ]


def lets_in(compiled: CompiledPolicy, given_facts: NodeFacts, now: float = 20) -> bool:
    return judge(compiled, given_facts, day(now)).allowed


@often
@given(specs, several, known, st.data())
def test_waivers_never_add_up(spec: Any, given_waivers: Any, given_facts: NodeFacts, data: st.DataObject) -> None:
    """Together they let in exactly what one of them, or the policy by itself, lets in."""
    given_approvals = data.draw(approvals_of(given_waivers))
    together = lets_in(asked(*given_waivers, approvals=given_approvals, **spec), given_facts)
    alone = [lets_in(asked(each, approvals=given_approvals, **spec), given_facts) for each in given_waivers]
    without = lets_in(asked(approvals=given_approvals, **spec), given_facts)
    event("waived" if together and not without else "inside" if without else "outside")
    assert together == (without or any(alone))


@often
@given(specs, several, known, st.data(), st.randoms())
def test_order_never_matters(
    spec: Any, given_waivers: Any, given_facts: NodeFacts, data: st.DataObject, random: Any
) -> None:
    given_approvals = data.draw(approvals_of(given_waivers))
    mixed = asked(
        *random.sample(given_waivers, len(given_waivers)),
        approvals=random.sample(given_approvals, len(given_approvals)),
        **spec,
    )
    first = asked(*given_waivers, approvals=given_approvals, **spec)
    assert judge(first, given_facts, NOW) == judge(mixed, given_facts, NOW)
    assert waived_by(first, given_facts, NOW) == waived_by(mixed, given_facts, NOW)


@often
@given(specs, several, known, st.data())
def test_removing_an_approval_never_widens(
    spec: Any, given_waivers: Any, given_facts: NodeFacts, data: st.DataObject
) -> None:
    given_approvals = data.draw(approvals_of(given_waivers))
    assume(given_approvals)
    gone = data.draw(st.sampled_from(given_approvals))
    fewer = [each for each in given_approvals if each is not gone]
    narrower, whole = (asked(*given_waivers, approvals=each, **spec) for each in (fewer, given_approvals))
    assert lets_in(narrower, given_facts) <= lets_in(whole, given_facts)


@often
@given(specs, several, said, st.sampled_from([19, 20, 20.5, 20.9, 21, 30]))
def test_a_waiver_counts_neither_before_nor_after_its_time(
    spec: Any, given_waivers: Any, given_said: Any, now: float
) -> None:
    given_facts = gather(node(machineID=MACHINE), given_said, day(now), vouching=vouched)
    compiled = asked(*given_waivers, approvals=approved(*given_waivers), **spec)
    by = waived_by(compiled, given_facts, day(now))
    if by:
        (one,) = (each for each in given_waivers if each.metadata.name == by.name)
        assert one.spec.not_before <= day(now) < one.spec.expires_at
        assert one.spec.expires_at - one.spec.not_before <= timedelta(hours=48)
        assert one.spec.node.machine_id == MACHINE
        assert spec["waivers"] is not None


@often
@given(specs, waivers(), known, st.sampled_from(DIMENSIONS))
def test_lifting_less_never_widens(spec: Any, one: ResidencyWaiver, given_facts: NodeFacts, gone: str) -> None:
    fewer = [each for each in one.spec.dimensions if each != gone]
    assume(fewer)
    narrower = one.model_copy(update={"spec": one.spec.model_copy(update={"dimensions": tuple(fewer)})})
    both = [asked(each, approvals=approved(each), **spec) for each in (narrower, one)]
    assert lets_in(both[0], given_facts) <= lets_in(both[1], given_facts)


@often
@given(specs, several, known)
def test_waivers_only_ever_widen_and_only_for_their_machine(
    spec: Any, given_waivers: Any, given_facts: NodeFacts
) -> None:
    compiled, bare = asked(*given_waivers, **spec), asked(**spec)
    assert lets_in(compiled, given_facts) >= lets_in(bare, given_facts)
    other = gather(node("n2", provider_id=VIRGINIA, machineID=MACHINE), [], NOW)
    assert judge(compiled, other, NOW) == judge(bare, other, NOW)
