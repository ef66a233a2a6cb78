"""The table of docs/border.md: what was tried, what stopped it, and how soon."""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "border.md"
BEGIN, END = "<!-- rows: written by `make border` -->\n", "<!-- end of rows -->\n"


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
        """Put the table into the document, between its marks. Raises ValueError when they are gone."""
        document = DOCUMENT.read_text()
        before, _, rest = document.partition(BEGIN)
        _, _, after = rest.partition(END)
        if not after:
            raise ValueError(f"{DOCUMENT.name} has lost its marks {BEGIN.strip()} and {END.strip()}")
        DOCUMENT.write_text(f"{before}{BEGIN}{self.text()}{END}{after}")
