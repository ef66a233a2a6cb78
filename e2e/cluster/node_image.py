"""The node image of kind, and the images of the control plane, from Debian packages and our own programs.

It is kind's own node image in all but its origin: the files of kind's base image (read from its module, never copied
into the repository), its unit clean-up, its layout. Built once; its name carries the hash of what it is made from.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster import places
from e2e.cluster.binaries import PROGRAMS, binaries, module_folder
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.node_archive import Image, write_archive
from e2e.cluster.node_root import root
from e2e.cluster.steps import locked, run, step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2e.cluster.node_engine import Engine

MANIFESTS = places.HERE / "manifests"
ARCHIVE = "images.tar"
ROUTER_IMAGE = "localhost/bailiwick/kube-router:node"

# systemd and what kind, kubeadm, the kubelet, kube-proxy, kube-router and the network plugins call
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "iproute2", "iptables", "nftables", "ebtables", "ipset", "procps", "kmod",
    "util-linux", "mount", "ca-certificates", "conntrack", "ethtool", "socat", "libseccomp2", "bash", "jq", "hostname",
    "rsync", "curl", "xz-utils", "pigz",
)  # fmt: skip

# kind's base Dockerfile, step by step: no unit starts but ours, and journald leaves the kernel's log alone
CLEAN_UP = (
    'find "$1/lib/systemd/system/sysinit.target.wants/" -name systemd-tmpfiles-setup.service -delete',
    'rm -f "$1"/lib/systemd/system/multi-user.target.wants/* "$1"/etc/systemd/system/*.wants/*',
    'rm -f "$1"/lib/systemd/system/local-fs.target.wants/* "$1"/lib/systemd/system/basic.target.wants/*',
    'rm -f "$1"/lib/systemd/system/sockets.target.wants/*udev* "$1"/lib/systemd/system/sockets.target.wants/*initctl*',
    'echo ReadKMsg=no >> "$1/etc/systemd/journald.conf"',
    'rm -f "$1/etc/machine-id" "$1/etc/hostname" "$1/etc/resolv.conf"',
)
ENABLED = ("containerd.service", "kubelet.service", "undo-mount-hacks.service")
FORMAT = "1"  # of both images: count up when the code below puts the same inputs together differently
EXECUTABLE, PLAIN = 0o755, 0o644
EXECUTABLES = ("/usr/local/bin/", "/kind/bin/")

NODE_PROGRAMS = {  # by their path in a node
    **{f"/usr/bin/{name}": name for name in ("kubelet", "kubeadm", "kubectl")},
    **{f"/usr/local/bin/{name}": name for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    "/usr/local/sbin/runc": "runc",
    **{f"/opt/cni/bin/{name}": name for name in ("bridge", "loopback", "host-local", "portmap")},
}
CONTROL_PLANE_PROGRAMS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy",
    "etcd", "coredns", "kube-router", "pause",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeImage:
    """The image's name in the engine, and the archive of the images that its nodes must hold."""

    name: str
    control_plane: Path


def node_image(engine: Engine) -> NodeImage:
    """The node image, in the engine's store, and the control plane's images; made when missing. Raises ClusterError."""
    programs = binaries([*NODE_PROGRAMS.values(), *CONTROL_PLANE_PROGRAMS])
    base = module_folder("sigs.k8s.io/kind", "kubernetes") / "images" / "base" / "files"
    system = root(PACKAGES, CLEAN_UP)

    def make_control_plane(folder: Path) -> None:
        with step("making the control plane's images"):
            folder.mkdir()
            _make_control_plane(folder, system, programs, names)

    names = control_plane_images(programs["kubeadm"])
    key = _key(programs, system, CONTROL_PLANE_PROGRAMS, *names.values())
    control_plane = kept("control-plane", f"images-{key}", make_control_plane) / ARCHIVE
    files = {**_kind_files(base), **_our_files(programs["ctr"], names["pause"])}
    key = _key(programs, system, NODE_PROGRAMS.values(), *(part for file in files.items() for part in file))
    made = NodeImage(f"localhost/bailiwick/node:{key}", control_plane)
    with locked("node-image"):
        if engine.attempt("image", "inspect", "--format", "{{.Id}}", made.name).returncode:
            with step(f"making the node image {made.name}"):
                _make_node(engine, made.name, system, programs, files)
            _forget_all_but(engine, made.name)
    return made


def kubernetes_version() -> str:
    """The version that the cluster runs: `v1.36.3`."""
    return PROGRAMS["kubelet"].version


def control_plane_images(kubeadm: Path) -> dict[str, str]:
    """The names that kubeadm wants, by what they are: `{"pause": "…/pause:3.10.2"}`."""
    listed = run(kubeadm, "config", "images", "list", "--kubernetes-version", kubernetes_version()).split()
    return {name.rpartition(":")[0].rpartition("/")[2]: name for name in listed}


