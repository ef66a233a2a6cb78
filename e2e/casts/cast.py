"""A command on a terminal of its own, and what it wrote when: asciicast v2, and the text at the end as a picture."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SGR = re.compile("\x1b\\[([0-9;]*)m")
_CHARACTER, _LINE, _MARGIN, _SIZE = 7.83, 18, 14, 13
"""Pixels: a monospaced character at this size is 0.602 of it wide."""
_PAPER, _INK = "#1e2227", "#d7dae0"
_LOOKS = {
    "1": 'font-weight="700" fill="#ffffff"',
    "2": 'fill="#8b93a1"',
    "31": 'fill="#ff7b72"',
    "32": 'fill="#7ee787"',
    "33": 'fill="#e3b341"',
}
"""By the tones of bailiwick.cli.tables."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One command as it was typed, and what came: pieces of text, each with the seconds since the command began."""

    command: str
    pieces: Sequence[tuple[float, str]]

    @property
    def written(self) -> str:
        return "".join(piece for _, piece in self.pieces).replace("\r\n", "\n").rstrip("\n")

    @property
    def text(self) -> str:
        """Without colours, as the page tells it to those who do not see the picture."""
        return f"$ {self.command}\n{_SGR.sub('', self.written)}"


def asciicast(every: Sequence[Shown], *, columns: int, rows: int, pause: float = 2.0) -> str:
    """All of them one after the other, for players of asciicast v2."""
    lines: list[object] = [{"version": 2, "width": columns, "height": rows, "env": {"TERM": "xterm"}}]
    now = 0.0
    for shown in every:
        lines.append([round(now, 3), "o", f"$ {shown.command}\r\n"])
        lines += [[round(now + at, 3), "o", piece] for at, piece in shown.pieces]
        now += shown.pieces[-1][0] + pause
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def picture(shown: Shown) -> str:
    """An SVG of what stands on the terminal at the end, as wide as its longest line. ValueError: not to be shown."""
    lines = [f"\x1b[2m$\x1b[0m {shown.command}", *shown.written.split("\n")]
    columns = max(len(_SGR.sub("", line)) for line in lines)
    width, height = round(columns * _CHARACTER) + 2 * _MARGIN, len(lines) * _LINE + 2 * _MARGIN
    rows = "".join(
        f'<text x="{_MARGIN}" y="{_MARGIN + (at + 1) * _LINE - 5}">{"".join(_spans(line))}</text>\n'
        for at, line in enumerate(lines)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="{_PAPER}"/>\n'
        f"<g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" "
        f'font-size="{_SIZE}" fill="{_INK}" xml:space="preserve">\n{rows}</g>\n</svg>\n'
    )


def _spans(line: str) -> Iterator[str]:
    """Each run of characters at its column, so that tables stand straight whatever the font."""
    column, look = 0, ""
    parts = _SGR.split(line)
    for at, part in enumerate(parts):
        if at % 2:
            look = "" if part in {"", "0"} else _LOOKS[part]
            continue
        if "\x1b" in part or "\r" in part:
            raise ValueError(f"a picture cannot show {part!r}")
        for word in re.finditer(r"\S+(?: \S+)*", part):
            x = _MARGIN + (column + word.start()) * _CHARACTER
            length = len(word[0]) * _CHARACTER
            told = html.escape(word[0], quote=False)
            yield f'<tspan x="{x:.1f}" textLength="{length:.1f}"{" " + look if look else ""}>{told}</tspan>'
        column += len(part)
