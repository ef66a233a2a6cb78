"""Helm, as a person types it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from e2e.client import Manifest

CHART = Path(__file__).parents[2] / "charts/bailiwick"
NAMESPACE = "bailiwick-system"


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
        return [document for document in yaml.safe_load_all(text) if document]
