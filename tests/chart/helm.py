"""Helm, as a person types it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.client import parsed
from e2e.cluster.apiserver import release

if TYPE_CHECKING:
    from e2e.client import Manifest

CHART = Path(__file__).parents[2] / "charts/bailiwick"
NAMESPACE = "bailiwick-system"
AS_SERVED = f"--kube-version={release()}"
"""For what is rendered without the server that the tests run, and meant for it: Helm would ask it for its version."""


class HelmError(Exception):
    """What Helm says when it refuses."""


@dataclass(frozen=True, slots=True)
class Helm:
    """The Helm client; with a kubeconfig it talks to a cluster, without one it only renders."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str, **values: Any) -> str:
        """What Helm prints. ``values`` are top-level values of the chart. Raises HelmError."""
        command = [
            str(self.program),
            *arguments,
            *(f"--set-json={key}={json.dumps(value)}" for key, value in values.items()),
        ]
        environment = {"HOME": str(self.home)} | {
            f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")
        }
        if self.kubeconfig:
            environment["KUBECONFIG"] = str(self.kubeconfig)
        done = subprocess.run(
            command,
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise HelmError(done.stderr)
        return done.stdout

    def template(self, *arguments: str, **values: Any) -> list[Manifest]:
        """What the chart renders to."""
        text = self.run("template", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", *arguments, **values)
        return list(parsed(text))

    def manifest(self, *arguments: str) -> list[Manifest]:
        """What the release holds; the newest revision unless the arguments name one."""
        return list(parsed(self.run("get", "manifest", "bailiwick", f"--namespace={NAMESPACE}", *arguments)))
