"""A namespace that every part of a policy guards, on the real cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.border.attempts import NAMESPACE
from e2e.border.models import IDLE, idle
from e2e.border.table import Table
from e2e.demo.scenes import govern
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

GROUND = Path(__file__).with_name("ground.yaml")


@pytest.fixture(scope="session")
def fortress(installed: Installed, kubectl: Kubectl) -> Iterator[str]:
    """The namespace, governed and guarded, with a model; it goes when the suite ends."""
    govern(kubectl)  # the statements about the nodes
    kubectl.must("apply", "--server-side", "--force-conflicts", "-f", str(GROUND))
    wait_until(lambda: _guarded(kubectl), what="the guards of the policy are in force")
    wait_until(lambda: _serves(kubectl, installed), what="the model is admitted")
    yield NAMESPACE
    kubectl.must("delete", "smodel", IDLE, "-n", NAMESPACE)
    kubectl.must("wait", "--for=delete", f"deployment/{IDLE}", "-n", NAMESPACE, "--timeout=30s")
    kubectl.must("delete", "pod", "--all", "-n", NAMESPACE, "--grace-period=1", "--wait=false")
    kubectl.must("delete", "respol", NAMESPACE)
    kubectl.must("delete", "-f", str(GROUND), "--ignore-not-found", "--wait=true", timeout=120)


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """What stopped what, and how soon; `make border` keeps it."""
    table = Table()
    yield table
    if os.environ.get("BORDER_TABLE") == "write":
        table.write()


def _serves(kubectl: Kubectl, installed: Installed) -> bool:
    """A namespace that became governed just now needs a moment until the API server knows."""
    return kubectl.run(["apply", "--server-side", "-f", "-"], standard_input=json.dumps(idle(installed))).accepted


def _guarded(kubectl: Kubectl) -> bool:
    """The API server puts bindings into force in the order of their creation; that of pods comes last."""
    probe = kubectl.run(["run", "probe", "-n", NAMESPACE, "--image=x.example/x", "--dry-run=server"])
    return "bailiwick-pods" in probe.text
