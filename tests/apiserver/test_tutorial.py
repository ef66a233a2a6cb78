"""The tutorial on a real API server with controllers and scheduler, and the operator at work: every block of it.

There is no kubelet, so a stand-in says of pods with a node that they run, and lets go of those that are deleted.
e2e/test_tutorial.py does the same on the real cluster, where nothing stands in.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from e2e import tutorial
from e2e.client import ApiError, documents
from e2e.cluster.binaries import binary
from e2e.cluster.places import ROOT
from tests.apiserver.worlds import granted_realm, looking
from tests.in_tree import needs_pin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.apiserver.realm import Realm

pytestmark = [pytest.mark.apiserver, needs_pin]
BLOCKS = tutorial.blocks(tutorial.PAGE.read_text())
RUNNING = {
    "phase": "Running",
    "conditions": [{"type": each, "status": "True"} for each in ("PodScheduled", "Ready")],  # it replaces all
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A server with what the demo leaves: two nodes, and the quickstart's statements about them."""
    with granted_realm(tmp_path_factory.mktemp("helm")) as realm:
        realm.server.start_scheduler()
        for node in tutorial.NODES:
            realm.server.add_node(node)
        for statement in documents(ROOT / "samples/quickstart/2-statements.yaml"):
            realm.client.create(statement)
        ended = threading.Event()
        kubelets = threading.Thread(target=_kubelets, args=(realm, ended))
        with looking(realm, "tutorial"):
            kubelets.start()
            try:
                yield realm
            finally:
                ended.set()
                kubelets.join()


def _kubelets(realm: Realm, ended: threading.Event) -> None:
    """Pods with a node run; those that are being deleted go."""
    with realm.server.as_user("stand-in-kubelet", ("system:masters",)) as client:
        while not ended.wait(0.2):
            for pod in client.request("GET", "/api/v1/pods").json()["items"]:
                name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
                try:
                    if "deletionTimestamp" in pod["metadata"]:
                        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
                        client.request("DELETE", path, params={"gracePeriodSeconds": "0"})
                    elif pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending":
                        client.patch("v1", "Pod", name, {"status": RUNNING}, namespace, subresource="status")
                except ApiError:  # it changed meanwhile
                    continue


@pytest.fixture(scope="module")
def desk(demo: Realm, tmp_path_factory: pytest.TempPathFactory) -> tutorial.Desk:
    folder = tmp_path_factory.mktemp("desk")
    return tutorial.Desk(folder, demo.server.kubeconfig(), [binary("kubectl").parent])


@pytest.mark.parametrize("block", [each for each in BLOCKS if not each.before], ids=str)
def test_a_block_does_what_the_page_says(desk: tutorial.Desk, block: tutorial.Block) -> None:
    desk.do(block)


def test_what_the_tutorial_made_is_gone(demo: Realm) -> None:
    assert demo.client.find("v1", "Namespace", tutorial.NAMESPACE) is None
    assert demo.find("Territory", tutorial.POLICY) is None
