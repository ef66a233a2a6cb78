"""Tables and paragraphs for a terminal: columns, wrapped text, and colour where it is one."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GAP = 3
_NARROWEST = 40
_WIDEST = 120
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


class Tone(Enum):
    """What a text is, by its colour (SGR)."""

    PLAIN = ""
    HEADING = "1"
    FAINT = "2"
    BAD = "31"
    GOOD = "32"
    DOUBTFUL = "33"


@dataclass(frozen=True, slots=True)
class Cell:
    """One text and its tone."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Style:
    """How a place to write to shows things. ``width`` is None where lines are not wrapped."""

    colour: bool = False
    width: int | None = None

    @classmethod
    def of(cls, output: TextIO) -> Style:
        """Colour and wrapping on a terminal alone; no colour where NO_COLOR is set or the terminal is dumb."""
        if not output.isatty():
            return cls()
        columns = shutil.get_terminal_size((_WIDEST, 24)).columns
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(colour=colour, width=max(columns, _NARROWEST))

    def paint(self, text: str, tone: Tone) -> str:
        """The text in its colour. Whatever in it would steer a terminal is taken out: others may have written it."""
        plain = harmless(text)
        return f"\033[{tone.value}m{plain}\033[0m" if self.colour and tone.value and plain else plain

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> Iterator[str]:
        """Lines of a table; nothing stands behind the last column."""
        cells = [[Cell(name, Tone.FAINT) for name in head]]
        cells += [[each if isinstance(each, Cell) else Cell(each) for each in row] for row in rows]
        widths = [
            max(len(harmless(cell.text)) for cell in column) for column in zip_longest(*cells, fillvalue=Cell(""))
        ]
        for row in cells:
            line = ""
            for cell, width in zip(row, widths, strict=True):
                line += self.paint(cell.text, cell.tone) + " " * (width - len(harmless(cell.text)) + _GAP)
            yield line.rstrip()

    def paragraph(self, text: str, *, indent: int, hang: int = 0) -> Iterator[str]:
        """A long text below something else. Its lines but the first are indented by ``hang`` more."""
        margin, plain = " " * indent, harmless(text)
        if self.width is None:
            yield margin + plain
            return
        width = min(self.width, _WIDEST)
        below = " " * (indent + hang)
        yield from textwrap.wrap(plain, width, initial_indent=margin, subsequent_indent=below, break_on_hyphens=False)


def harmless(text: str) -> str:
    """A text without control characters, line breaks among them."""
    return _CONTROL.sub(" ", text)
