"""Another version of the chart over this one: Bailiwick's own pods change, a model's do not."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster.binaries import binary
from e2e.demo.install import CHART, SYSTEM
from e2e.kubectl import wait_until
from e2e.serving.conftest import MODEL, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

OTHER = "0.999.0"


def helm(installed: Installed, *arguments: str) -> None:
    """Helm, with what the release has already; returns when its pods are ready."""
    command = [
        str(binary("helm")), *arguments, "--kubeconfig", str(installed.kubeconfig), "--namespace", SYSTEM, "--wait",
        "--timeout", "3m",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"


def what_runs(kubectl: Kubectl) -> tuple[int, Any, set[str]]:
    """The Deployment's generation and pod template, and who its pods are."""
    deployment = kubectl.get("deployment", MODEL, "-n", NAMESPACE)
    pods = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={MODEL}")
    return (
        deployment["metadata"]["generation"],
        deployment["spec"]["template"],
        {each["metadata"]["uid"] for each in pods},
    )


def looked_at_since(kubectl: Kubectl, operators: set[str]) -> bool:
    """Whether an operator that was not there before leads, and has looked at the model."""
    lease = kubectl.get("lease", "bailiwick-operator", "-n", SYSTEM).get("spec", {})
    return bool(lease.get("holderIdentity")) and lease["holderIdentity"] not in operators


def test_an_upgrade_of_bailiwick_restarts_no_model(
    kubectl: Kubectl, installed: Installed, served: Mapping[str, Any], tmp_path: Path
) -> None:
    chart = tmp_path / "bailiwick"
    shutil.copytree(CHART, chart, symlinks=False)
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described | {"version": OTHER, "appVersion": OTHER}))
    before = what_runs(kubectl)
    leader = kubectl.get("lease", "bailiwick-operator", "-n", SYSTEM)["spec"]["holderIdentity"]
    try:
        helm(
            installed,
            "upgrade",
            "bailiwick",
            str(chart),
            "--reuse-values",
            "--set",
            f"operator.podAnnotations.release={OTHER}",
        )
        wait_until(lambda: looked_at_since(kubectl, {leader}), what="a new operator leads")
        # What a new operator would do to the model it does when it repairs a child: so a child is broken, and repaired.
        kubectl.must("delete", "service", MODEL, "-n", NAMESPACE)
        wait_until(lambda: kubectl.get("service", MODEL, "-n", NAMESPACE), what="the Service is back")
        assert what_runs(kubectl) == before
    finally:
        helm(installed, "upgrade", "bailiwick", str(CHART), "--reuse-values")
