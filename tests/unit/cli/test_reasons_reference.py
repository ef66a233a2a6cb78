"""The page of reasons has each reason once, and names the policies that say it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from bailiwick.cli.reference.reasons import GROUPS, reasons_reference
from bailiwick.residency.verdict import Reason

POLICIES = Path(__file__).parents[3] / "charts/bailiwick/policies"


def test_every_reason_is_told_once() -> None:
    told = Counter(reason for group in GROUPS for reason in group.told)
    assert told == Counter(Reason)


def test_every_reason_says_what_it_means_and_what_to_do_in_sentences() -> None:
    sentences = [(reason, text) for group in GROUPS for reason, told in group.told.items() for text in told]
    assert [(reason, text) for reason, text in sentences if not re.fullmatch(r"[A-Z`].*\.", text)] == []


def test_a_policy_stands_beside_the_reasons_that_its_messages_begin_with() -> None:
    page = reasons_reference({path.stem: path.read_text() for path in POLICIES.glob("*.yaml")})
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", page, re.MULTILINE))
    assert "policies/bindings.yaml" in rows["WrongPlace"]
    assert "policies/pods.yaml" in rows["WrongPlace"]
    assert rows["StatementExpired"] == ""
    said = {reason for path in POLICIES.glob("*.yaml") for reason in re.findall(r'message: "(\w+): ', path.read_text())}
    assert {reason for reason in said if not rows[reason]} == set()
