"""Three real nodes, made by kind: a control plane, a worker inside the jurisdiction and a worker abroad.

A healthy cluster is used as it is. Whatever a killed run has left (half a cluster, dead containers, a network) is
removed first; only what carries our cluster's name is ever touched.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from e2e.cluster import places
from e2e.cluster.binaries import binary
from e2e.cluster.node_engine import NETWORK, Engine, weigh
from e2e.cluster.node_image import router_manifest
from e2e.cluster.steps import ClusterError, attempt, lasted, leashed, log_file, run, run_logged, say, step, tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CLUSTER = "bailiwick"
CONTROL_PLANE, INSIDE, ABROAD = f"{CLUSTER}-control-plane", f"{CLUSTER}-worker", f"{CLUSTER}-worker2"
NODES = (CONTROL_PLANE, INSIDE, ABROAD)
# A label by which tests find the nodes. A kubelet writes it about itself, so nothing may trust it.
SITE = "e2e.bailiwick.dev/site"
SITES = {INSIDE: "inside", ABROAD: "abroad"}

POD_SUBNET, SERVICE_SUBNET = "10.244.0.0/16", "10.96.0.0/16"
PUBLISHED_ROUTER = "cloudnativelabs/kube-router:v2.2.1"
READY_SECONDS = 180

NETWORK_PODS = ("daemonset/kube-router", "daemonset/kube-proxy")
NETWORK_SHARE = "cpu=50m"
"""What each asks for. With nothing, as kubeadm has it, engines that load a model starve them, and Services then lead to
pods that have ended."""

# On a host with cgroup v1 the kubelet refuses to start unless told otherwise. Changed Secrets come into pods when the
# kubelet looks after a pod again, for which tests need not wait a minute.
KUBELET = """\
kind: KubeletConfiguration
failCgroupV1: false
syncFrequency: 10s
cgroupDriver: systemd
"""
# The cluster does not outlive the machine, so its database need not outlive a power cut.
CLUSTER_SETTINGS = """\
kind: ClusterConfiguration
etcd:
  local:
    extraArgs:
      - name: unsafe-no-fsync
        value: "true"
"""


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the nodes are made from: an image, a store per node that holds its images (none: the image brings them)."""

    image: str
    stores: Mapping[str, Path]

    @property
    def published(self) -> bool:
        return not self.stores


def configuration(nodes: Nodes) -> str:
    """The cluster as kind reads it (kind.x-k8s.io/v1alpha4)."""
    roles = {CONTROL_PLANE: "control-plane", INSIDE: "worker", ABROAD: "worker"}
    described = []
    for name, role in roles.items():
        node: dict[str, object] = {"role": role, "image": nodes.image}
        if name in SITES:
            node["labels"] = {SITE: SITES[name]}
        if name in nodes.stores:
            mount = {"hostPath": str(nodes.stores[name]), "containerPath": "/var/lib/containerd"}
            node["extraMounts"] = [mount]
        described.append(node)
    cluster = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": CLUSTER,
        "networking": {
            "ipFamily": "ipv4",
            "podSubnet": POD_SUBNET,
            "serviceSubnet": SERVICE_SUBNET,
            "disableDefaultCNI": nodes.published,  # then kube-router is applied by us
        },
        "kubeadmConfigPatches": [CLUSTER_SETTINGS, KUBELET],
        "nodes": described,
    }
    return yaml.safe_dump(cluster, sort_keys=False)


def healthy(engine: Engine) -> bool:
    """All three nodes run and their API server says that they are Ready. Writes the kubeconfig when it is so."""
    if sorted(engine.containers([*_OURS, "status=running"])) != sorted(NODES):
        return False
    known = attempt(binary("kind"), "get", "kubeconfig", "--name", CLUSTER, env=engine.environment)
    if known.returncode:
        return False
    places.write(places.KUBECONFIG, known.stdout)
    places.KUBECONFIG.chmod(0o600)
    said = kubectl(
        "get", "nodes", '--output=jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}'
    )
    return said.split() == ["True"] * len(NODES)


