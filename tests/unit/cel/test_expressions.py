"""CEL as the in-tree policies speak it. That the API server means the same, tests/border shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.cel.functions import pattern
from bailiwick.cel.programs import program
from bailiwick.cel.syntax import GrammarError
from bailiwick.cel.values import Deferred, EvaluationError, Unknown, UnknownError

POLICIES = Path(__file__).parents[3] / "charts/bailiwick/policies"
OBJECT: dict[str, Any] = {"a": {"b": "text", "n": 1, "l": ["x", "y"], "none": None}, "hidden": Unknown("the nodes")}


def value(text: str, **variables: Any) -> Any:
    return program(text)({**OBJECT, **variables})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 == 7", True),
        ("-1 < 0 && !(2 <= 1)", True),
        ("true ? 'a' : true ? 'b' : 'c'", "a"),
        ("'it\\'s' + \"\\n\"", "it's\n"),
        ("r'^a[.]b$'", "^a[.]b$"),
        ("has(a.b) && !has(a.c)", True),
        ("a.l[1]", "y"),
        ("a.l.map(x, x != 'x', x + '!')", ["y!"]),
        ("a.map(key, key).exists(key, key == 'n')", True),
        ("{'k': [1]}['k'][0]", 1),
        ("[1, 2].filter(x, x > 1) + [3]", [2, 3]),
        ("[1, 2].exists_one(x, x > 1)", True),
        ("'b' in a && !('c' in a) && 'x' in a.l", True),
        ("1 in [true] || 1 == true", False),
        ("type(a.n) == int && type(a.b) == string", True),
        ("[a.?b, a.?c.d].all(x, x.orValue('text') == 'text')", True),
        ("a.?c.d.hasValue()", False),
        ("a.none == null", True),
        ("string(1) + string(true)", "1true"),
        ("'ÄBc'.lowerAscii()", "Äbc"),
        ("'a,b'.split(',').join('-')", "a-b"),
        ("'oci://x'.substring(6)", "x"),
        ("'a--bc'.find('--[a-z]')", "--b"),
        ("cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.0.0.0/8').containsCIDR('::/0')", True),
    ],
)
def test_an_expression_has_its_value(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text", ["a.c", "a.l[2]", "a.l[-1]", "a.b.c", "'x' + 1", "!a.n", "a.n && true", "nobody", "1 in 2"]
)
def test_what_has_no_value_is_an_error(text: str) -> None:
    with pytest.raises(EvaluationError):
        value(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.c || true", True), ("true || a.c", True), ("a.c && false", False), ("hidden || true", True),
        ("[1, 2].exists(x, x == 1 ? a.c : true)", True), ("[1, 2].all(x, x == 1 ? hidden : false)", False),
    ],
)  # fmt: skip
def test_the_other_side_may_decide_without_it(text: str, expected: bool) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    "text", ["hidden", "'x' in hidden", "size(hidden) == 0", "hidden && a.c", "a.c && hidden", "hidden.x.y().z()"]
)
def test_what_hangs_on_something_unknown_says_on_what(text: str) -> None:
    with pytest.raises(UnknownError, match="the nodes"):
        value(text)
    assert value("has(a.b) || hidden") is True


def test_a_variable_is_worked_out_once_and_only_when_it_is_read() -> None:
    made: list[int] = []

    def work_out() -> int:
        made.append(1)
        return len(made)

    late = Deferred(work_out)
    assert value("false && later == 1", later=late) is False
    assert not made
    assert value("later + later", later=late) == 2


@pytest.mark.parametrize(
    "text", ["", "a.", "(a", "a ? b", "f(1)", "a.map(1, 2, 3, x)", "[1,", "{1}", "a b", "'\\x'", "a @ b", "has(a)"]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        program(text)


@given(st.text(max_size=30))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        made = program(text)
    except GrammarError:
        return
    try:
        made(OBJECT)
    except EvaluationError:
        return


def test_everything_that_the_chart_asks_is_understood() -> None:
    asked = re.findall(
        r"^\s*(?:- )?(?:messageE|e)xpression: ",
        "".join(file.read_text() for file in POLICIES.glob("*.yaml")),
        re.MULTILINE,
    )
    read = 0
    for file in sorted(POLICIES.glob("*.yaml")):
        for policy in yaml.safe_load_all(file.read_text()):
            if policy["kind"] != "ValidatingAdmissionPolicy":
                read += file.name == "pin.yaml" and len(re.findall("expression: ", file.read_text()))
                continue
            spec = policy["spec"]
            for each in (*spec.get("matchConditions", ()), *spec.get("variables", ()), *spec["validations"]):
                for key in {"expression", "messageExpression"} & each.keys():
                    program(each[key])
                    read += 1
    assert read == len(asked) > 250


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        ("^a$", "a", "a\n"),
        ("[[:space:]]x", "\tx", "_x"),
        ("^(127[.]0|[[]::1[]])(:[0-9]+)?$", "[::1]:8443", "::1"),
        ("[^]a]b", "xb", "]b"),
        ("[$]host", "$host", "host"),
        (r"\.b", ".b", "xb"),
        (r"[\].]$", "]", "a"),
        (r"^\w$", "a", "ä"),
    ],
)
def test_patterns_mean_what_re2_means(text: str, matching: str, other: str) -> None:
    assert pattern(text).search(matching)
    assert not pattern(text).search(other)
