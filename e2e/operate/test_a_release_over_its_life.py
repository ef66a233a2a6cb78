"""A release on the real cluster: its leader is lost, it goes, the last one is upgraded, and a cluster is given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import bailiwick
from e2e.client import Client
from e2e.cluster import cluster, images, last_release
from e2e.cluster.binaries import binary
from e2e.cluster.load import load_image
from e2e.demo import scenes
from e2e.demo.attacks import ABROAD, ATTEMPTS, INSIDE, NAMESPACE, pod
from e2e.demo.install import ROOT, SYSTEM, WORKERS, install, install_chart, reference
from e2e.kubectl import wait_until
from e2e.operate.trespasser import Trespasser
from e2e.serving.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

MODEL = "assistant"
SPARE = "poddisruptionbudget"
"""A child without which requests are answered all the same."""
BEFORE_AND_AFTER = 5
PATIENCE_SECONDS = 45.0
"""For what takes 9 to 11 s on a machine that does nothing else (`make drill`)."""
VERSION = "app.kubernetes.io/version"

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


def version_that_leads(kubectl: Kubectl) -> str:
    """The version of the pod that holds the lease; empty when none does, or when it is gone."""
    holder = leader(kubectl)
    pod = kubectl.get("pod", holder, "-n", SYSTEM) if holder else {}
    return str(pod.get("metadata", {}).get("labels", {}).get(VERSION, ""))


def of_the_model(kubectl: Kubectl) -> set[str]:
    """Who its pods are that stay, and how often their containers started. One that ends may take over a minute."""
    pods = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={MODEL}")
    return {
        f"{each['metadata']['uid']} {[one['restartCount'] for one in each['status']['containerStatuses']]}"
        for each in pods
        if not each["metadata"].get("deletionTimestamp")
    }


def repaired(kubectl: Kubectl, *, what: str, kind: str = "service") -> float:
    """Seconds until the operator has put a child of the model back."""
    kubectl.must("delete", kind, MODEL, "-n", NAMESPACE)
    begin = time.monotonic()
    wait_until(lambda: kubectl.get(kind, MODEL, "-n", NAMESPACE), what=what, seconds=PATIENCE_SECONDS, every=0.1)
    return time.monotonic() - begin


def is_there(kubectl: Kubectl) -> bool:
    """Whether this release is installed."""
    labels = kubectl.get("deployment", "bailiwick-operator", "-n", SYSTEM).get("metadata", {}).get("labels", {})
    return bool(labels.get(VERSION) == bailiwick.__version__)


@contextmanager
def asked(kubectl: Kubectl, installed: Installed, model: Mapping[str, Any]) -> Iterator[Load]:
    """Clients that ask the model all the while, and are all answered."""
    load, endpoint = Load(kubectl, NAMESPACE), model["status"]["endpoint"]
    name, image = model["spec"]["model"]["name"], installed.engine_image
    load.start(endpoint=endpoint, model=name, image=image, node=INSIDE, keys=["none"], clients=1)
    try:
        yield load
    finally:
        count = load.stop()
    print(f"\n{count.whole} requests answered")
    assert count.failures == []


@contextmanager
def tried(installed: Installed) -> Iterator[Trespasser]:
    """Somebody who tries to cross all the while."""
    with Client.from_kubeconfig(installed.kubeconfig) as client:
        foreign, welcome = pod("smuggler", nodeName=ABROAD), pod("guest")
        with Trespasser(client, foreign=foreign, welcome=welcome) as trespasser:
            yield trespasser


def test_another_replica_acts_soon_after_the_leader_is_lost(kubectl: Kubectl, model: Mapping[str, Any]) -> None:
    lost = wait_until(lambda: leader(kubectl), what="a replica leads")
    before = of_the_model(kubectl)
    begin = time.monotonic()
    kubectl.must("delete", "pod", lost, "-n", SYSTEM, "--grace-period=0", "--force")
    # Its process lives on until its kubelet has heard of it, and would repair what is deleted now.
    wait_until(lambda: leader(kubectl) not in {"", lost}, what="another replica leads", seconds=PATIENCE_SECONDS)
    repaired(kubectl, what="the Service is back")
    took = time.monotonic() - begin
    print(f"\nrepaired {took:.1f} s after the leader was lost")
    assert took < PATIENCE_SECONDS
    assert of_the_model(kubectl) == before


@pytest.fixture(scope="module")
def uninstalled(kubectl: Kubectl, installed: Installed, model: Mapping[str, Any]) -> Iterator[None]:
    """The release is gone, and this one is there when the module ends."""
    helm = [str(binary("helm")), "--kubeconfig", str(installed.kubeconfig), "--namespace", SYSTEM]
    subprocess.run([*helm, "uninstall", "bailiwick", "--wait", "--timeout", "2m"], check=True, capture_output=True)
    yield
    if not is_there(kubectl):
        install()


@pytest.mark.usefixtures("uninstalled")
def test_without_its_release_the_border_holds_and_models_serve_and_nothing_is_stuck(
    kubectl: Kubectl, installed: Installed, model: Mapping[str, Any]
) -> None:
    assert not kubectl.items("deployments", "-n", SYSTEM)
    kubectl.apply(LEFT)
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


@pytest.mark.usefixtures("uninstalled")
def test_the_last_release_is_upgraded_and_no_request_is_lost_and_nothing_crosses(
    kubectl: Kubectl, installed: Installed, model: Mapping[str, Any]
) -> None:
    if cluster.external():
        pytest.skip("a given cluster has the images of this release alone")
    before = of_the_model(kubectl)
    engines = {"cpu.image": installed.engine_image}
    helm = partial(install_chart, installed.kubeconfig, gate=reference("gate"), engines=engines)
    with asked(kubectl, installed, model) as load, tried(installed) as trespasser:
        helm(operator=load_image(images.operator_of_the_last_release(), WORKERS), chart=last_release.chart())
        leads = partial(version_that_leads, kubectl)
        wait_until(lambda: leads() == last_release.version(), what="the last release leads")
        repaired(kubectl, what="the last release works", kind=SPARE)
        scenes.serving(kubectl)
        load.more(BEFORE_AND_AFTER)
        helm(operator=reference("operator"))
        wait_until(lambda: leads() == bailiwick.__version__, what="this release leads")
        repaired(kubectl, what="this release works", kind=SPARE)
        scenes.serving(kubectl)
        load.more(BEFORE_AND_AFTER)
    assert of_the_model(kubectl) == before
    assert (trespasser.crossed, trespasser.otherwise, trespasser.turned_away) == ([], [], [])
    assert trespasser.tried > 50


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
