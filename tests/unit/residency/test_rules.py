"""Whether a node is inside, and what is said when it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import yaml

from bailiwick.api.sovereignmodel import Residency
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_residency
from bailiwick.residency.provenance import with_provenance
from bailiwick.residency.rules import RULES, has_allowed_origin, is_controlled_inside, judge, judge_all, stands_inside
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict
from tests.unit.residency.given import ATLAS, FRANKFURT, NOW, VIRGINIA, accelerator, day, facts, node, policy, statement

if TYPE_CHECKING:
    from bailiwick.api.nodestatement import NodeStatement
    from bailiwick.residency.policies import Limits

GOLDEN = Path(__file__).parents[2] / "golden"
VIRTUAL = read_node({"metadata": {"name": "n1", "labels": {"type": "virtual-kubelet"}}})


def test_a_node_that_stands_inside_is_inside() -> None:
    assert judge(policy(), facts(statement(place="DE")), NOW) is ALLOWED


REFUSED: dict[str, Verdict] = {
    "nobody vouches": judge(policy(), facts(), NOW),
    "abroad": judge(policy(), facts(provider_id=VIRGINIA), NOW),
    "perhaps in a denied part": judge(policy(place={"deny": ["DE-BY"]}), facts(provider_id=FRANKFURT), NOW),
    "assurance too low": judge(policy(place={"assurance": "Verified"}), facts(provider_id=FRANKFURT), NOW),
    "statement ended": judge(policy(), facts(statement(place="DE", expires=5)), NOW),
    "statement ended since the facts were gathered": judge(policy(), facts(statement(place="DE", expires=30)), day(30)),
    "statement begins later": judge(policy(), facts(statement(place="DE", issued=30)), NOW),
    "statement too old": judge(policy(place={"maxAge": "240h"}), facts(statement(place="DE", issued=1)), NOW),
    "disputed": judge(policy(), facts(statement("a", place="DE"), statement("b", place="US")), NOW),
    "another machine": judge(
        policy(), facts(statement(place="DE", identity={"machineID": "m9"}), about=node(machineID="m1")), NOW
    ),
    "virtual": judge(policy(), facts(about=VIRTUAL), NOW),
    "deny list that cannot be resolved": judge(policy(place={"deny": ["ATLANTIS"]}), facts(statement(place="DE")), NOW),
    "operator unknown": judge(policy(control={"allow": ["EU"]}), facts(statement(place="DE")), NOW),
    "operator under foreign law": judge(policy(control={"allow": ["EU"]}), facts(provider_id=FRANKFURT), NOW),
    "design unknown": judge(policy(origin={"design": {"allow": ["EU"]}}), facts(statement(place="DE")), NOW),
    "made abroad": judge(
        policy(origin={"manufacture": {"allow": ["EU"]}}),
        facts(statement(place="DE", origin={"manufacture": ["DE", "TW"]})),
        NOW,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_tells_what_was_expected_and_seen_by_whom_and_what_to_do(case: str) -> None:
    expected = yaml.safe_load((GOLDEN / "refusals.yaml").read_text("utf-8"))
    assert not REFUSED[case].allowed
    assert str(REFUSED[case]) == expected[case]


class TestAssuranceAndAge:
    def test_any_voucher_that_is_good_and_fresh_enough_will_do(self) -> None:
        limits = policy(place={"assurance": "Asserted", "maxAge": "240h"})
        assert judge(limits, facts(statement("verified", place="DE", issued=1), provider_id=FRANKFURT), NOW) is ALLOWED

    def test_freshness_of_a_weak_voucher_does_not_make_up_for_the_age_of_a_good_one(self) -> None:
        limits = policy(place={"assurance": "Verified", "maxAge": "240h"})
        said = statement("verified", place="DE", issued=1), statement("s", place="DE", issued=19)
        assert judge(limits, facts(*said), NOW).reason is Reason.STATEMENT_TOO_OLD

    def test_what_a_provider_asserts_is_never_too_old(self) -> None:
        assert judge(policy(place={"maxAge": "1s"}), facts(provider_id=FRANKFURT), NOW) is ALLOWED

    @pytest.mark.parametrize(("now", "reason"), [(10.9, Reason.ALLOWED), (11, Reason.STATEMENT_TOO_OLD)])
    def test_a_statement_is_too_old_when_its_age_is_reached(self, now: float, reason: Reason) -> None:
        said = facts(statement(place="DE", issued=1), now=day(now))
        assert judge(policy(place={"maxAge": "240h"}), said, day(now)).reason is reason

    @pytest.mark.parametrize("assurance", ["Declared", "Asserted", "Verified", "Attested"])
    def test_assurance_is_compared_by_rank_and_not_by_name(self, assurance: str) -> None:
        order = ["Declared", "Asserted", "Verified", "Attested"]
        for given in order:
            verdict = judge(policy(place={"assurance": assurance}), facts(statement(given.lower(), place="DE")), NOW)
            assert verdict.allowed is (order.index(given) >= order.index(assurance))


class TestUnknownIsTolerated:
    """``unknown: Warn`` is about control and origin of which nobody ever said anything."""

    ASKED: ClassVar[dict[str, Any]] = {"control": {"allow": ["EU"]}, "origin": {"brand": {"allow": ["EU"]}}}

    def test_inside_with_a_doubt(self) -> None:
        verdict = judge(policy(unknown="Warn", **self.ASKED), facts(statement(place="DE")), NOW)
        assert verdict.allowed
        assert verdict.reason is Reason.CONTROL_UNKNOWN
        assert "nobody vouches for whose law" in verdict.message

    def test_the_second_doubt_is_heard_where_the_first_is_not(self) -> None:
        verdict = judge(policy(unknown="Warn", **self.ASKED), facts(statement(place="DE", control="DE")), NOW)
        assert verdict.allowed
        assert verdict.reason is Reason.ORIGIN_UNKNOWN

    def test_never_about_place(self) -> None:
        assert judge(policy(unknown="Warn"), facts(), NOW).reason is Reason.PLACE_UNKNOWN
        assert not judge(policy(unknown="Warn"), facts(), NOW).allowed

    def test_not_what_is_known_to_be_outside(self) -> None:
        verdict = judge(policy(unknown="Warn", **self.ASKED), facts(statement(place="DE", control="US")), NOW)
        assert (verdict.allowed, verdict.reason) == (False, Reason.WRONG_CONTROL)

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ([statement("a", place="DE"), statement("b", control="US", expires=5)], Reason.STATEMENT_EXPIRED),
            ([statement("a", place="DE"), statement("b", control="US", issued=30)], Reason.STATEMENT_NOT_YET_VALID),
            (
                [statement("a", place="DE"), statement("b", control="US", identity={"machineID": "m9"})],
                Reason.IDENTITY_MISMATCH,
            ),
            ([statement("a", place="DE", control="US"), statement("b", control="FR")], Reason.STATEMENTS_DISAGREE),
        ],
        ids=str,
    )
    def test_not_a_statement_that_does_not_count(self, said: list[NodeStatement], reason: Reason) -> None:
        verdict = judge(policy(unknown="Warn", **self.ASKED), facts(*said), NOW)
        assert (verdict.allowed, verdict.reason) == (False, reason)

    def test_not_where_the_rule_itself_cannot_be_resolved(self) -> None:
        broken = policy(unknown="Warn", control={"allow": ["EU"], "deny": ["ATLANTIS"]})
        assert judge(broken, facts(statement(place="DE")), NOW).reason is Reason.UNKNOWN_JURISDICTION


class TestControlAndOrigin:
    def test_every_law_that_reaches_the_operator_must_be_allowed(self) -> None:
        sovereign = facts(provider_id="aws:///eusc-de-east-1a/i-0123456789abcdef0")
        assert judge(policy(control={"allow": ["DE"]}), sovereign, NOW).reason is Reason.WRONG_CONTROL
        assert judge(policy(control={"allow": ["DE", "US"]}), sovereign, NOW) is ALLOWED

    def test_three_questions_about_hardware_are_asked_separately(self) -> None:
        said = facts(statement(place="DE", origin={"brand": ["DE"], "manufacture": ["US"], "design": ["FR"]}))
        assert judge(policy(origin={"brand": {"allow": ["DE"]}, "design": {"allow": ["FR"]}}), said, NOW) is ALLOWED
        assert judge(policy(origin={"manufacture": {"allow": ["EU"]}}), said, NOW).reason is Reason.WRONG_ORIGIN
        assert (
            judge(policy(origin={"brand": {"allow": ["EU"], "deny": ["DE"]}}), said, NOW).reason is Reason.WRONG_ORIGIN
        )

    def test_an_answer_that_has_ended_since_the_facts_were_gathered_does_not_count(self) -> None:
        stale = facts(statement("a", place="DE"), statement("b", control="DE", expires=30))
        verdict = judge(policy(control={"allow": ["EU"]}), stale, day(30))
        assert verdict.reason is Reason.STATEMENT_EXPIRED
        assert verdict.message.startswith(
            "the operator of node n1 is under the law of DE by NodeStatement b, but that ended"
        )

    def test_the_origin_of_the_device_counts_as_the_origin_of_the_hardware(self) -> None:
        asked = policy(origin={"brand": {"allow": ["KR"]}})
        placed = facts(statement(place="DE"))
        assert judge(asked, placed, NOW).reason is Reason.ORIGIN_UNKNOWN
        assert judge(asked, with_provenance(placed, [accelerator(brand=(["KR"], "Documented"))]), NOW) is ALLOWED


class TestSeveralPolicies:
    def test_all_must_allow(self) -> None:
        inside = facts(statement(place="DE"))
        assert judge_all([policy("a"), policy("b", place={"allow": ["DE"]})], inside, NOW) is ALLOWED
        refused = judge_all([policy("a"), policy("b", place={"allow": ["FR"]})], inside, NOW)
        assert refused.reason is Reason.WRONG_PLACE
        assert "policy b allows FR" in refused.message

    def test_a_model_can_only_tighten(self) -> None:
        def limits(**place: object) -> Limits:
            return compile_residency(Residency.model_validate({"place": place}), ATLAS, by="model clinic/assistant")

        wider = limits(allow=["WORLD"], assurance="Declared")
        narrower = limits(allow=["FR"], assurance="Declared")
        american, german = facts(statement(place="US")), facts(statement(place="DE"))
        assert judge_all([policy(), wider], american, NOW).reason is Reason.WRONG_PLACE
        verdict = judge_all([policy(), narrower], german, NOW)
        assert (
            "model clinic/assistant allows FR; run on a node inside, or change spec.residency.place" in verdict.message
        )

    def test_where_nobody_asks_anything_any_node_will_do(self) -> None:
        free = compile_residency(Residency(), ATLAS, by="model m")
        assert judge(free, facts(), NOW) is ALLOWED
        assert judge_all([], facts(), NOW) is ALLOWED


def test_the_first_rule_that_refuses_is_the_one_reported() -> None:
    assert (stands_inside, is_controlled_inside, has_allowed_origin) == RULES
    asked = policy(control={"allow": ["EU"]}, origin={"brand": {"allow": ["EU"]}})
    said = facts(statement(place="US", control="US", origin={"brand": ["US"]}))
    assert judge(asked, said, NOW).reason is Reason.WRONG_PLACE
    assert is_controlled_inside(asked, said, NOW).reason is Reason.WRONG_CONTROL
    assert has_allowed_origin(asked, said, NOW).reason is Reason.WRONG_ORIGIN
