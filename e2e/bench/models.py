"""1,000 SovereignModels at once: the operator, beside a bare client that writes the same objects.

``python -m e2e.bench.models [COUNT] [--rounds N]``, on etcd and a kube-apiserver as plain processes, no kubelet, no
controllers. Both sides create the models and write five children and one status for each; the bare client has the
finished manifests in memory and 32 calls in flight. Then the operator is started again over the unchanged cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bailiwick.cluster import resources
from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import Connection
from e2e.client import Client, eventually
from e2e.cluster.apiserver import ApiServer, free_ports
from e2e.cluster.steps import started

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = "system:serviceaccount:bailiwick-system:bailiwick-operator"
OURS = "bailiwick.dev/v1alpha1"
CHILDREN = (
    resources.NETWORK_POLICIES,
    resources.SERVICE_ACCOUNTS,
    resources.POD_DISRUPTION_BUDGETS,
    resources.SERVICES,
    resources.DEPLOYMENTS,
)
DIGEST = "sha256:" + "0" * 64
Manifest = dict[str, Any]


def main() -> int:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(f"{asked.count} models, 6 writes for each, {os.cpu_count()} cores, beside etcd and kube-apiserver")
    ratios = [measure(asked.count) for _ in range(asked.rounds)]
    print(f"  ratio: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")
    return 0


def measure(count: int) -> float:
    """One round on an API server of its own; the operator's time as a multiple of the bare client's."""
    server = ApiServer.start()
    try:
        kubeconfig = server.kubeconfig(OPERATOR, ("system:masters",))
        prepare(server, server.client)
        with running(kubeconfig) as operator:
            operator.wait_until_idle()
            begin = time.monotonic()
            asyncio.run(create(kubeconfig, models("governed", count)))
            operator.wait_until_told(count)
            took, memory = time.monotonic() - begin, operator.peak_memory()
            check_served(server.client, "governed", count)
        with running(kubeconfig) as operator:
            again = restarted(operator)
        bare = asyncio.run(write_bare(kubeconfig, server.client, count))
    finally:
        server.stop()
    print(
        f"  operator {took:.1f} s, peak memory {memory / 2**20:.0f} MiB; bare client {bare:.1f} s; {again}", flush=True
    )
    return took / bare


def prepare(server: ApiServer, client: Client) -> None:
    """CRDs, a policy, a node inside, a class, and two namespaces, one for each side."""
    server.install_crds(sorted((ROOT / "crds").glob("*.yaml")))
    for name, labels in (("bailiwick-system", {}), ("governed", {"data": "health"}), ("bare", {})):
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    server.add_node("inside")
    client.patch("v1", "Node", "inside", {"spec": {"providerID": "aws:///eu-central-1a/i-0123456789abcdef0"}})
    engine = {"name": "vllm", "image": "registry.example/vllm:1", "requests": {"cpu": "1", "memory": "4Gi"}}
    client.create(
        {"apiVersion": OURS, "kind": "AcceleratorClass", "metadata": {"name": "cpu"}, "spec": {"engines": [engine]}}
    )
    client.create(
        {
            "apiVersion": OURS,
            "kind": "ResidencyPolicy",
            "metadata": {"name": "health"},
            "spec": {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": {"allow": ["DE"]}},
        }
    )


def models(namespace: str, count: int) -> Iterator[Manifest]:
    """The models to serve."""
    for number in range(count):
        yield {
            "apiVersion": OURS,
            "kind": "SovereignModel",
            "metadata": {"name": f"m{number:05}", "namespace": namespace},
            "spec": {"model": {"name": "m", "source": {"oci": {"image": f"registry.example/m@{DIGEST}"}}}},
        }


async def create(kubeconfig: Path, manifests: Iterable[Manifest]) -> None:
    """All at once, 32 calls in flight."""
    async with await Connection.open(kubeconfig=str(kubeconfig)) as connection:
        api = Api(connection)
        await asyncio.gather(*(api.create(resources.SOVEREIGN_MODELS, manifest) for manifest in manifests))


def check_served(client: Client, namespace: str, count: int) -> None:
    """Every model has its children and a status of its generation."""
    told = client.list(OURS, "SovereignModel", namespace)
    assert len([each for each in told if each.get("status", {}).get("observedGeneration")]) == count
    for resource in CHILDREN:
        assert len(client.list(resource.api_version, resource.kind, namespace)) >= count, resource.kind


async def write_bare(kubeconfig: Path, client: Client, count: int) -> float:
    """The same writes by a client that decides nothing: the operator's own objects, for another namespace."""
    children = {resource: client.list(resource.api_version, resource.kind, "governed") for resource in CHILDREN}
    by_name = {resource: {each["metadata"]["name"]: each for each in found} for resource, found in children.items()}
    status = client.get(OURS, "SovereignModel", "m00000", "governed")["status"]
    begin = time.monotonic()
    async with await Connection.open(kubeconfig=str(kubeconfig)) as connection:
        api = Api(connection)

        async def write(model: Manifest) -> None:
            made = await api.create(resources.SOVEREIGN_MODELS, model)
            for resource in CHILDREN:
                await api.apply(resource, elsewhere(by_name[resource][model["metadata"]["name"]], made))
            await api.patch_status(resources.SOVEREIGN_MODELS, made, status)

        await asyncio.gather(*(write(model) for model in models("bare", count)))
    return time.monotonic() - begin


