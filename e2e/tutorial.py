"""docs/tutorial.md as a person works through it: each block of shell, in the order of the page.

A comment above a block, which readers do not see, says what must come of it:

- ``<!-- shows: TEXT -->``: it succeeds, and its output has TEXT; several of them all hold.
- ``<!-- refused: REASON -->``: it fails, and what it says has REASON.
- ``<!-- before -->``: it makes the cluster, which a suite has already.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/tutorial.md"
NODES = ("bailiwick-worker", "bailiwick-worker2")
"""The nodes that the page speaks of: inside, abroad."""
NAMESPACE = POLICY = "lab"
"""What the page makes, and removes at its end."""
_BLOCK = re.compile(r"(?P<notes>(?:^<!-- [^\n]* -->\n)*)^```sh\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"<!-- (shows|refused|before)(?:: (.*?))? -->")


class TutorialError(Exception):
    """A block did not do what the page says; the message has what it wrote."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block: what is typed, and what must come of it."""

    script: str
    shows: tuple[str, ...]
    refused: str
    before: bool

    def __str__(self) -> str:
        return self.script.partition("\n")[0]


def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page, in order. Raises TutorialError for a comment that nobody understands."""
    found = []
    for block in _BLOCK.finditer(page):
        notes = _NOTE.findall(block["notes"])
        if len(notes) != block["notes"].count("\n"):
            raise TutorialError(f"a comment is none of shows, refused, before: {block['notes']}")
        told = {kind: tuple(text for each, text in notes if each == kind) for kind in ("shows", "refused", "before")}
        found.append(Block(block["script"], told["shows"], "".join(told["refused"]), bool(told["before"])))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where somebody types: a folder of their own, a cluster, and the programs of this repository."""

    folder: Path
    kubeconfig: Path
    programs: Sequence[Path]

    def do(self, block: Block) -> str:
        """Type a block; what it wrote. Raises TutorialError when it does not do what the page says."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.script], cwd=self.folder, env=self._environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180,
            check=False,
        )  # fmt: skip
        wanted = [block.refused] if block.refused else block.shows
        if (done.returncode != 0) != bool(block.refused) or not all(each in done.stdout for each in wanted):
            expected = f"refused: {block.refused}" if block.refused else f"done, with {', '.join(wanted) or 'anything'}"
            raise TutorialError(f"{block.script}expected {expected}; it ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        ours = self.folder / "bin"
        ours.mkdir(exist_ok=True)
        (ours / "bailiwick").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bailiwick.cli "$@"\n')
        (ours / "bailiwick").chmod(0o755)
        path = os.pathsep.join([str(ours), *map(str, self.programs), os.environ["PATH"]])
        kept = {key: value for key, value in os.environ.items() if key != "KUBERNETES_SERVICE_HOST"}
        return {
            **kept, "PATH": path, "KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
            "NO_COLOR": "1",
        }  # fmt: skip
