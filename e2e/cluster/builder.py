"""Docker, Podman or buildah, whichever is there, for building from a Containerfile."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.cluster.steps import attempt, run, run_logged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Builder:
    """A program that builds images. All three understand the same `build`; they differ in how an image gets out."""

    name: str

    def build(
        self, context: Path, tag: str, arguments: Mapping[str, str], log: Path, containerfile: str = "Containerfile"
    ) -> None:
        """Build `context` and call the result `tag`. Raises ClusterError that shows the end of the log."""
        given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        file = context / containerfile
        self._run(log, "build", *self._peculiar, "--tag", tag, *given, "--file", file, context)

    def save(self, tag: str, into: Path, log: Path) -> None:
        """Write an image as an archive with an OCI layout inside."""
        if self.name == "docker":
            self._run(log, "save", "--output", into, tag)
        elif self.name == "podman":
            self._run(log, "save", "--format", "oci-archive", "--uncompressed", "--output", into, tag)
        else:
            self._run(log, "push", "--disable-compression", tag, f"oci-archive:{into}")

    def export(self, tag: str, into: Path, log: Path) -> None:
        """Write the files of an image as a tar. Docker and Podman can."""
        container = run(self.name, "create", tag, "true").strip()
        try:
            self._run(log, "export", "--output", into, container)
        finally:
            self._run(log, "rm", container)

    def remove(self, tag: str) -> None:
        """Forget an image that has been saved. That there was none is as good."""
        attempt(self.name, "rmi", tag)

    @property
    def _peculiar(self) -> tuple[str, ...]:
        """Options of `build` that one of them needs.

        A base on this machine is not looked for in a registry; files of no date make the same image twice; in chroot
        isolation a RUN works inside containers too.
        """
        if self.name == "docker":
            return ()
        return "--pull=missing" if self.name == "podman" else "--pull=false", "--timestamp=0", "--isolation=chroot"

    def _run(self, log: Path, *arguments: str | Path) -> None:
        run_logged(log, self.name, *arguments)


def find() -> Builder | None:
    """The first of Docker (when its daemon answers), Podman and buildah that is there."""
    for name in ("docker", "podman", "buildah"):
        if shutil.which(name) and (name != "docker" or attempt("docker", "info").returncode == 0):
            return Builder(name)
    return None
