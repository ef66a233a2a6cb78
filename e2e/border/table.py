"""The table of docs/border.md: what was tried, what stopped it, and how soon."""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path

from e2e.border.catalogue import table_of_documented, table_of_elsewhere

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "border.md"
BEGIN, END = "<!-- {}: written by `make border` -->\n", "<!-- end of {} -->\n"
GIVEN = {"rows elsewhere": table_of_elsewhere(), "rows documented": table_of_documented()}
"""What no run of the suite changes."""


class Table:
    """Rows as they are tried."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], defaultdict[str, list[float]]] = {}

    def add(self, number: int, title: str, stopped_by: str, seconds: float) -> None:
        """One attempt was stopped by this, so many seconds after it was made."""
        self._rows.setdefault((number, title), defaultdict(list))[stopped_by].append(seconds)

    def text(self) -> str:
        """The table as Markdown. Times are of whole `kubectl` calls, the median of a row's attempts."""
        lines = ["| # | way around | attempts | stopped by | time |\n", "|---|---|---|---|---|\n"]
        for (number, title), told in sorted(self._rows.items()):
            times = [seconds for each in told.values() for seconds in each]
            median = statistics.median(times)
            lines.append(f"| {number} | {title} | {len(times)} | {', '.join(told)} | {median:.1f} s |\n")
        return "".join(lines)

    def write(self) -> None:
        """Put the tables of the catalogue into the document, between their marks."""
        document = DOCUMENT.read_text()
        for name, table in (("rows", self.text()), *GIVEN.items()):
            document = put(document, name, table)
        DOCUMENT.write_text(document)


def put(document: str, name: str, table: str) -> str:
    """The document with this table between the marks of that name. Raises ValueError when they are gone."""
    return _placed(document, BEGIN.format(name), END.format(name), table)


def put_between(begin: str, end: str, text: str) -> None:
    """Put a text into the document, between two marks (whole lines). Raises ValueError when they are gone."""
    DOCUMENT.write_text(_placed(DOCUMENT.read_text(), begin, end, text))


def _placed(document: str, begin: str, end: str, text: str) -> str:
    before, _, rest = document.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{DOCUMENT.name} has lost its marks {begin.strip()} and {end.strip()}")
    return f"{before}{begin}{text}{end}{after}"
