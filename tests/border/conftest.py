"""The border, as an administrator would set it up, on a server of its own or on the cluster of BORDER_KUBECONFIG.

A given cluster must have the chart installed, nothing governed, and no operator at work (`operator.replicas=0`): the
tests draw borders in its name. Its first two nodes that are no control plane are taken for the inside and the outside.
Nothing else changes: same policies, same attacks, but a real scheduler and real kubelets.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bailiwick.residency import border
from bailiwick.residency.territories import RESIDENT, label_of
from e2e.client import Client, eventually
from e2e.cluster.apiserver import ApiServer
from tests.border.ground import EXEMPT, Governed, Ground, refused
from tests.in_tree import taken_by

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the ground needs an API server, but for the suites that play it offline."""
    for item in items:
        if "ground" in getattr(item, "fixturenames", ()) and item.path.parent.name != "without_server":
            item.add_marker(pytest.mark.apiserver)


@pytest.fixture(scope="session")
def admin() -> Iterator[Client]:
    """Cluster-admin of a cluster with the in-tree policies, controllers and a scheduler."""
    if given := os.environ.get("BORDER_KUBECONFIG"):
        with Client.from_kubeconfig(Path(given)) as client:
            yield client
        return
    server = ApiServer.start()
    try:
        server.start_controller_manager()
        server.start_scheduler()
        server.install_crds(sorted((ROOT / "crds").glob("*.yaml")))
        for file in taken_by(server.client):
            server.client.apply_file(file)
        yield server.client
    finally:
        server.stop()


@pytest.fixture(scope="session")
def ground(admin: Client) -> Iterator[Ground]:
    """Two nodes and the people, without any policy in force."""
    workers = [
        node["metadata"]["name"]
        for node in admin.list("v1", "Node")
        if CONTROL_PLANE not in node["metadata"].get("labels", {})
    ]
    inside, abroad = workers[:2] if len(workers) > 1 else ("inside", "abroad")
    ground = Ground(admin, inside=inside, abroad=abroad)
    for right in admin.apply_file(HERE / "people.yaml"):
        ground.made.append((right["apiVersion"], right["kind"], right["metadata"]["name"]))
    if len(workers) < 2:
        ground.node(inside)
        ground.node(abroad)
    eventually(lambda: _guarded(ground), what="the policies that need no operator are in force")
    try:
        yield ground
        ground.clear()
    finally:
        ground.leave()


def _guarded(ground: Ground) -> bool:
    """A new policy takes a second until the API server knows it."""
    with refused("bailiwick-nodes", "ProtectedLabel"):
        forged = {"metadata": {"labels": {label_of("any"): RESIDENT}}}
        ground.lite.patch("v1", "Node", ground.abroad, forged, dry_run=True)
    return True


@pytest.fixture(scope="session")
def health(ground: Ground) -> Governed:
    """A policy that Bailiwick enforces, with everything that belongs to it."""
    governed = ground.govern(models={"sources": ["oci://registry.example/models/"], "requireDigest": True})
    ground.bind(border.namespaces_binding(exempt=EXEMPT))

    def guarded() -> bool:
        with refused("bailiwick-namespaces", "ProtectedLabel"):
            leave = {"metadata": {"labels": {governed.policy: None}}}
            ground.lite.patch("v1", "Namespace", governed.namespace, leave, dry_run=True)
        return True

    eventually(guarded, what="labels of namespaces are guarded")
    return governed


@pytest.fixture(scope="session")
def unpinned(ground: Ground) -> Governed:
    """A policy without the convenience: nobody adds the nodeSelector."""
    return ground.govern(pin=False)


@pytest.fixture(scope="session")
def free(ground: Ground) -> str:
    """A namespace that no policy governs."""
    return ground.namespace()
