"""The cluster as everybody uses it: up, down, status. kind here, or whatever `CLUSTER=external KUBECONFIG=…` names."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

from e2e.cluster import kind, node_engine, places, stores
from e2e.cluster.binaries import binary
from e2e.cluster.node_image import kubernetes_version, node_image
from e2e.cluster.node_images import forget_superseded
from e2e.cluster.steps import ClusterError, attempt, locked, say, step

PUBLISHED = "kindest/node"
PULL_PATIENCE = "20"  # seconds until an image registry must have answered


def up() -> Path:
    """The kubeconfig of a cluster that is ready; made when it is not there. Raises ClusterError."""
    given = external()
    if given:
        return given
    with locked("cluster"):
        engine = node_engine.docker() or node_engine.podman()
        leftovers = bool(kind.present(engine))
        if leftovers:
            if kind.healthy(engine):
                return places.KUBECONFIG
            say("what is left of an earlier cluster goes first")
        kind.delete(engine)
        nodes = _nodes(engine)
        try:
            kind.create(engine, nodes)
        except ClusterError as error:
            if not leftovers and "already in use" not in str(error):
                raise
            say(f"once more, for something of an earlier run was still moving: {error}")
            kind.delete(engine)
            kind.create(engine, nodes)
        for node in kind.NODES:
            forget_superseded(engine, node)
    return places.KUBECONFIG


def down() -> None:
    """End what `up` started; caches and image stores stay. A given cluster is never touched."""
    if external():
        raise ClusterError("CLUSTER=external names a cluster that was given to us: whoever made it ends it.")
    with locked("cluster"):
        for engine in _engines():
            kind.delete(engine)


def forget() -> None:
    """Delete the nodes' image stores, which may be broken after the machine lost its power. Raises ClusterError."""
    with locked("cluster"):
        for engine in _engines():
            if kind.present(engine):
                raise ClusterError("the nodes still use their image stores. `make cluster-down` ends them first.")
        stores.forget_stores()


def external() -> Path | None:
    """The kubeconfig of a given cluster. Raises ClusterError when CLUSTER or KUBECONFIG make no sense."""
    choice = os.environ.get("CLUSTER", "")
    if choice not in {"", "external"}:
        raise ClusterError(f"CLUSTER={choice} is unknown: expected nothing (kind makes a cluster) or `external`.")
    if not choice:
        return None
    path = Path(os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    if not path.exists():
        raise ClusterError(f"CLUSTER=external needs a kubeconfig: {path} does not exist. Set KUBECONFIG.")
    return path


def site(which: str, ours: str) -> str:
    """The node that stands ``inside`` or ``abroad``: ours, or the one that NODE_INSIDE or NODE_ABROAD names."""
    return os.environ.get(f"NODE_{which.upper()}", ours)


def repository() -> str:
    """What the names of our images begin with: `localhost/bailiwick`, or what IMAGES says."""
    return os.environ.get("IMAGES", "localhost/bailiwick").rstrip("/")


def kubeconfig() -> Path:
    """The kubeconfig of the cluster, which must be up. Raises ClusterError."""
    path = external() or places.KUBECONFIG
    if not path.exists():
        raise ClusterError(f"no cluster is up: {path} does not exist. `make cluster` starts one.")
    return path


@cache
def engine() -> node_engine.Engine:
    """The engine whose containers are the nodes. Raises ClusterError when no node of ours is there."""
    for candidate in _engines():
        if kind.present(candidate):
            return candidate
    raise ClusterError("no cluster of ours is up. `make cluster` starts one.")


def status() -> str:
    """The nodes as kubectl shows them."""
    path = kubeconfig()
    ask = ("get", "nodes", "--output=wide", f"--label-columns={kind.SITE}")
    said = attempt(binary("kubectl"), *ask, env={"KUBECONFIG": str(path)})
    return (said.stdout or said.stderr).strip()


def _engines() -> list[node_engine.Engine]:
    """Every engine that may hold nodes of ours, without installing any."""
    docker = node_engine.docker()
    found = [docker] if docker else []
    return [*found, node_engine.podman()] if shutil.which("podman") else found


def _nodes(engine: node_engine.Engine) -> kind.Nodes:
    published = f"{PUBLISHED}:{kubernetes_version()}"
    if _pulled(engine, published):
        return kind.Nodes(published, {})
    made = node_image(engine)
    with step("preparing the nodes' image stores"):
        return kind.Nodes(made.name, {node: stores.store(node, made.control_plane) for node in kind.NODES})


def _pulled(engine: node_engine.Engine, image: str) -> bool:
    """Whether the engine has the published node image, or an image registry gives it to us without delay."""
    if engine.attempt("image", "inspect", image).returncode == 0:
        return True
    if engine.name == "docker":
        asks = attempt("timeout", PULL_PATIENCE, "docker", "manifest", "inspect", image)
    else:
        asks = attempt("timeout", PULL_PATIENCE, "podman", "search", "--limit=1", image, env=engine.environment)
    return asks.returncode == 0 and engine.attempt("pull", image).returncode == 0
