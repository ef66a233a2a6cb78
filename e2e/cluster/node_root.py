"""The Debian root that nodes and the control plane's images stand on, as a tar file made from packages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.prerequisites import FOR_ROOTS, require
from e2e.cluster.steps import log_file, run_logged, step

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITE = "bookworm"
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def root(packages: Sequence[str], hooks: Sequence[str]) -> Path:
    """The tar file of a minimal Debian with these packages; made once for the same packages and hooks.

    `hooks` are shell commands that see the unpacked root as $1, last of all. Raises ClusterError.
    """

    def make(archive: Path) -> None:
        require(FOR_ROOTS)
        with step(f"making the nodes' root from {len(packages)} Debian packages and what they need"):
            _make(archive, packages, hooks)

    return kept("node-roots", f"root-{key_of(SUITE, *packages, *hooks, *UNREAD)}", make)


def _make(archive: Path, packages: Sequence[str], hooks: Sequence[str]) -> None:
    run_logged(
        log_file("mmdebstrap"),
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        "--skip=output/dev",  # device nodes are the runtime's business
        f"--include={','.join(packages)}",
        *(f"--dpkgopt=path-exclude={path}" for path in UNREAD),
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE,
        archive,
        *sources(),
        env={"SOURCE_DATE_EPOCH": "0"},
    )


def sources() -> list[Path]:
    """Where this machine gets its own packages, when it is the same Debian; otherwise mmdebstrap's default."""
    release = Path("/etc/os-release")
    same = release.exists() and re.search(rf"^VERSION_CODENAME={SUITE}$", release.read_text(), re.MULTILINE)
    return [source for source in SOURCES if source.exists() and source.read_text().strip()][:1] if same else []
