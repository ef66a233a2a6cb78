"""The chart's in-tree policies, and which of them an API server takes: what pins is served from Kubernetes 1.36 on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster.apiserver import release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.client import Client

POLICIES = sorted((Path(__file__).parent.parent / "charts/bailiwick/policies").glob("*.yaml"))
_MINOR = tuple(map(int, release().removeprefix("v").split(".")[:2]))
PINS = _MINOR >= (1, 36)
"""Whether the version that the tests run serves MutatingAdmissionPolicy v1."""
IMAGE_VOLUMES = _MINOR >= (1, 35)
"""Whether it keeps an image volume that a pod asks for, or drops it, so that the pod has an empty folder there."""
JUDGES_TARGETS = _MINOR >= (1, 37)
"""Whether it refuses by itself to bind a pod to what cannot be a node's name."""
needs_pin = pytest.mark.skipif(
    not PINS,
    reason=f"needs Kubernetes 1.36, which serves MutatingAdmissionPolicy v1 and pins pods; this is {release()}",
)


def skip_if_dropped(spec: Mapping[str, Any]) -> None:
    """Skip the test where the API server drops what the pod asks for before anybody judges it."""
    if not IMAGE_VOLUMES and any("image" in volume for volume in spec.get("volumes", ())):
        pytest.skip(f"needs Kubernetes 1.35, which keeps image volumes; this is {release()}, which drops them")


def taken_by(client: Client) -> list[Path]:
    """The files that can be applied there."""
    pins = "MutatingAdmissionPolicy" in client.resources("admissionregistration.k8s.io/v1")
    return [file for file in POLICIES if pins or file.stem != "pin"]