def router_manifest(image: str) -> str:
    return (MANIFESTS / "kube-router.yaml").read_text().replace("KUBE_ROUTER_IMAGE", image)


def _key(programs: dict[str, Path], system: Path, names: Iterable[str], *contents: str | bytes) -> str:
    """The hash of what an image is made from. Names of the root and of programs' folders carry their own hashes."""
    return key_of(FORMAT, system.name, *(f"{programs[name].parent.name}/{name}" for name in names), *contents)


def _make_control_plane(folder: Path, system: Path, programs: dict[str, Path], names: dict[str, str]) -> None:
    """One root for all: each program is found in PATH, as kubeadm's manifests and ours call it."""
    layer = folder / "programs.tar"
    with tarfile.open(layer, "w") as tar:
        for name in CONTROL_PLANE_PROGRAMS:
            _put(tar, f"/usr/local/bin/{name}", programs[name].read_bytes(), EXECUTABLE)
    entrypoints = {"coredns": ["/usr/local/bin/coredns"], "pause": ["/usr/local/bin/pause"]}
    images = [
        Image(name, {"Env": [_PATH], **({"Entrypoint": entrypoints[what]} if what in entrypoints else {})})
        for what, name in names.items()
    ]
    write_archive(folder / ARCHIVE, [*images, Image(ROUTER_IMAGE, {"Env": [_PATH]})], [system, layer])
    layer.unlink()


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _make_node(engine: Engine, name: str, system: Path, programs: dict[str, Path], files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="bailiwick-") as folder:
        layer, archive = Path(folder) / "layer.tar", Path(folder) / "node.tar"
        with tarfile.open(layer, "w") as tar:
            for inside, content in files.items():
                _put(tar, inside, content, EXECUTABLE if inside.startswith(EXECUTABLES) else PLAIN)
            for inside, program in NODE_PROGRAMS.items():
                _put(tar, inside, programs[program].read_bytes(), EXECUTABLE)
            for empty in ("/etc/kubernetes/manifests", "/var/lib/containerd"):
                _folder(tar, empty)
            for unit in ENABLED:
                _link(tar, f"/etc/systemd/system/multi-user.target.wants/{unit}", f"/etc/systemd/system/{unit}")
            _link(tar, "/etc/systemd/system/systemd-binfmt.service", "/dev/null")  # it would reach the host's kernel
        settings = {
            "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
            "Env": ["container=docker", _PATH],
            "StopSignal": "SIGRTMIN+3",  # systemd leaves on it; SIGTERM restarts it
        }
        write_archive(archive, [Image(name, settings)], [system, layer])
        loaded = engine.run("load", "--input", archive)
        if name not in loaded:  # podman 4 forgets the name of an OCI archive
            engine.run("tag", loaded.rpartition("Loaded image: ")[2].strip(), name)


def _forget_all_but(engine: Engine, name: str) -> None:
    """Remove the node images of earlier days; the engine keeps those that containers stand on."""
    repository = name.rpartition(":")[0]
    named = "{{.Repository}}:{{.Tag}}"
    known = engine.run("images", "--filter", f"reference={repository}", "--format", named).split()
    for old in set(known) - {name}:
        engine.attempt("rmi", old)


def _kind_files(base: Path) -> dict[str, bytes]:
    return {f"/{path.relative_to(base)}": path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}


def _our_files(ctr: Path, pause: str) -> dict[str, bytes]:
    """What stands beside kind's files or in their place, by its path in the image."""
    texts = {
        "/kind/version": kubernetes_version(),
        "/kind/manifests/default-cni.yaml": router_manifest(ROUTER_IMAGE),
        "/kind/manifests/default-storage.yaml": (MANIFESTS / "storage.yaml").read_text(),
        "/etc/containerd/config.toml": (MANIFESTS / "containerd.toml").read_text().replace("PAUSE_IMAGE", pause),
        "/etc/containerd/cri-base.json": json.dumps(_container_defaults(ctr), sort_keys=True),
    }
    return {inside: text.encode() for inside, text in texts.items()}


def _container_defaults(ctr: Path) -> dict[str, Any]:
    """The default container of containerd, without limits, with kind's hook that gives each node a product UUID."""
    spec: dict[str, Any] = json.loads(run(ctr, "oci", "spec"))
    spec["process"].pop("rlimits", None)
    spec["hooks"] = {"createContainer": [{"path": "/kind/bin/mount-product-files.sh"}]}
    return spec


def _put(tar: tarfile.TarFile, inside: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(f".{inside}")
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _link(tar: tarfile.TarFile, inside: str, target: str) -> None:
    entry = tarfile.TarInfo(f".{inside}")
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)


def _folder(tar: tarfile.TarFile, inside: str) -> None:
    entry = tarfile.TarInfo(f".{inside}")
    entry.type, entry.mode = tarfile.DIRTYPE, EXECUTABLE
    tar.addfile(entry)