def create(engine: Engine, nodes: Nodes) -> None:
    """Make the cluster and wait until its nodes are Ready and its DNS answers. Raises ClusterError."""
    config, log = places.RUN / "kind.yaml", log_file("kind")
    places.write(config, configuration(nodes))
    start = time.monotonic()
    say(f"creating three nodes from {nodes.image} … log in {log}")
    command = leashed(binary("kind"), "create", "cluster", "--config", config, "--kubeconfig", places.KUBECONFIG)
    _follow(engine, command, log, start)
    weigh(len(NODES))
    if nodes.published:
        with step("installing kube-router"):
            run(binary("kubectl"), "apply", "--filename=-", env=_kubeconfig(), given=router_manifest(PUBLISHED_ROUTER))
    run(*_system(), "set", "resources", *NETWORK_PODS, f"--requests={NETWORK_SHARE}", env=_kubeconfig())
    with step("waiting for nodes and DNS"):
        _wait_until_ready()


def delete(engine: Engine) -> None:
    """Remove the cluster's containers, dead or alive, their volumes and their network."""
    log = log_file("kind")
    nodes = engine.containers(_OURS)
    if nodes:
        with step("deleting the nodes"):
            engine.attempt("kill", *nodes)  # nobody needs their systemd to say goodbye for 10 s
            named = ("--name", CLUSTER, "--kubeconfig", places.KUBECONFIG)
            attempt(binary("kind"), "delete", "cluster", *named, env=engine.environment)
            left = engine.containers(_OURS)
            if left:  # kind gives up on containers that were never started
                run_logged(log, engine.name, "rm", "--force", "--volumes", *left, env=engine.environment)
    if engine.attempt("network", "inspect", NETWORK).returncode == 0:
        engine.attempt("network", "rm", NETWORK)
    places.KUBECONFIG.unlink(missing_ok=True)


def present(engine: Engine) -> list[str]:
    """The names of the cluster's containers, running or not."""
    return engine.containers(_OURS)


def kubectl(*arguments: str) -> str:
    """What kubectl says about our cluster, or nothing when it cannot be asked."""
    return attempt(binary("kubectl"), "--request-timeout=5s", *arguments, env=_kubeconfig()).stdout


_OURS = (f"label=io.x-k8s.kind.cluster={CLUSTER}",)


def _kubeconfig() -> dict[str, str]:
    return {"KUBECONFIG": str(places.KUBECONFIG)}


def _follow(engine: Engine, command: Sequence[str], log: Path, start: float) -> None:
    """Run kind and pass on the steps that it finishes."""
    with (
        log.open("w") as out,
        subprocess.Popen(
            command,
            env={**os.environ, **engine.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as kind,
    ):
        assert kind.stdout is not None
        for line in kind.stdout:
            out.write(line)
            out.flush()
            if line.strip().startswith("✓"):
                words = line.strip(" ✓\n").encode("ascii", "ignore").decode().strip()
                say(f"  {words}: {lasted(start)}")
    if kind.returncode:
        raise ClusterError(f"kind could not create the cluster; the end of {log}:\n{tail(log, 40)}")


def _wait_until_ready() -> None:
    timeout = f"--timeout={READY_SECONDS}s"
    run(*_system(), "wait", "node", "--all", "--for=condition=Ready", timeout, env=_kubeconfig())
    for what in NETWORK_PODS:
        run(*_system(), "rollout", "status", what, timeout, env=_kubeconfig())
    dns = ("deployment/coredns", "--for=condition=Available")  # one of its two pods answers
    run(*_system(), "wait", *dns, timeout, env=_kubeconfig())


def _system() -> tuple[str | Path, ...]:
    return binary("kubectl"), "--namespace=kube-system"
