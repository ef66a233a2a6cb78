"""The chart's in-tree policies, and which of them an API server takes: what pins is served from Kubernetes 1.36 on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.apiserver import release

if TYPE_CHECKING:
    from e2e.client import Client

POLICIES = sorted((Path(__file__).parent.parent / "charts/bailiwick/policies").glob("*.yaml"))
PINS = tuple(map(int, release().removeprefix("v").split(".")[:2])) >= (1, 36)
"""Whether the version that the tests run serves MutatingAdmissionPolicy v1."""
needs_pin = pytest.mark.skipif(not PINS, reason=f"Kubernetes {release()} serves no MutatingAdmissionPolicy v1")


def taken_by(client: Client) -> list[Path]:
    """The files that can be applied there."""
    pins = "MutatingAdmissionPolicy" in client.resources("admissionregistration.k8s.io/v1")
    return [file for file in POLICIES if pins or file.stem != "pin"]
