"""A model whose pods cost nothing: they are sealed like any other, and then run a program that is no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.border.attempts import NAMESPACE
from e2e.demo.attacks import IMAGE

if TYPE_CHECKING:
    from e2e.border.attempts import Manifest
    from e2e.demo.install import Installed

IDLE = "idle"


def idle(installed: Installed, name: str = IDLE) -> Manifest:
    """It has children and a replica, and never answers."""
    source = {"oci": {"image": installed.model_image, "pullPolicy": "Never"}}
    return {
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "SovereignModel",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": {"name": name, "source": source}, "engine": {"image": IMAGE}},
    }
