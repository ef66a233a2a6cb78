"""Where the harness keeps things: in the repository what one run leaves, outside it what is worth keeping."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

RUN = ROOT / ".run"
LOGS = RUN / "logs"
KUBECONFIG = RUN / "kubeconfig"


def cache() -> Path:
    """The folder of everything that is built once, keyed inside by the hash of what it is made from."""
    given = os.environ.get("BAILIWICK_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / "bailiwick"


def write(path: Path, text: str) -> None:
    """Write a file that somebody else may be reading: the old text or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text() == text:
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.rename(path)
