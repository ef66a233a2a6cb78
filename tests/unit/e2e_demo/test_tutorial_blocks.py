"""Blocks of the tutorial: all of them are found, and one that does not do what the page says is noticed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from e2e import tutorial

if TYPE_CHECKING:
    from pathlib import Path


def _block(notes: str, script: str, shown: str) -> tutorial.Block:
    below = f"\n```\n{shown}\n```\n" if shown else ""
    (block,) = tutorial.blocks(f"# T\n\n{notes}```sh\n{script}\n```\n{below}\nText.\n")
    return block


def _desk(folder: Path) -> tutorial.Desk:
    return tutorial.Desk(folder, folder / "kubeconfig", [])


def test_every_block_of_shell_on_the_page_is_found() -> None:
    page = tutorial.PAGE.read_text()
    assert len(tutorial.blocks(page)) == page.count("```sh\n") > 10
    assert re.findall(r"^```(?!sh$)(\S+)$", page, re.MULTILINE) == [], "another language would not be run"
    shown = [block for block in tutorial.blocks(page) if block.shown]
    assert len(shown) * 2 == len(re.findall(r"^```$", page, re.MULTILINE)) - len(tutorial.blocks(page))


def test_what_comes_before_is_the_demo_that_the_suites_run_themselves() -> None:
    before = [block.script for block in tutorial.blocks(tutorial.PAGE.read_text()) if block.before]
    assert before == ["make demo\n", 'export PATH="$PWD/.venv/bin:$PATH"\n']


@pytest.mark.parametrize(
    ("notes", "script", "shown"),
    [
        ("", "true", ""),
        ("", "echo zero; echo one; echo 'two  three'; echo four", "one two\n  three"),
        ("", "echo one; echo two; echo three", "one … three"),
        ("", "echo {a}", "{a}"),
        ("<!-- refused: WrongPlace -->\n", "echo 'Error: WrongPlace: x' >&2; false", "Error: …: x"),
        ("<!-- refused: WrongPlace -->\n", "echo WrongPlace; exit 1; true", ""),
        ("", "bailiwick --help", "usage: bailiwick"),
    ],
)
def test_what_the_page_says_happens(tmp_path: Path, notes: str, script: str, shown: str) -> None:
    _desk(tmp_path).do(_block(notes, script, shown))


@pytest.mark.parametrize(
    ("notes", "script", "shown", "said"),
    [
        ("", "false; true", "", "expected no failure"),
        ("", "false | true", "", "expected no failure"),
        ("", "echo one; echo two", "two one", "expected to see"),
        ("", "echo onetwo", "one two", "expected to see"),
        ("", "echo one; echo two; echo three", "one three", "expected to see"),
        ("", "echo one; false", "one", "expected no failure"),
        ("<!-- refused: WrongPlace -->\n", "echo WrongPlace", "", "expected a refusal"),
        ("<!-- refused: WrongPlace -->\n", "echo NotPinned; false", "", "expected a refusal"),
        ("<!-- refused: WrongPlace -->\n", "echo WrongPlace; false", "NotPinned", "expected to see"),
    ],
)
def test_what_the_page_does_not_say_is_an_error(tmp_path: Path, notes: str, script: str, shown: str, said: str) -> None:
    with pytest.raises(tutorial.TutorialError, match=said):
        _desk(tmp_path).do(_block(notes, script, shown))


def test_a_comment_that_nobody_understands_is_an_error() -> None:
    with pytest.raises(tutorial.TutorialError, match="show one"):
        tutorial.blocks("<!-- show one -->\n```sh\ntrue\n```\n")
