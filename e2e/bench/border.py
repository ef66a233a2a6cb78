"""How soon the border moves, with many nodes and pods: bindings and pods refused, running pods cut off.

``python -m e2e.bench.border [PODS] [--nodes N] [--trials N]``, on etcd, a kube-apiserver and the scheduler as plain
processes with the in-tree policies, and the operator as a process of its own. Nodes have nobody behind them; pods were
there before the policy. Everything is seen from outside, through the API server:

- A node leaves when the statement about its place is deleted. How long until a binding to it is refused, asked by dry
  run as fast as the server answers; and until each of its pods carries the mark of quarantine, seen by a watch.
- A policy is tightened: images of another registry only, which changes its Territory; storage of one class only, which
  also needs a new binding, of which the API server takes notice once a second. How long until what was admitted is
  refused, counted from before the change was sent.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.bench.models import running
from e2e.client import ApiError, eventually
from e2e.cluster.apiserver import ApiServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from e2e.client import Client, Manifest

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = "system:serviceaccount:bailiwick-system:bailiwick-operator"
OURS = "bailiwick.dev/v1alpha1"
NAMESPACES = 20
QUARANTINED = "bailiwick.dev/quarantined"
POLICY = "health"
GIVE_UP_SECONDS = 60.0


def main() -> int:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pods", nargs="?", type=int, default=5000)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--trials", type=int, default=20, help="nodes that leave, and changes of each kind")
    asked = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[0]
    print(
        f"{asked.pods} pods on {asked.nodes} nodes, {NAMESPACES} namespaces, {os.cpu_count()} cores, load {load} before"
    )
    server = ApiServer.start()
    try:
        client = prepare(server, asked.nodes, asked.pods)
        with running(server.kubeconfig(OPERATOR, ("system:masters",))) as operator:
            govern(client, asked.nodes)
            operator.wait_until_idle()
            told("a node left, a binding is refused", *leave(client, asked.trials))
            told("images tightened, a pod is refused", tighten(client, asked.trials, IMAGES, foreign_pod))
            told("storage tightened, a claim is refused", tighten(client, asked.trials, STORAGE, foreign_claim))
            print(f"  the operator's memory peaked at {operator.peak_memory() / 2**20:.0f} MiB")
    finally:
        server.stop()
    return 0


def prepare(server: ApiServer, nodes: int, pods: int) -> Client:
    """Policies, nodes, statements, namespaces and pods, before there is a ResidencyPolicy."""
    client = server.client
    server.install_crds(sorted((ROOT / "crds").glob("*.yaml")))
    for file in sorted((ROOT / "charts/bailiwick/policies").glob("*.yaml")):
        client.apply_file(file)
    server.start_scheduler()
    spaces = ["bailiwick-system", *(f"team{number}" for number in range(NAMESPACES))]
    for name in spaces:
        labels = {"data": "health"} if name.startswith("team") else {}
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        client.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        )
    create(client, (node(number) for number in range(nodes)))
    create(client, (statement(number) for number in range(nodes)))
    create(client, (pod(number, nodes) for number in range(pods)))
    return client


def create(client: Client, manifests: Iterable[Manifest]) -> None:
    """Many objects, eight calls in flight."""
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(client.create, manifests):
            pass


def node(number: int) -> Manifest:
    """A node that nobody runs, and that the scheduler does not use: pods are bound by whoever asks."""
    spec = {"unschedulable": True}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}"}, "spec": spec}


def statement(number: int) -> Manifest:
    """Somebody says that the node stands in Germany."""
    now = datetime.now(UTC)
    spec = {
        "node": {"name": f"n{number}"},
        "place": {"jurisdiction": "DE"},
        "issuedAt": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{now + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
    }
    return {"apiVersion": OURS, "kind": "NodeStatement", "metadata": {"name": f"n{number}"}, "spec": spec}


def pod(number: int, nodes: int) -> Manifest:
    """A running pod of some 4 KB."""
    environment = [{"name": f"SETTING_{each}", "value": "x" * 60} for each in range(30)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{number}", "namespace": f"team{number // nodes % NAMESPACES}", "labels": {"app": "a"}},
        "spec": {
            "nodeName": f"n{number % nodes}",
            "containers": [{"name": "main", "image": "registry.example/app:1", "env": environment}],
        },
    }


def govern(client: Client, nodes: int) -> None:
    """Put the policy into force; a pod waits for a node."""
    spec = {
        "namespaceSelector": {"matchLabels": {"data": "health"}},
        "place": {"allow": ["DE"], "assurance": "Declared"},
        "violation": {"action": "Quarantine"},
    }
    client.create({"apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": {"name": POLICY}, "spec": spec})

    def inside() -> bool:
        territory = client.find(OURS, "Territory", POLICY)
        return territory is not None and len(territory["spec"]["nodes"]) == nodes

    eventually(inside, what="every node is inside", seconds=300)
    waiting = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "waiting", "namespace": "team0"},
        "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}]},
    }

    def pinned() -> bool:
        return bool(client.create(waiting, dry_run=True)["spec"].get("nodeSelector"))

    eventually(pinned, what="pods are pinned", seconds=30)
    client.create(waiting)
    eventually(lambda: not admitted(client, binding("nowhere")), what="bindings are judged", seconds=30)


def binding(name: str) -> Callable[[Client], object]:
    """The request to bind the waiting pod to a node."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "waiting", "namespace": "team0"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": name},
    }
    return lambda client: client.create(manifest, subresource="binding", dry_run=True)


