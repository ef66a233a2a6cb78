"""Files and folders that are made once and kept in the cache, under the hash of what they are made from."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import places
from e2e.cluster.steps import locked

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATIONS = 2  # of one name: what is current, and what another branch may still be using


def kept(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """`<cache>/<kind>/<name>`, where a name ends with its key; `make` writes it to the path that it is given.

    It appears whole or not at all, also when two processes want it at once or one is killed. Older generations go.
    """
    target = places.cache() / kind / name
    if target.exists():
        return target
    family = name.rpartition("-")[0]
    with locked(f"{kind}-{family}"):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            for leftover in target.parent.glob(f".{family}.*"):  # of a killed process: we hold the lock
                shutil.rmtree(leftover)
            with tempfile.TemporaryDirectory(prefix=f".{family}.", dir=target.parent) as unfinished:
                made = Path(unfinished) / name
                make(made)
                made.rename(target)
            _forget(target, family)
    return target


def _forget(newest: Path, family: str) -> None:
    key_length = len(newest.name) - len(family)
    generations = [path for path in newest.parent.glob(f"{family}-*") if len(path.name) - len(family) == key_length]
    for old in sorted(generations, key=lambda path: path.stat().st_mtime, reverse=True)[GENERATIONS:]:
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
