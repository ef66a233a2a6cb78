"""The last release, from its wheel, which the repository keeps for tests that upgrade from it (docs/adr/0014)."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from e2e.cluster import places
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = places.ROOT / "tests/releases"


def wheel() -> Path:
    """The one that is there."""
    (found,) = RELEASES.glob("*.whl")
    return found


def version() -> str:
    """Such as 0.1.0; of a wheel, what its name says after the package's."""
    return wheel().name.split("-")[1]


def source() -> Path:
    """The folder from which Python imports its `bailiwick`."""
    return kept("releases", f"bailiwick-{version()}-{key_of(wheel().read_bytes())}", _unpack)


def chart() -> Path:
    """Its Helm chart, as a folder."""
    return source() / f"bailiwick-{version()}.data/data/share/bailiwick/chart"


def _unpack(target: Path) -> None:
    with zipfile.ZipFile(wheel()) as archive:
        archive.extractall(target)