def elsewhere(child: Mapping[str, Any], model: Manifest) -> Manifest:
    """A child as the operator wrote it, for the bare client's model."""
    owner = {**child["metadata"]["ownerReferences"][0], "uid": model["metadata"]["uid"]}
    metadata = {
        "name": child["metadata"]["name"],
        "namespace": model["metadata"]["namespace"],
        "labels": child["metadata"]["labels"],
        "ownerReferences": [owner],
    }
    kept = {key: value for key, value in child.items() if key not in {"metadata", "status", "secrets"}}
    if child["kind"] == "Service":
        kept["spec"] = {key: kept["spec"][key] for key in ("type", "selector", "ports")}
    return {**kept, "metadata": metadata}


def restarted(operator: Process) -> str:
    """A start over a cluster where nothing is to change: how soon all is done, and what is written."""
    operator.wait_until_idle()
    seconds = operator.seconds_since_synced()
    time.sleep(3)
    writes = {call: calls for call, calls in operator.writes().items() if "leases" not in call}
    return f"restart: done {seconds:.1f} s after its stores were full, wrote {writes or 'nothing'} besides its lease"


@dataclass(frozen=True, slots=True)
class Process:
    """The operator, as a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def wait_until_idle(self) -> None:
        """Until all stores are full and no key waits or runs."""
        eventually(self._idle, what="the operator has nothing to do", seconds=120, every=0.1)

    def wait_until_told(self, count: int) -> None:
        """Until so many statuses of models are written.

        Its own metrics say it: listing all models again and again would cost more than the bare client costs.
        """
        written = 'resource="sovereignmodels/status"'

        def told() -> bool:
            return sum(calls for call, calls in self.writes().items() if written in call) >= count

        eventually(told, what="every model has a status", seconds=600, every=0.1)

    def writes(self) -> dict[str, float]:
        """Finished calls that write, by verb and resource."""
        samples = (line.rpartition(" ") for line in self._metrics() if line.startswith("bailiwick_api_requests_total"))
        verbs = ("apply", "create", "patch", "delete")
        return {name: float(value) for name, _, value in samples if any(f'verb="{verb}"' in name for verb in verbs)}

    def peak_memory(self) -> int:
        """Bytes of resident memory at the worst moment."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return int(peak) * 1024

    def seconds_since_synced(self) -> float:
        """Since the log said that all stores are full."""
        (said,) = (line for line in self.log.read_text().splitlines() if "all stores are synced" in line)
        moment = json.loads(said)["time"]
        return time.time() - _unix(moment)

    def _idle(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                role = json.load(answer)["role"]
        except OSError:
            return False
        waiting = [
            line for line in self._metrics() if line.startswith(("bailiwick_queue_depth{", "bailiwick_queue_running{"))
        ]
        return role == "leader" and all(line.endswith(" 0.0") for line in waiting)

    def _metrics(self) -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            return str(answer.read().decode()).splitlines()


@contextmanager
def running(kubeconfig: Path) -> Iterator[Process]:
    """The operator, in its own process group; ended by a signal to it alone."""
    (port,) = free_ports(1)
    environment = {
        "KUBECONFIG": str(kubeconfig),
        "BAILIWICK_GATE_IMAGE": "registry.example/gate:1",
        "BAILIWICK_WEIGHTS_IMAGE": "registry.example/weights:1",
        "BAILIWICK_PORT": str(port),
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "operator.log"
        process = started(log, sys.executable, "-m", "bailiwick.cli", "operator", env=environment)
        try:
            yield Process(process, port, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    sys.exit(main())
