"""The image store of each node, kept on this machine between clusters: a node finds its images already unpacked.

A store is the root of a containerd that is not running, under `<cache>/stores/<node>`. It is filled by a containerd of
our own on this machine, mounted into the node as /var/lib/containerd, and swept of everything but images before the
next node uses it. The first store is the pattern for the others: they share its files by hard links.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import places
from e2e.cluster.binaries import binary
from e2e.cluster.steps import ClusterError, attempt, leashed, locked, log_file, run, say, step, tail

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "k8s.io"
HOLDS = "holds"  # beside the store: what it was filled with
START_SECONDS = 20.0

# Containers of nodes that are gone. What they leave on disk; their records are in the database that `sweep` cleans.
LEFT_BY_CONTAINERS = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.runtime.v2.task",
    "io.containerd.sandbox.controller.v1.shim",
)
DATABASE = Path("io.containerd.metadata.v1.bolt/meta.db")

CONFIGURATION = """\
version = 3
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]

[grpc]
address = "{state}/containerd.sock"

[ttrpc]
address = "{state}/containerd.sock.ttrpc"
"""


def store(node: str, images: Path) -> Path:
    """The store of a node that does not run, holding every image of the archive, swept of old containers.

    A store that cannot be swept is made anew: it is a cache. Raises ClusterError.
    """
    with locked("stores"):
        own = places.cache() / "stores" / node
        if own.exists():
            swept = attempt(binary("sweep"), own / "root" / DATABASE)
            if swept.returncode:
                say(f"the image store of {node} is unusable and made anew: {swept.stderr.strip()}")
                shutil.rmtree(own)
        if not own.exists():
            _clone(_pattern(images), own)
        for left in LEFT_BY_CONTAINERS:
            shutil.rmtree(own / "root" / left, ignore_errors=True)
        _fill(own, images)
        return own / "root"


def forget_stores() -> None:
    """Delete all stores, for instance after the machine lost power in the middle of an import."""
    with locked("stores"):
        shutil.rmtree(places.cache() / "stores", ignore_errors=True)


def _pattern(images: Path) -> Path:
    """A store that never was a node's, with the images; older patterns go."""
    stores = places.cache() / "stores"
    pattern = stores / f"pattern-{_name_of(images)}"
    if not pattern.exists():
        for older in stores.glob("pattern-*"):
            shutil.rmtree(older)
        unfinished = stores / ".pattern"
        shutil.rmtree(unfinished, ignore_errors=True)
        _fill(unfinished, images)
        unfinished.rename(pattern)
    return pattern


def _name_of(images: Path) -> str:
    """Archives lie in a folder named by the hash of what they are made from."""
    return images.parent.name


def _clone(pattern: Path, own: Path) -> None:
    """The pattern's files by hard link, for nothing changes them in place but databases, which are copied."""
    unfinished = own.with_name(f".{own.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    run("cp", "--archive", "--link", pattern, unfinished)
    for database in unfinished.rglob("*.db"):
        copy = database.with_suffix(".copy")
        shutil.copy2(database, copy)
        copy.rename(database)
    unfinished.rename(own)


def _fill(own: Path, images: Path) -> None:
    """Import and unpack the archive, unless the store says that it holds it."""
    holds = own / HOLDS
    if holds.exists() and holds.read_text() == _name_of(images):
        return
    root = own / "root"
    root.mkdir(parents=True, exist_ok=True)
    with step(f"unpacking the control plane's images into {own}"), _containerd(root) as socket:
        ctr = binary("ctr")
        importing = ["images", "import", "--local", "--snapshotter=overlayfs", "--discard-unpacked-layers", "--sync-fs"]
        run(ctr, "--address", socket, "--namespace", NAMESPACE, *importing, images)
    places.write(holds, _name_of(images))


@contextmanager
def _containerd(root: Path) -> Iterator[Path]:
    """The socket of a containerd on this machine whose root is a node's; it serves no Kubernetes."""
    log = log_file("containerd")
    with tempfile.TemporaryDirectory(prefix="bailiwick-") as state, log.open("w") as out:
        configuration, socket = Path(state) / "config.toml", Path(state) / "containerd.sock"
        configuration.write_text(CONFIGURATION.format(root=root, state=state))
        command = leashed(binary("containerd"), "--config", configuration)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT) as process:
            try:
                _wait_for(process, socket, log)
                yield socket
            finally:
                process.terminate()


def _wait_for(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    ctr = binary("ctr")
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if socket.exists() and attempt(ctr, "--address", socket, "version").returncode == 0:
            return
        time.sleep(0.1)
    raise ClusterError(f"containerd did not start within {START_SECONDS:.0f} s; the end of {log}:\n{tail(log)}")
