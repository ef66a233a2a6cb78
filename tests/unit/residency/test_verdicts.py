"""All must allow, and a doubt does not go unheard."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bailiwick.residency.verdict import ALLOWED, Problem, Reason, Verdict, refuse, strictest, tolerate

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICIES = Path(__file__).parents[3] / "charts" / "bailiwick" / "policies"
REFUSED = refuse(Reason.WRONG_PLACE, "abroad")
DOUBTED = tolerate(Reason.CONTROL_UNKNOWN, "nobody knows")


def test_nothing_asked_is_allowed() -> None:
    assert strictest([]) is ALLOWED


def test_a_refusal_wins_wherever_it_stands() -> None:
    for verdicts in itertools.permutations([ALLOWED, DOUBTED, REFUSED, ALLOWED]):
        assert strictest(verdicts) == REFUSED


def test_a_doubt_is_heard_when_nobody_refuses() -> None:
    for verdicts in itertools.permutations([ALLOWED, DOUBTED, ALLOWED]):
        assert strictest(verdicts) == DOUBTED


def test_the_first_refusal_ends_the_judging() -> None:
    def verdicts() -> Iterator[Verdict]:
        yield REFUSED
        raise AssertionError

    assert strictest(verdicts()) == REFUSED


def test_a_doubt_allows_and_a_refusal_does_not() -> None:
    assert DOUBTED.allowed
    assert not REFUSED.allowed


def test_a_verdict_says_its_reason_first() -> None:
    assert str(REFUSED) == "WrongPlace: abroad"
    assert str(ALLOWED) == "Allowed"
    assert str(Problem(Reason.UNKNOWN_JURISDICTION, "who?")) == "UnknownJurisdiction: who?"


def test_the_in_tree_policies_give_reasons_that_are_known_here() -> None:
    documents = [each for path in POLICIES.glob("*.yaml") for each in yaml.safe_load_all(path.read_text("utf-8"))]
    validations = [rule for document in documents for rule in document["spec"].get("validations", ())]
    assert len(validations) >= 8
    known = {f"{reason}: " for reason in Reason}
    for rule in validations:
        assert any(rule["message"].startswith(reason) for reason in known), rule["message"]
        said = re.sub(r"^[^']+ \? '' : ", "", rule["messageExpression"])  # worked out for what passes, too
        assert any(said.startswith(f"'{reason}") for reason in known), said
