"""Docker, for unpacking Debian packages where mmdebstrap is not at hand."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from e2e.cluster.steps import attempt, run, run_logged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def answers() -> bool:
    """Whether Docker is there, and its daemon answers."""
    return shutil.which("docker") is not None and attempt("docker", "info").returncode == 0


def build(context: Path, tag: str, arguments: Mapping[str, str], platform: str, log: Path) -> None:
    """Build `context` and call the result `tag`. Raises ClusterError that shows the end of the log."""
    given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    file = context / "Containerfile"
    run_logged(log, "docker", "build", "--platform", platform, "--tag", tag, *given, "--file", file, context)


def export(tag: str, into: Path, platform: str, log: Path) -> None:
    """Write the files of an image as a tar."""
    container = run("docker", "create", "--platform", platform, tag, "true").strip()
    try:
        run_logged(log, "docker", "export", "--output", into, container)
    finally:
        run_logged(log, "docker", "rm", container)
