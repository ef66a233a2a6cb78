"""The audit of many pods: how long a sweep takes, how much memory, and how soon pods are cut off when nodes leave.

``python -m e2e.bench.audit [PODS] [--nodes N] [--leaving N]``, on etcd and a kube-apiserver as plain processes, no
kubelet, no controllers. Pods were there before the policy. Nodes leave one after another: the statement about where a
node stands is deleted, and for each of its pods the time until the API server shows it in quarantine is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bailiwick.cluster import resources
from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import Connection
from bailiwick.residency.quarantine import QUARANTINED
from e2e.bench.border import statement
from e2e.bench.models import Process, running
from e2e.client import eventually
from e2e.cluster.apiserver import ApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = "system:serviceaccount:bailiwick-system:bailiwick-operator"
OURS = "bailiwick.dev/v1alpha1"
NAMESPACES = 20
Manifest = dict[str, Any]


def main() -> int:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pods", nargs="?", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--leaving", type=int, default=20, help="nodes that leave, one after another")
    asked = parser.parse_args()
    print(f"{asked.pods} pods on {asked.nodes} nodes in {NAMESPACES} namespaces, {os.cpu_count()} cores")
    server = ApiServer.start()
    try:
        kubeconfig = server.kubeconfig(OPERATOR, ("system:masters",))
        server.install_crds(sorted((ROOT / "crds").glob("*.yaml")))
        asyncio.run(create(kubeconfig, asked.pods, asked.nodes))
        with running(kubeconfig) as operator:
            tell(operator, asyncio.run(leave(kubeconfig, operator, asked.pods, min(asked.leaving, asked.nodes))))
    finally:
        server.stop()
    return 0


async def create(kubeconfig: Path, pods: int, nodes: int) -> None:
    """Namespaces, nodes, statements, pods, and then the policy."""
    async with await Connection.open(kubeconfig=str(kubeconfig)) as connection:
        api = Api(connection)
        spaces = ["bailiwick-system", *(f"team{number}" for number in range(NAMESPACES))]
        for name in spaces:
            labels = {"data": "health"} if name.startswith("team") else {}
            await api.create(
                resources.NAMESPACES,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            )
        for name in spaces:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            await api.create(resources.SERVICE_ACCOUNTS, account)
        await asyncio.gather(*(api.create(resources.NODES, node(number)) for number in range(nodes)))
        await asyncio.gather(*(api.create(resources.NODE_STATEMENTS, statement(number)) for number in range(nodes)))
        made = list(manifests(pods, nodes))
        for begin in range(0, pods, 500):
            await asyncio.gather(*(api.create(resources.PODS, each) for each in made[begin : begin + 500]))
        spec = {
            "namespaceSelector": {"matchLabels": {"data": "health"}},
            "place": {"allow": ["DE"], "assurance": "Declared"},
            "violation": {"action": "Quarantine"},
        }
        await api.create(
            resources.RESIDENCY_POLICIES,
            {"apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": {"name": "health"}, "spec": spec},
        )


def node(number: int) -> Manifest:
    """A node that nobody runs."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}"}}


def manifests(pods: int, nodes: int) -> Iterator[Manifest]:
    """Pods of some 4 KB, spread over nodes and namespaces."""
    environment = [{"name": f"SETTING_{number}", "value": "x" * 60} for number in range(30)]
    for number in range(pods):
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"p{number}",
                "namespace": f"team{number // nodes % NAMESPACES}",
                "labels": {"app": "chat", "pod": str(number)},
            },
            "spec": {
                "nodeName": f"n{number % nodes}",
                "containers": [{"name": "main", "image": "registry.example/app:1", "env": environment}],
            },
        }


async def leave(kubeconfig: Path, operator: Process, pods: int, leaving: int) -> list[float]:
    """Seconds from a node's leaving to the quarantine of each of its pods."""
    told = "bailiwick_audit_seconds_count"
    await asyncio.to_thread(eventually, lambda: metric(operator, told) >= 1, what="a sweep", seconds=300)
    await asyncio.to_thread(operator.wait_until_idle)
    seconds: list[float] = []
    async with await Connection.open(kubeconfig=str(kubeconfig)) as connection:
        api = Api(connection)
        policy = await api.get(resources.RESIDENCY_POLICIES, "health")
        counts = policy["status"]["counts"]
        assert (counts["pods"], counts["violations"]) == (pods, 0), counts
        for number in range(leaving):
            chosen = f"spec.nodeName=n{number}"
            waiting = {each["metadata"]["uid"] async for each in api.list(resources.PODS, fields=chosen)}
            page = [page async for page in api.pages(resources.PODS, fields=chosen)][-1]
            begin = time.monotonic()
            await api.delete(resources.NODE_STATEMENTS, f"n{number}")
            async for event in api.watch(resources.PODS, since=page.resource_version, fields=chosen):
                metadata = event.object["metadata"]
                if metadata.get("uid") in waiting and QUARANTINED in metadata.get("labels", {}):
                    waiting.remove(metadata["uid"])
                    seconds.append(time.monotonic() - begin)
                if not waiting:
                    break
    return seconds


def tell(operator: Process, seconds: Sequence[float]) -> None:
    """Print what was measured."""
    sweeps, total = (metric(operator, f"bailiwick_audit_seconds_{what}") for what in ("count", "sum"))
    print(f"  sweep: mean {total / sweeps:.2f} s of {sweeps:.0f}; peak memory {operator.peak_memory() / 2**20:.0f} MiB")
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    print(
        f"  from a node's leaving to quarantine, {len(seconds)} pods: "
        f"p50 {cuts[49]:.2f} s, p90 {cuts[89]:.2f} s, p99 {cuts[98]:.2f} s, longest {max(seconds):.2f} s"
    )


def metric(operator: Process, name: str) -> float:
    """The value of a metric without labels; 0 while the operator does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


if __name__ == "__main__":
    sys.exit(main())
