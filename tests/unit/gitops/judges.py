"""What GitOps controllers make of an object: kstatus itself, and Argo CD's interpreter with the check we ship."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster.binaries import binary

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
CUSTOMIZATIONS = ROOT / "samples/gitops/argocd/health.yaml"


def kstatus(objects: Sequence[Any]) -> list[str]:
    """Current, InProgress or Failed, for each."""
    return [each["status"] for each in _told([str(binary("kstatus"))], objects)]


def argo(objects: Sequence[Any], script: Path) -> list[dict[str, str]]:
    """Status and message of each, by the health check that ``script`` holds."""
    return _told([str(binary("argohealth")), str(script)], objects)


def health_checks() -> dict[str, str]:
    """The Lua of the ConfigMap that we ship, by group and kind."""
    data = yaml.safe_load(CUSTOMIZATIONS.read_text())["data"]
    return {key.removeprefix("resource.customizations.health."): lua for key, lua in data.items()}


def _told(command: list[str], objects: Sequence[Any]) -> list[dict[str, str]]:
    text = "\n".join(map(json.dumps, objects))
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
