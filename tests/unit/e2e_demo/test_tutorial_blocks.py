"""Blocks of the tutorial: all of them are found, and one that does not do what the page says is noticed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from e2e import tutorial

if TYPE_CHECKING:
    from pathlib import Path


def _block(notes: str, script: str) -> tutorial.Block:
    (block,) = tutorial.blocks(f"# T\n\n{notes}```sh\n{script}\n```\n")
    return block


def _desk(folder: Path) -> tutorial.Desk:
    return tutorial.Desk(folder, folder / "kubeconfig", [])


def test_every_block_of_shell_on_the_page_is_found() -> None:
    page = tutorial.PAGE.read_text()
    assert len(tutorial.blocks(page)) == page.count("```sh\n") > 10
    assert re.findall(r"^```(?!sh$)(\S+)$", page, re.MULTILINE) == [], "another language would not be run"


def test_what_comes_before_is_the_demo_that_the_suites_run_themselves() -> None:
    before = [block.script for block in tutorial.blocks(tutorial.PAGE.read_text()) if block.before]
    assert before == ["make demo\n", 'export PATH="$PWD/.venv/bin:$PATH"\n']


@pytest.mark.parametrize(
    ("notes", "script"),
    [
        ("", "true"),
        ("<!-- shows: two -->\n<!-- shows: one -->\n", "echo one; echo two"),
        ("<!-- refused: WrongPlace -->\n", "echo 'Error: WrongPlace: x' >&2; false"),
        ("<!-- refused: WrongPlace -->\n", "echo WrongPlace; exit 1; true"),
        ("<!-- shows: usage -->\n", "bailiwick --help"),
    ],
)
def test_what_the_page_says_happens(tmp_path: Path, notes: str, script: str) -> None:
    _desk(tmp_path).do(_block(notes, script))


@pytest.mark.parametrize(
    ("notes", "script"),
    [
        ("", "false; true"),
        ("", "false | true"),
        ("<!-- shows: two -->\n<!-- shows: one -->\n", "echo one"),
        ("<!-- shows: one -->\n", "echo one; false"),
        ("<!-- refused: WrongPlace -->\n", "echo WrongPlace"),
        ("<!-- refused: WrongPlace -->\n", "echo NotPinned; false"),
    ],
)
def test_what_the_page_does_not_say_is_an_error(tmp_path: Path, notes: str, script: str) -> None:
    with pytest.raises(tutorial.TutorialError, match="expected"):
        _desk(tmp_path).do(_block(notes, script))


def test_a_comment_that_nobody_understands_is_an_error() -> None:
    with pytest.raises(tutorial.TutorialError, match="show one"):
        tutorial.blocks("<!-- show one -->\n```sh\ntrue\n```\n")
