"""The API server that suites run on is a real one: identities, admission, clean-up."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.client import LOCAL, ApiError, Client, eventually
from e2e.cluster.apiserver import ApiServer, end_leftovers, forget_logs

pytestmark = pytest.mark.apiserver

ROOT = Path(__file__).parents[2]
RESTRICTED_LABEL = "bailiwick.dev.node-restriction.kubernetes.io/health"


def pod(namespace: str) -> dict[str, Any]:
    container = {"name": "main", "image": "registry.example/image"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": namespace},
        "spec": {"containers": [container]},
    }


def test_a_server_answers_once_it_is_started_and_is_gone_when_it_is_stopped() -> None:
    server = ApiServer.start()
    server.client.list("v1", "Namespace")
    url, folder = server.url, server.folder
    server.stop()
    assert not folder.exists()
    with pytest.raises(httpx.ConnectError):
        LOCAL.get(url)


def test_what_a_killed_run_left_is_ended_by_the_next() -> None:
    """The servers of a process that is no more hold their folder as working directory; that is how they are known."""
    program = (
        "import os\nfrom e2e.cluster.apiserver import ApiServer\n"
        "server = ApiServer.start()\nprint(server.url, server.folder, flush=True)\nos._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    url, folder = done.stdout.splitlines()[-1].split()
    assert LOCAL.get(f"{url}/livez").text == "ok"
    end_leftovers()
    assert not Path(folder).exists()

    def refused() -> bool:
        # Without TLS: a server that ends in the midst of a handshake leaves Python with a socket that nobody closes.
        try:
            socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(refused, what="the orphaned server is gone")


def test_logs_are_kept_for_a_day(tmp_path: Path) -> None:
    old, other = tmp_path / "apiserver-1-etcd.log", tmp_path / "kind.log"
    for log in (old, other):
        log.write_text("")
    forget_logs(tmp_path, old.stat().st_mtime + 23 * 3600)
    assert old.exists()
    forget_logs(tmp_path, old.stat().st_mtime + 25 * 3600)
    assert (old.exists(), other.exists()) == (False, True)


def test_a_user_without_rights_is_refused_by_name(apiserver: ApiServer, namespace: str) -> None:
    with pytest.raises(ApiError, match='User "jane" cannot list resource "pods"') as refusal:
        apiserver.as_user("jane", ["product"]).list("v1", "Pod", namespace)
    assert (refusal.value.code, refusal.value.reason) == (403, "Forbidden")


def test_groups_give_rights(apiserver: ApiServer, namespace: str) -> None:
    with apiserver.client.impersonate("jane", ["system:masters"]) as jane:
        assert jane.list("v1", "Pod", namespace) == []
    assert apiserver.as_user("joan/ops", ["a/b", "system:masters"]).list("v1", "Pod", namespace) == []


def test_a_kubelet_may_label_its_node_but_not_with_the_restricted_prefix(apiserver: ApiServer) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"}}
    apiserver.client.apply(node)
    kubelet = apiserver.as_node("worker")
    kubelet.patch("v1", "Node", "worker", {"metadata": {"labels": {"topology.kubernetes.io/region": "mars"}}})
    with pytest.raises(ApiError, match="is not allowed to modify labels"):
        kubelet.patch("v1", "Node", "worker", {"metadata": {"labels": {RESTRICTED_LABEL: "resident"}}})


def test_a_namespace_goes_with_what_it_holds(apiserver: ApiServer) -> None:
    namespace = apiserver.create_namespace({"team": "clinic"})
    assert apiserver.client.get("v1", "Namespace", namespace)["metadata"]["labels"]["team"] == "clinic"
    apiserver.client.create(pod(namespace))
    apiserver.remove_namespace(namespace)
    assert apiserver.client.find("v1", "Namespace", namespace) is None
    assert [p for p in apiserver.client.list("v1", "Pod") if p["metadata"]["namespace"] == namespace] == []


def test_a_misspelt_field_is_an_error(client: Client, namespace: str) -> None:
    with pytest.raises(ApiError, match=r'unknown field "spec\.nodename"'):
        client.create(pod(namespace) | {"spec": pod(namespace)["spec"] | {"nodename": "worker"}})


def test_a_warning_reaches_the_caller(client: Client, namespace: str) -> None:
    client.warnings.clear()
    client.create(pod(namespace) | {"spec": pod(namespace)["spec"] | {"nodename": "worker"}}, validation="Warn")
    assert client.warnings == ['unknown field "spec.nodename"']


def test_controllers_and_scheduler_run_when_asked() -> None:
    """On a server of its own: once they run, every other suite would see pods and tokens that it did not make."""
    server = ApiServer.start()
    try:
        server.start_controller_manager()
        server.start_scheduler()
        namespace = server.create_namespace()
        eventually(lambda: server.client.find("v1", "ServiceAccount", "default", namespace), what="a service account")
        server.add_node("worker")
        server.client.create(pod(namespace))
        eventually(
            lambda: server.client.get("v1", "Pod", "pod", namespace)["spec"].get("nodeName") == "worker",
            what="the pod is scheduled",
        )
        server.remove_namespace(namespace)
    finally:
        server.stop()
