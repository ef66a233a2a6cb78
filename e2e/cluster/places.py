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
