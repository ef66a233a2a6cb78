"""``python -m e2e.casts``: runs commands on a real API server and writes what they show into the documentation.

Of each command: an SVG in docs/img, and the same text below it in the page. Of all together: docs/img/look.cast.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

from e2e.casts.cast import Shown, asciicast, picture
from e2e.casts.scene import NAMESPACE, clinic
from e2e.cluster.places import ROOT
from e2e.cluster.steps import say
from tests.apiserver.terminal import COLUMNS, LINES, terminal

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
COMMANDS = {
    "status": ("status.md", ("status", "-n", NAMESPACE)),
    "explain": ("explain.md", ("explain", "model/imaging", "-n", NAMESPACE)),
}
"""By the name of the picture: the page that it stands in, and the command."""


def main() -> int:
    """Run all of them."""
    (DOCS / "img").mkdir(exist_ok=True)
    say("bringing up what is looked at …")
    with clinic() as realm:
        every = {name: run(realm.server.kubeconfig(), command) for name, (_, command) in COMMANDS.items()}
    for name, (page, _) in COMMANDS.items():
        (DOCS / f"img/{name}.svg").write_text(picture(every[name]))
        told = replaced((DOCS / page).read_text(), name, every[name].text)
        (DOCS / page).write_text(told)
    (DOCS / "img/look.cast").write_text(asciicast(list(every.values()), columns=COLUMNS, rows=LINES))
    return 0


def run(kubeconfig: Path, command: tuple[str, ...]) -> Shown:
    """One command on a terminal, to its end."""
    pieces: list[tuple[float, str]] = []
    start, seen, ended = time.monotonic(), 0, False
    with terminal(kubeconfig, *command) as shown:
        while len(shown.written) > seen or not ended:
            seen = len(shown.written)
            ended = shown.process.poll() is not None  # asked before reading: what it wrote is there by then
            looks = iter((False, True))
            shown.until(lambda _: next(looks))  # noqa: B023 - called at once
            if piece := shown.written[seen:]:
                pieces.append((round(time.monotonic() - start, 2), piece))
    return Shown(f"bailiwick {' '.join(command)}", pieces)


def replaced(page: str, name: str, text: str) -> str:
    """The page with this text in the block below a picture. ValueError where there is no such block."""
    block = re.compile(rf"(!\[[^\]]*\]\(img/{name}\.svg\)\n\n```\n).*?(\n```\n)", re.DOTALL)
    found, count = block.subn(lambda match: f"{match[1]}{text}{match[2]}", page)
    if count != 1:
        raise ValueError(f"no block of text below img/{name}.svg")
    return found


if __name__ == "__main__":
    sys.exit(main())
