"""A release on the real cluster: its leader is lost, it goes and comes back, and a cluster is given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster import cluster
from e2e.cluster.binaries import binary
from e2e.demo import scenes
from e2e.demo.attacks import ATTEMPTS, NAMESPACE
from e2e.demo.install import ROOT, SYSTEM, install
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

MODEL = "assistant"
PATIENCE_SECONDS = 45.0
"""For what takes 9 to 11 s on a machine that does nothing else (`make drill`)."""

LEFT: dict[str, Any] = {
    "apiVersion": "bailiwick.dev/v1alpha1",
    "kind": "NodeStatement",
    "metadata": {"name": "left"},
    "spec": {
        "node": {"name": "left"},
        "place": {"jurisdiction": "DE"},
        "issuedAt": "2026-01-01T00:00:00Z",
        "expiresAt": "2027-01-01T00:00:00Z",
    },
}
"""What somebody deletes while nobody of Bailiwick is there."""


def leader(kubectl: Kubectl) -> str:
    """The pod that holds the lease; empty when none does."""
    holder = kubectl.get("lease", "bailiwick-operator", "-n", SYSTEM).get("spec", {}).get("holderIdentity") or ""
    return str(holder).rpartition("_")[0]


def of_the_model(kubectl: Kubectl) -> set[str]:
    """Who its pods are that stay, and how often their containers started. One that ends may take over a minute."""
    pods = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={MODEL}")
    return {
        f"{each['metadata']['uid']} {[one['restartCount'] for one in each['status']['containerStatuses']]}"
        for each in pods
        if not each["metadata"].get("deletionTimestamp")
    }


def repaired(kubectl: Kubectl, *, what: str) -> float:
    """Seconds until the operator has put the model's Service back."""
    kubectl.must("delete", "service", MODEL, "-n", NAMESPACE)
    begin = time.monotonic()
    wait_until(lambda: kubectl.get("service", MODEL, "-n", NAMESPACE), what=what, seconds=PATIENCE_SECONDS, every=0.1)
    return time.monotonic() - begin


def test_another_replica_acts_soon_after_the_leader_is_lost(kubectl: Kubectl, model: Mapping[str, Any]) -> None:
    lost = wait_until(lambda: leader(kubectl), what="a replica leads", seconds=60)
    before = of_the_model(kubectl)
    kubectl.must("delete", "pod", lost, "-n", SYSTEM, "--grace-period=0", "--force")
    print(f"\nrepaired {repaired(kubectl, what='the Service is back'):.1f} s after the leader was lost")
    assert leader(kubectl) != lost
    assert of_the_model(kubectl) == before


def test_without_its_release_the_border_holds_and_models_serve_and_nothing_is_stuck(
    kubectl: Kubectl, installed: Installed, model: Mapping[str, Any]
) -> None:
    kubectl.apply(LEFT)
    before = of_the_model(kubectl)
    helm = [str(binary("helm")), "--kubeconfig", str(installed.kubeconfig), "--namespace", SYSTEM]
    subprocess.run([*helm, "uninstall", "bailiwick", "--wait", "--timeout", "2m"], check=True, capture_output=True)
    try:
        assert not kubectl.items("deployments", "-n", SYSTEM)
        answer = scenes.attempt(kubectl, ATTEMPTS[0])
        assert scenes.is_held(ATTEMPTS[0], answer), answer
        assert scenes.ask(kubectl, model, installed.engine_image)
        kubectl.must("delete", "nodestatement", LEFT["metadata"]["name"], "--wait=true", "--timeout=20s")
        stuck = [
            each["metadata"]["name"]
            for kind in ("smodel", "respol", "territories", "jurisdictions", "acceleratorclasses")
            for each in kubectl.items(kind, "-A")
            if each["metadata"].get("finalizers")
        ]
        assert not stuck
    finally:
        install()
    repaired(kubectl, what="the operator that was put back works")
    scenes.serving(kubectl)
    assert of_the_model(kubectl) == before


@pytest.mark.usefixtures("model")
def test_the_demo_runs_on_a_cluster_that_is_given(installed: Installed) -> None:
    if cluster.external():
        pytest.skip("the demo has just run on the given cluster")
    given = {"CLUSTER": "external", "KUBECONFIG": str(installed.kubeconfig)}
    ran = subprocess.run(
        [sys.executable, "-m", "e2e.demo"], env={**os.environ, **given}, cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nothing crossed" in ran.stdout
