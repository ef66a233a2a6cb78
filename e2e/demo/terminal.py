"""What the demo prints: steps with their time, refusals, and tables; colour only on a terminal."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOUR else text


def bold(text: str) -> str:
    """Emphasis."""
    return _paint(text, "1")


def good(text: str) -> str:
    """What went as it should."""
    return _paint(text, "32")


def bad(text: str) -> str:
    """What did not."""
    return _paint(text, "31")


def faint(text: str) -> str:
    """What one may skip."""
    return _paint(text, "2")


def heading(text: str) -> None:
    """The start of a part."""
    print(f"\n{bold(text)}", flush=True)


def line(text: str = "") -> None:
    """One line."""
    print(text, flush=True)


def paragraph(text: str, *, indent: int) -> None:
    """A long text, wrapped to the terminal."""
    width = min(shutil.get_terminal_size((120, 24)).columns, 120)
    margin = " " * indent
    print(textwrap.fill(text, width=width, initial_indent=margin, subsequent_indent=margin), flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    line(f"  … {text}")
    begin = time.monotonic()
    yield
    line(f"  {good('✓')} {text} {faint(f'({time.monotonic() - begin:.1f} s)')}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print("  " + bold("  ".join(cell.ljust(width) for cell, width in zip(header, widths, strict=True)).rstrip()))
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()
