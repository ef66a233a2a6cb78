"""A model whose pods cost nothing: they are sealed like any other, and then run a program that is no engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2e.border.attempts import NAMESPACE
from e2e.demo.attacks import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.border.stage import Stage


@contextmanager
def idle(stage: Stage, name: str) -> Iterator[None]:
    """While this holds, there is a model with children and a replica; it never answers."""
    source = {"oci": {"image": stage.installed.model_image, "pullPolicy": "Never"}}
    model = {
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "SovereignModel",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": {"name": name, "source": source}, "engine": {"image": IMAGE}},
    }
    with stage.there(model):
        yield
    # Nobody waits for the requests of an engine that there is not.
    stage.kubectl.must("wait", "--for=delete", f"deployment/{name}", "-n", NAMESPACE, "--timeout=30s")
    of_it = ("-l", f"bailiwick.dev/model={name}", "-n", NAMESPACE)
    stage.kubectl.must("delete", "replicaset,pod", *of_it, "--grace-period=1", "--wait=true", timeout=120)
