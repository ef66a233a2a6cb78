"""A model by llama.cpp on the real cluster: scheduled inside, ready within seconds, answering through its Service."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.demo import scenes
from e2e.demo.attacks import INSIDE, NAMESPACE
from e2e.demo.install import reference
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "engines" / "llamacpp.yaml"
WITHIN = 45.0
"""Seconds from the start of the engine's container to its readiness, on a node that does much besides."""


@pytest.fixture(scope="module", params=["Volume", "Copy"])
def edge(request: pytest.FixtureRequest, kubectl: Kubectl, model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The sample, serving from an image volume, and from a copy as before Kubernetes 1.36."""
    (sample,) = yaml.safe_load_all(SAMPLE.read_text())
    sample["metadata"]["namespace"] = NAMESPACE
    sample["metadata"]["name"] += f"-{request.param.lower()}"
    source = {"image": reference("smollm2-135m-instruct-gguf"), "pullPolicy": "Never", "mount": request.param}
    if request.param == "Copy":
        source["size"] = "256Mi"
    sample["spec"]["model"]["source"]["oci"] = source
    sample["spec"]["engine"]["image"] = reference("llama-cpp")
    name = sample["metadata"]["name"]
    kubectl.apply(sample)
    yield wait_until(
        lambda: seen if scenes.is_ready(seen := kubectl.get("smodel", name, "-n", NAMESPACE)) else None,
        what=f"model {name} is ready (kubectl describe smodel {name} -n {NAMESPACE})",
    )
    kubectl.run(["delete", "smodel", name, "-n", NAMESPACE, "--wait=true"], timeout=150)
    # Nobody asks any more; the next model needs the room.
    kubectl.run(["delete", "pod", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={name}", "--force"])


def test_it_runs_inside(edge: Mapping[str, Any]) -> None:
    assert {each["node"] for each in edge["status"]["placements"]} == {INSIDE}
    assert edge["status"]["plan"]["engine"] == "llama.cpp"


def test_its_weights_are_the_images(kubectl: Kubectl, edge: Mapping[str, Any]) -> None:
    """As a volume, or in a folder of the pod's own that only what the image holds came into."""
    mount = edge["spec"]["model"]["source"]["oci"]["mount"]
    deployment = kubectl.get("deployment", edge["metadata"]["name"], "-n", NAMESPACE)
    (weights,) = (each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "model")
    assert ("image" in weights, "emptyDir" in weights) == (mount == "Volume", mount == "Copy")
    assert scenes.condition(edge, "Verified")["status"] == "True"


def test_it_answers_through_its_service(kubectl: Kubectl, installed: Installed, edge: Mapping[str, Any]) -> None:
    answer = scenes.ask(kubectl, edge, installed.engine_image)
    assert len(answer.split()) > 3, "words; what they say is the business of a model of four bits"


def test_its_engine_is_ready_within_seconds_and_never_started_again(kubectl: Kubectl, edge: Mapping[str, Any]) -> None:
    pods = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={edge['metadata']['name']}")
    (status,) = (pod["status"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
    (engine,) = status["containerStatuses"]
    (ready,) = (each for each in status["conditions"] if each["type"] == "Ready")
    started, until = (
        datetime.fromisoformat(text) for text in (engine["state"]["running"]["startedAt"], ready["lastTransitionTime"])
    )
    assert engine["restartCount"] == 0
    assert (until - started).total_seconds() <= WITHIN
