"""What a report says of the audit's findings."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.report import KINDS, MOST_RESULTS, NOT_SHOWN, Finding, digest, report

GOLDEN = Path(__file__).parents[2] / "golden" / "report"
GIVEN = yaml.safe_load((GOLDEN / "findings.yaml").read_text())
MODES = {name: Mode(mode) for name, mode in GIVEN["modes"].items()}
FINDINGS = [Finding(**each) for each in GIVEN["findings"]]

NAMES = st.sampled_from(sorted(MODES))
FOUND = st.lists(
    st.builds(
        Finding,
        policy=NAMES,
        kind=st.sampled_from(["Pod", "Service", "PersistentVolumeClaim"]),
        name=st.sampled_from(["a", "b", "c"]),
        reason=st.sampled_from(["WrongPlace", "PlaceUnknown"]),
        message=st.text(max_size=8),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("file", "kind", "how"),
    [
        ("report.yaml", "Report", {}),
        ("capped.yaml", "PolicyReport", {"most": 1}),
        ("unseen.yaml", "Report", {"unseen": True}),
    ],
)
def test_findings_become_this_report(file: str, kind: str, how: Any) -> None:
    assert report(kind, "clinic", MODES, FINDINGS, **how) == yaml.safe_load((GOLDEN / file).read_text())


@given(found=FOUND, most=st.integers(0, 14), unseen=st.booleans(), order=st.randoms())
def test_the_order_of_findings_never_matters(found: list[Finding], most: int, order: Any, *, unseen: bool) -> None:
    otherwise = found[:]
    order.shuffle(otherwise)
    made = [report("Report", "clinic", MODES, each, unseen=unseen, most=most) for each in (found, otherwise)]
    assert json.dumps(made[0]) == json.dumps(made[1])


@given(found=FOUND, most=st.integers(0, 14), unseen=st.booleans())
def test_the_summary_counts_every_finding_whatever_is_shown(found: list[Finding], most: int, *, unseen: bool) -> None:
    made = report("Report", "clinic", MODES, found, unseen=unseen, most=most)
    by_policy = Counter(each.policy for each in found)
    clean = len(MODES.keys() - by_policy.keys())
    assert made["summary"] == {
        "fail": by_policy["health"],
        "warn": by_policy["trial"] + by_policy["quiet"],
        "pass": 0 if unseen else clean,
        "error": clean if unseen else 0,
        "skip": 0,
    }


@given(found=FOUND, most=st.integers(0, 14))
def test_what_is_shown_and_what_is_said_to_be_left_out_are_all(found: list[Finding], most: int) -> None:
    results = report("Report", "clinic", MODES, found, most=most)["results"]
    shown = [each for each in results if each["result"] != "pass" and each["rule"] != NOT_SHOWN]
    left = {each["policy"]: int(each["properties"]["notShown"]) for each in results if each["rule"] == NOT_SHOWN}
    assert len(shown) == min(most, len(found))
    assert Counter(each["policy"] for each in shown) + Counter(left) == Counter(each.policy for each in found)
    assert 0 not in left.values()


def test_policies_that_enforce_are_shown_first() -> None:
    results = report("Report", "clinic", MODES, FINDINGS, most=4)["results"]
    assert [each["policy"] for each in results[:4]] == ["health"] * 4


def test_five_thousand_long_findings_are_a_fraction_of_what_etcd_takes() -> None:
    found = [
        Finding("health", "Pod", "n" * 240 + f"{number:05}", "WrongPlace", "é" * 4000, "u" * 36, "x" * 253)
        for number in range(5000)
    ]
    made = report("Report", "n" * 63, {"health": Mode.ENFORCE}, found)
    assert made["summary"]["fail"] == 5000
    assert len(made["results"]) == MOST_RESULTS + 1
    assert len(json.dumps(made, ensure_ascii=False).encode()) < 600_000
    assert made["results"][0]["message"].endswith("…")


@pytest.mark.parametrize("kind", KINDS)
def test_a_digest_knows_whatever_somebody_changes(kind: str) -> None:
    made = report(kind, "clinic", MODES, FINDINGS)
    known = digest(made)
    assert digest(deepcopy(made)) == known
    for path in (
        ("scope", "name"),
        ("summary", "fail"),
        ("results", 0, "message"),
        ("results", 0, "added"),
        ("results",),
    ):
        edited: Any = deepcopy(made)
        at = edited
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = "edited"
        assert digest(edited) != known, path
    del made["results"]
    assert digest(made) != known


def test_a_digest_leaves_alone_what_a_report_does_not_say() -> None:
    made = report("PolicyReport", "clinic", MODES, FINDINGS)
    live = {**made, "scope": {**made["scope"], "uid": "u"}, "metadata": {"name": "bailiwick", "resourceVersion": "9"}}
    assert digest(live) == digest(made)
