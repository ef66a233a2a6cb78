"""The catalogue of ways around is whole, and says what is so."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from e2e.border.catalogue import DOCUMENTED, ELSEWHERE, NUMBERS
from e2e.border.rows import rows
from e2e.border.stories import stories
from e2e.border.table import DOCUMENT, GIVEN, put

ROOT = Path(__file__).resolve().parents[3]
TRIED = sorted([*(row.number for row in rows()), *(story.number for story in stories())])
Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def test_every_row_is_in_one_place() -> None:
    counted = Counter([*TRIED, *(row.number for row in ELSEWHERE), *(row.number for row in DOCUMENTED)])
    assert counted == Counter(NUMBERS)


@pytest.mark.parametrize("test", [test for row in ELSEWHERE for test in row.tests])
def test_a_test_that_is_named_exists(test: str) -> None:
    file, *names = test.split("::")
    here: ast.Module | Named = ast.parse((ROOT / file).read_text())
    for name in names:
        inside = {each.name: each for each in here.body if isinstance(each, Named)}
        assert name in inside, f"{file} has no {name}"
        here = inside[name]


def test_every_row_that_is_tried_has_a_compliant_variant_or_a_story() -> None:
    assert [row.number for row in rows() if not row.controls] == []


def test_the_document_shows_what_the_catalogue_says() -> None:
    document = DOCUMENT.read_text()
    for name, table in GIVEN.items():
        assert put(document, name, table) == document, f"run make border: the table of {name} is not as the catalogue"


def test_the_document_shows_every_row_that_is_tried() -> None:
    table = DOCUMENT.read_text().partition("<!-- rows: ")[2].partition("<!-- end of rows -->")[0]
    shown = [int(line.split("|")[1]) for line in table.splitlines() if line.startswith("| ") and "#" not in line]
    assert shown == TRIED


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lost its marks"):
        put("no marks", "rows", "")