def foreign_pod(client: Client) -> object:
    """The request for a pod whose image is from a registry that the tightened policy does not list."""
    container = {"name": "main", "image": "elsewhere.example/app:1"}
    metadata = {"name": "foreign", "namespace": "team0"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    return client.create(manifest, dry_run=True)


def foreign_claim(client: Client) -> object:
    """The request for a claim of a class that the tightened policy does not list."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "elsewhere",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    metadata = {"name": "foreign", "namespace": "team0"}
    manifest = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    return client.create(manifest, dry_run=True)


IMAGES = {"images": {"registries": ["registry.example/"], "requireDigest": False}}
STORAGE = {"storage": {"classes": ["encrypted"]}}


def admitted(client: Client, request: Callable[[Client], object]) -> bool:
    """Whether the API server admits a request; ApiError when somebody else than an in-tree policy refuses it."""
    try:
        request(client)
    except ApiError as error:
        if "ValidatingAdmissionPolicy 'bailiwick-" not in error.message:
            raise
        return False
    return True


def until_refused(client: Client, request: Callable[[Client], object], begin: float) -> float:
    """Seconds since ``begin`` until the last request was sent that was still admitted, and then one was refused."""
    while admitted(client, request):
        assert time.monotonic() < begin + GIVE_UP_SECONDS, "nobody refuses it"
    return time.monotonic() - begin


def leave(client: Client, trials: int) -> tuple[list[float], list[float]]:
    """Seconds from a node's leaving to the first refused binding, and to the quarantine of each of its pods."""
    refused: list[float] = []
    cut: list[float] = []
    for number in range(trials):
        assert admitted(client, binding(f"n{number}")), "the node is not inside"
        watch = Watch(client, f"n{number}")
        begin = time.monotonic()
        client.delete(OURS, "NodeStatement", f"n{number}")
        refused.append(until_refused(client, binding(f"n{number}"), begin))
        cut += [moment - begin for moment in watch.result()]
    return refused, cut


class Watch:
    """A watch, in a thread of its own, on the pods of a node until all of them are in quarantine."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._fields = f"spec.nodeName={name}"
        found = client.request("GET", "/api/v1/pods", params={"fieldSelector": self._fields}).json()
        self._waiting = {each["metadata"]["uid"] for each in found["items"]}
        self._since = found["metadata"]["resourceVersion"]
        self._moments: list[float] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def result(self) -> list[float]:
        """When each of the pods was seen in quarantine (monotonic clock)."""
        self._thread.join()
        assert not self._waiting, f"{len(self._waiting)} pods were not cut off in {GIVE_UP_SECONDS:g} s"
        return self._moments

    def _run(self) -> None:
        params = {
            "watch": "1",
            "fieldSelector": self._fields,
            "resourceVersion": self._since,
            "timeoutSeconds": f"{GIVE_UP_SECONDS:.0f}",
        }
        for line in self._client.lines("/api/v1/pods", params):
            metadata: dict[str, Any] = json.loads(line)["object"]["metadata"]
            if QUARANTINED in metadata.get("labels", {}) and metadata["uid"] in self._waiting:
                self._waiting.remove(metadata["uid"])
                self._moments.append(time.monotonic())
            if not self._waiting:
                return


def tighten(client: Client, trials: int, rule: Manifest, request: Callable[[Client], object]) -> list[float]:
    """Seconds from a change of the policy to the first refusal of what it forbids; it is undone after each."""
    seconds = []
    for _ in range(trials):
        eventually(lambda: admitted(client, request), what="the policy allows it", every=0.05)
        begin = time.monotonic()
        client.patch(OURS, "ResidencyPolicy", POLICY, {"spec": rule})
        seconds.append(until_refused(client, request, begin))
        client.patch(OURS, "ResidencyPolicy", POLICY, {"spec": dict.fromkeys(rule)})
    return seconds


def told(what: str, seconds: Sequence[float], pods: Sequence[float] = ()) -> None:
    """Print a distribution."""
    print(f"  {what}: {distribution(seconds)}", flush=True)
    if pods:
        print(f"  and its pods are in quarantine: {distribution(pods)}", flush=True)


def distribution(seconds: Sequence[float]) -> str:
    """Centiles in seconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    shown = ", ".join(f"{name} {cuts[at]:.2f}" for name, at in (("p50", 49), ("p90", 89), ("p99", 98)))
    return f"{shown}, longest {max(seconds):.2f} s, of {len(seconds)}"


if __name__ == "__main__":
    sys.exit(main())
