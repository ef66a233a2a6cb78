"""Rolling updates and drained nodes under load: every answer comes whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.demo.attacks import ABROAD, INSIDE
from e2e.kubectl import wait_until
from e2e.serving.conftest import MODEL, NAMESPACE, ready
from e2e.serving.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

BEFORE_AND_AFTER = 40
"""Requests on either side of what happens, so that both sides are seen to serve."""


@pytest.fixture
def load(kubectl: Kubectl, installed: Installed, served: Mapping[str, Any]) -> Iterator[Load]:
    load = Load(kubectl, NAMESPACE)
    load.start(endpoint=served["status"]["endpoint"], model=MODEL, image=installed.engine_image, node=INSIDE)
    load.more(BEFORE_AND_AFTER)
    yield load
    kubectl.run(["delete", "pod", load.name, "-n", NAMESPACE, "--now", "--ignore-not-found"])


def pods(kubectl: Kubectl) -> dict[str, str]:
    """The model's pods, and their nodes."""
    found = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={MODEL}")
    return {each["metadata"]["name"]: each["spec"].get("nodeName", "") for each in found}


def gone(kubectl: Kubectl, names: set[str]) -> None:
    wait_until(lambda: not names & set(pods(kubectl)), what="the former pods are gone", seconds=400)


def lost(load: Load) -> Mapping[str, int]:
    """Let some more come, stop, and say what failed."""
    load.more(BEFORE_AND_AFTER)
    count = load.stop()
    assert count.whole > 2 * BEFORE_AND_AFTER
    return count.failures


def test_a_rolling_update_loses_no_request(kubectl: Kubectl, load: Load) -> None:
    former = set(pods(kubectl))
    change = json.dumps({"spec": {"context": {"maxSequences": 7}}})
    kubectl.must("patch", "smodel", MODEL, "-n", NAMESPACE, "--type=merge", "-p", change)
    gone(kubectl, former)
    ready(kubectl)
    assert lost(load) == {}


def test_a_drained_node_loses_no_request(kubectl: Kubectl, load: Load) -> None:
    former = {name for name, node in pods(kubectl).items() if node == ABROAD}
    assert former, "no replica is on the node that is drained"
    try:
        kubectl.must(
            "drain", ABROAD, "--ignore-daemonsets", "--delete-emptydir-data", "--force",
            f"--pod-selector=bailiwick.dev/model={MODEL}", "--timeout=300s", timeout=310,
        )  # fmt: skip
        gone(kubectl, former)
        # The other node may have no room for a second replica: the first goes on.
        assert lost(load) == {}
    finally:
        kubectl.must("uncordon", ABROAD)
