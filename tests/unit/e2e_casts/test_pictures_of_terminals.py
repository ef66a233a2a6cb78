"""A picture shows what a terminal shows, and the page below it says the same in text."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import pytest

from e2e.casts.__main__ import COMMANDS, DOCS, replaced
from e2e.casts.cast import Shown, asciicast, picture

SVG = "{http://www.w3.org/2000/svg}"
SHOWN = Shown("bailiwick status", [(0.5, "\x1b[1mMODELS\x1b[0m\r\n"), (0.8, "chat   \x1b[31mFalse\x1b[0m <&>\r\n\r\n")])


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - drawn here


def words(svg: str) -> list[str]:
    return [" ".join(run.text or "" for run in row.iter(f"{SVG}tspan")) for row in parsed(svg).iter(f"{SVG}text")]


def test_each_run_of_characters_has_its_column_and_its_colour() -> None:
    drawn = parsed(picture(SHOWN))
    (heading,), (name, verdict, sign) = list(drawn.iter(f"{SVG}text"))[1:]
    assert (heading.text, heading.get("font-weight")) == ("MODELS", "700")
    assert (verdict.text, name.get("fill"), verdict.get("fill")) == ("False", None, "#ff7b72")
    start, width = float(name.get("x", 0)), float(name.get("textLength", 0)) / 4
    assert float(verdict.get("x", 0)) == pytest.approx(start + 7 * width, abs=0.1)
    assert sign.text == "<&>"


def test_what_moves_the_cursor_cannot_be_a_picture() -> None:
    with pytest.raises(ValueError, match="cannot show"):
        picture(Shown("bailiwick", [(0.1, "\x1b[2Jgone")]))


def test_a_cast_has_every_piece_at_its_time() -> None:
    head, *events = map(json.loads, asciicast([SHOWN, SHOWN], columns=100, rows=60, pause=2).splitlines())
    assert (head["version"], head["width"], head["height"]) == (2, 100, 60)
    assert [at for at, _, _ in events] == [0, 0.5, 0.8, 2.8, 3.3, 3.6]
    assert events[0][2] == "$ bailiwick status\r\n"


def test_the_text_below_a_picture_is_written_anew() -> None:
    page = "a\n\n![b](img/c.svg)\n\n```\nold\nlines\n```\n\n```\nother\n```\n"
    assert replaced(page, "c", "new") == page.replace("old\nlines", "new")
    with pytest.raises(ValueError, match="no block"):
        replaced(page, "d", "new")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_says_what_its_picture_shows(name: str) -> None:
    page, command = COMMANDS[name]
    found = re.search(rf"!\[[^\]]+\]\(img/{name}\.svg\)\n\n```\n(.*?)\n```\n", (DOCS / page).read_text(), re.DOTALL)
    assert found
    told = [" ".join(line.split()) for line in found[1].splitlines() if line]
    assert words((DOCS / f"img/{name}.svg").read_text()) == told
    assert told[0] == f"$ bailiwick {' '.join(command)}"
