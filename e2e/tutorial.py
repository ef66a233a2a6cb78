"""docs/tutorial.md as a person works through it: each block of shell, in the order of the page.

A block succeeds. A comment above it, which readers do not see, says what else must come of it:

- ``<!-- refused: REASON -->``: it fails, and what it says has REASON.
- ``<!-- before -->``: it makes the cluster, which a suite has already.

A block without a language right below shows what is written. Lines may be broken elsewhere; ``…`` stands for anything.
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
_BLOCK = re.compile(
    r"(?P<notes>(?:^<!-- [^\n]* -->\n)*)^```sh\n(?P<script>.*?)^```$(?:\n\n^```\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- (refused|before)(?:: (\w+))? -->")


class TutorialError(Exception):
    """A block did not do what the page says; the message has what it wrote."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block: what is typed, and what must come of it."""

    script: str
    shown: str
    refused: str
    before: bool

    def __str__(self) -> str:
        return self.script.partition("\n")[0]


def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page, in order. Raises TutorialError for a comment that nobody understands."""
    found = []
    for block in _BLOCK.finditer(page):
        notes = dict(_NOTE.findall(block["notes"]))
        if len(notes) != block["notes"].count("\n"):
            raise TutorialError(f"a comment is none of refused, before: {block['notes']}")
        found.append(Block(block["script"], block["shown"] or "", notes.get("refused", ""), "before" in notes))
    return tuple(found)


def is_shown(shown: str, written: str) -> bool:
    """Whether ``written`` has what a page shows: the same words in the same order, and anything for ``…``."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in shown.split("…")]
    return re.search(".*?".join(parts), written, re.DOTALL) is not None


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
        failed = done.returncode != 0
        if failed != bool(block.refused) or block.refused not in done.stdout:
            expected = f"a refusal with {block.refused}" if block.refused else "no failure"
            raise TutorialError(f"{block.script}expected {expected}; it ended with {done.returncode}:\n{done.stdout}")
        if not is_shown(block.shown, done.stdout):
            raise TutorialError(f"{block.script}expected to see\n{block.shown}but it wrote\n{done.stdout}")
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
