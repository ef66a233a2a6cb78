"""What the reference of the chart's values says follows from values.yaml and its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bailiwick.cli.reference.chart import UndocumentedError, chart_reference

CHART = Path(__file__).parents[3] / "charts/bailiwick"

VALUES = """\
# Of the file, and of no value.

# Of the
# group.
group:
  # How many | at most.
  count: 2
  # One by one.
  names: [a, b]
  # A map that the schema leaves open.
  open:
    # Nobody reads this.
    inside: 1
# Which.
choice: One
"""
SCHEMA: dict[str, Any] = {
    "properties": {
        "group": {
            "properties": {
                "count": {"type": "integer"},
                "names": {"type": "array", "items": {"type": "string"}},
                "open": {"$ref": "#/definitions/strings"},
            }
        },
        "choice": {"enum": ["One", "Two"]},
    },
    "definitions": {"strings": {"type": "object", "additionalProperties": {"type": "string"}}},
}


def rows(values: str = VALUES) -> list[str]:
    return [line for line in chart_reference(values, json.dumps(SCHEMA)).splitlines() if line.startswith("| `")]


def test_a_value_is_said_by_the_comment_right_above_it() -> None:
    assert rows() == [
        "| `group` |  |  | Of the group. |",
        "| `group.count` | integer | `2` | How many \\| at most. |",
        '| `group.names` | list of strings | `["a", "b"]` | One by one. |',
        '| `group.open` | map of strings | `{"inside": 1}` | A map that the schema leaves open. |',
        '| `choice` | `One` or `Two` | `"One"` | Which. |',
    ]


def test_a_value_that_nobody_explains_is_refused() -> None:
    with pytest.raises(UndocumentedError, match=r"group\.count .* without a comment"):
        rows(VALUES.replace("  # How many | at most.\n", ""))


def test_a_comment_at_another_depth_is_not_of_it() -> None:
    with pytest.raises(UndocumentedError, match=r"choice .* without a comment"):
        rows(VALUES.replace("# Which.", "  # Which."))


def test_a_value_that_the_schema_does_not_know_is_refused() -> None:
    with pytest.raises(UndocumentedError, match=r"group\.moon is in values\.yaml, and values\.schema\.json"):
        rows(VALUES.replace("  # One by one.", "  # A satellite.\n  moon: 1\n  # One by one."))


def leaves(schema: dict[str, Any], path: str = "") -> set[str]:
    found = set()
    for name, below in schema["properties"].items():
        found |= leaves(below, f"{path}{name}.") if "properties" in below else {f"{path}{name}"}
    return found


def test_every_value_that_the_schema_lets_in_is_on_the_page() -> None:
    schema = (CHART / "values.schema.json").read_text()
    page = chart_reference((CHART / "values.yaml").read_text(), schema)
    there = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert leaves(json.loads(schema)) - there == {"global"}, "global is Helm's own"
