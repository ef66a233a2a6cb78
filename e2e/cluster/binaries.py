"""The programs of the cluster, built from pinned Go modules by the ordinary Go client, once.

`go/<group>/go.mod` pins what is built together; `<cache>/bin/<group>-<hash>/` holds the result, and the hash covers
everything in the group's folder and how it is compiled. Building is safe to kill and safe to do twice at once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import places
from e2e.cluster.keys import key_of
from e2e.cluster.prerequisites import FOR_RUNC, require
from e2e.cluster.steps import ClusterError, attempt, lasted, leashed, locked, log_file, run, say, tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GO = places.HERE / "go"
GO_AT_LEAST = (1, 26, 6)
GENERATIONS = 3  # of a group; containers that run may use the runtime of an older one
POLL_SECONDS, TELL_SECONDS = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Program:
    """One command of a group: its Go package, the module whose version it carries, and how it is compiled.

    `stamps` are the linker's variables that get the version: a Kubernetes without them calls itself v0.0.0.
    Everything is static, so that it runs in images made from nothing; runc alone needs C, for libseccomp.
    """

    name: str
    group: str
    package: str
    module: str
    stamps: tuple[str, ...] = ()
    tags: str = ""
    c: bool = False

    @property
    def built_as(self) -> str:
        """The name that `go build` gives the program: the last element of the package that is no version."""
        return next(part for part in reversed(self.package.split("/")) if not re.fullmatch(r"v\d+", part))

    @property
    def version(self) -> str:
        """`v1.36.3`, from the group's go.mod."""
        go_mod = GO / self.group / "go.mod"
        pinned = re.search(rf"^(?:require)?\s+{re.escape(self.module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
        if pinned is None:
            raise ClusterError(f"{go_mod} does not pin {self.module}")
        return pinned[1]


def _kubernetes(name: str) -> Program:
    base = "k8s.io/component-base/version.git"
    stamps = (f"{base}Version={{full}}", f"{base}Major={{major}}", f"{base}Minor={{minor}}")
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", "k8s.io/kubernetes", stamps)


def _of_minor(server: Program, minor: str) -> Program:
    """The same of another minor version than the cluster's: `kube-apiserver-1.34`."""
    return replace(server, name=f"{server.name}-{minor}", group=f"apiserver-{minor}")


def _containerd(name: str) -> Program:
    module = "github.com/containerd/containerd/v2"
    stamps = (f"{module}/version.Version={{full}}",)
    return Program(name, "containers", f"{module}/cmd/{name}", module, stamps, "no_btrfs,no_devmapper,no_zfs")


def _network(name: str, kind: str) -> Program:
    module = "github.com/containernetworking/plugins"
    stamps = (f"{module}/pkg/utils/buildversion.BuildVersion={{full}}",)
    return Program(name, "containers", f"{module}/plugins/{kind}/{name}", module, stamps)


_ROUTER = "github.com/cloudnativelabs/kube-router/v2"
_RUNC = "github.com/opencontainers/runc"
_HELM = "helm.sh/helm/v4"
_VERSITY = "github.com/versity/versitygw"
_REGISTRY = "github.com/distribution/distribution/v3"
_CRANE = "github.com/google/go-containerregistry"
_PROMETHEUS = "github.com/prometheus/prometheus"
_KSTATUS, _LUA = "github.com/fluxcd/cli-utils", "github.com/yuin/gopher-lua"
_OURS = "./"  # a package of the group's own folder

SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""What of Kubernetes runs without a node."""
OTHER_MINORS = ("1.34", "1.35", "1.37")
"""Minor versions, besides the cluster's own, of which there are the servers alone."""
_OTHERS = [_of_minor(_kubernetes(name), minor) for minor in OTHER_MINORS for name in SERVERS]
OTHER_SERVERS = {server.name: server for server in _OTHERS}

PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        *map(_kubernetes, ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler")),
        *map(_kubernetes, ("kubelet", "kube-proxy", "kubeadm")),
        Program("etcd", "kubernetes", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
        Program("kind", "kubernetes", "sigs.k8s.io/kind", "sigs.k8s.io/kind"),
        Program("kube-router", "kubernetes", f"{_ROUTER}/cmd/kube-router", _ROUTER),
        *map(_containerd, ("containerd", "containerd-shim-runc-v2", "ctr")),
        Program("runc", "containers", _RUNC, _RUNC, tags="seccomp", c=True),
        *(_network(name, "main") for name in ("bridge", "loopback")),
        _network("host-local", "ipam"),
        _network("portmap", "meta"),
        Program("pause", "containers", f"{_OURS}pause", "github.com/containerd/containerd/v2"),
        Program("sweep", "containers", f"{_OURS}sweep", "github.com/containerd/containerd/v2"),
        Program("coredns", "tools", f"{_OURS}coredns", "github.com/coredns/coredns"),
        Program("helm", "tools", f"{_HELM}/cmd/helm", _HELM, (f"{_HELM}/internal/version.version={{full}}",)),
        Program("kubeconform", "tools", "github.com/yannh/kubeconform/cmd/kubeconform", "github.com/yannh/kubeconform"),
        Program("lws-controller", "lws", "sigs.k8s.io/lws/cmd", "sigs.k8s.io/lws"),
        Program("kwok", "tools", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok"),
        Program("versitygw", "storage", f"{_VERSITY}/cmd/versitygw", _VERSITY),
        Program("registry", "registry", f"{_REGISTRY}/cmd/registry", _REGISTRY),
        *(
            Program(name, "prometheus", f"{_PROMETHEUS}/cmd/{name}", _PROMETHEUS, tags="remove_all_sd")
            for name in ("prometheus", "promtool")
        ),
        Program("kstatus", "gitops", f"{_OURS}kstatus", _KSTATUS),
        Program("argohealth", "gitops", f"{_OURS}argohealth", _LUA),
        Program("helmrelease", "gitops", f"{_OURS}helmrelease", "github.com/fluxcd/helm-controller/api"),
        Program("crane", "registry", f"{_CRANE}/cmd/crane", _CRANE),
        *OTHER_SERVERS.values(),
    )
}


_KINDS = (
    "sigs.k8s.io/lws",
    "github.com/kedacore/keda/v2",
    "github.com/prometheus-operator/prometheus-operator",
    "sigs.k8s.io/gateway-api-inference-extension",
    "sigs.k8s.io/gateway-api",
    "github.com/argoproj/argo-cd/v3",
    "github.com/fluxcd/kustomize-controller",
    "github.com/fluxcd/source-controller",
    "github.com/openreports/reports-api",
    "sigs.k8s.io/wg-policy-prototypes",
)
"""Modules whose definitions tests use. The group ``kinds`` holds those of which nothing is compiled."""


def binary(name: str) -> Path:
    """The program's path; it is built first when the cache does not hold it. Raises ClusterError, KeyError."""
    return binaries([name])[name]


def binaries(names: Iterable[str]) -> dict[str, Path]:
    """The paths of several programs by name; those that are missing are built, a group at a time."""
    wanted = list(dict.fromkeys(names))
    missing = [PROGRAMS[name] for name in wanted if not path_of(PROGRAMS[name]).exists()]
    batches: dict[tuple[str, str, bool], list[Program]] = {}
    for program in missing:
        batches.setdefault((program.group, program.tags, program.c), []).append(program)
    progress = _Progress(len(missing))
    for (group, _, _), batch in batches.items():
        with locked(f"bin-{group}"):
            still = [program for program in batch if not path_of(program).exists()]
            progress.done += len(batch) - len(still)  # somebody else built them while we waited
            if still:
                if batch[0].c:
                    require(FOR_RUNC)
                _build(still, progress)
    return {name: path_of(PROGRAMS[name]) for name in wanted}


def of_version(name: str, minor: str) -> str:
    """What a program is called in PROGRAMS when its minor version is asked for; empty for the cluster's own."""
    own = PROGRAMS["kube-apiserver"].version.removeprefix("v").rpartition(".")[0]
    if name not in SERVERS or minor in ("", own):
        return name
    if minor not in OTHER_MINORS:
        known = ", ".join(sorted((*OTHER_MINORS, own)))
        raise ClusterError(f"there is no Kubernetes {minor} to run: expected one of {known}")
    return f"{name}-{minor}"


def path_of(program: Program) -> Path:
    """Where the program is, or would be."""
    return places.cache() / "bin" / f"{program.group}-{_key(program.group)}" / program.name


def module_folder(module: str, group: str) -> Path:
    """The unpacked source of a pinned module, downloaded by Go if need be."""
    run(_go(), "mod", "download", module, folder=GO / group)
    return Path(run(_go(), "list", "-m", "-f", "{{.Dir}}", module, folder=GO / group).strip())


def other_kinds(*files: str, group: str = "kinds") -> list[Path]:
    """CustomResourceDefinitions of other projects, as ``module/path/in/it.yaml``, out of the modules that hold them.

    ``group`` is the one that pins the modules.
    """
    found = []
    for file in files:
        module = next(each for each in _KINDS if file.startswith(f"{each}/"))
        found.append(module_folder(module, group) / file.removeprefix(f"{module}/"))
    return found


def _key(group: str) -> str:
    """The hash of a group: its folder, and how each of its programs is compiled."""
    files = sorted(path for path in (GO / group).rglob("*") if path.suffix in {".go", ".mod", ".sum"})
    how = [repr(program) for program in PROGRAMS.values() if program.group == group]
    return key_of(*(path.read_bytes() for path in files), *how)


def _build(batch: Sequence[Program], progress: _Progress) -> None:
    """Compile programs of one group that share tags, into a folder beside the result, and move what is finished."""
    first = batch[0]
    target = path_of(first).parent
    target.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{first.group}-*"):  # of a killed build: we hold the group's lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{first.group}-", dir=target.parent) as unfinished:
        _compile(batch, Path(unfinished), progress)
        for program in batch:
            (Path(unfinished) / program.built_as).rename(target / program.name)
    generations = sorted(target.parent.glob(f"{first.group}-*"), key=lambda folder: folder.stat().st_mtime)
    for old in generations[:-GENERATIONS]:
        shutil.rmtree(old, ignore_errors=True)


def _compile(batch: Sequence[Program], into: Path, progress: _Progress) -> None:
    first = batch[0]
    folder, log = GO / first.group, log_file(f"build-{first.group}")
    flags = ["-trimpath", f"-tags={first.tags}", f"-ldflags={_linker_flags(batch)}"]
    packages = [program.package for program in batch]
    env = {"CGO_ENABLED": "1" if first.c else "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    stale = run(_go(), "list", "-deps", *flags, "-f", "{{if .Stale}}x{{end}}", *packages, env=env, folder=folder)
    progress.begins(batch, packages=stale.count("x"), log=log)
    with (
        log.open("w") as out,
        subprocess.Popen(
            leashed(_go(), "build", "-v", *flags, "-o", f"{into}/", *packages),
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as build,
    ):
        try:
            while build.poll() is None:
                time.sleep(POLL_SECONDS)
                progress.tells(into)
        except BaseException:
            build.terminate()
            raise
    progress.tells(into)
    if build.returncode:
        names = ", ".join(program.name for program in batch)
        raise ClusterError(f"{names} could not be built; the end of {log}:\n{tail(log)}")


class _Progress:
    """What a build tells while it runs: each program when it is finished, and how far the compiler is."""

    def __init__(self, of: int) -> None:
        self.done, self._of = 0, of
        self._begun = self._told = time.monotonic()
        self._packages, self._log = 0, Path()
        self._unfinished: dict[str, Program] = {}

    def begins(self, batch: Sequence[Program], *, packages: int, log: Path) -> None:
        self._unfinished = {program.built_as: program for program in batch}
        self._packages, self._log = packages, log
        names = ", ".join(program.name for program in batch)
        say(f"building {names} … {packages} packages to compile, log in {log}")

    def tells(self, folder: Path) -> None:
        """Look at what the compiler has put into `folder` and into the log, and say what is new, or that it goes on."""
        for finished in [name for name in self._unfinished if (folder / name).exists()]:
            program = self._unfinished.pop(finished)
            self.done += 1
            self._say(f"built {program.name} {program.version.removeprefix('v')}")
        if time.monotonic() - self._told > TELL_SECONDS:
            compiled = min(len(self._log.read_text(errors="replace").splitlines()), self._packages)
            coming = next((program.name for program in self._unfinished.values()), "the last")
            self._say(f"building {coming}: {compiled} of {self._packages} packages")

    def _say(self, what: str) -> None:
        self._told = time.monotonic()
        say(f"{what} … {self.done} of {self._of}, {lasted(self._begun)}")


def _linker_flags(batch: Sequence[Program]) -> str:
    stamps: dict[str, None] = {}
    for program in batch:
        full = program.version
        major, minor, _ = full.removeprefix("v").split(".", 2)
        for stamp in program.stamps:
            stamps[f"-X {stamp.format(full=full, major=major, minor=minor)}"] = None
    return " ".join(["-s", "-w", *stamps])


@cache
def _go() -> str:
    """The Go client, new enough, or one that can fetch a newer one by itself (1.21 and later)."""
    needed = ".".join(map(str, GO_AT_LEAST))
    remedy = f"Install Go {needed} or newer, from https://go.dev/dl or your distribution, and put it in PATH."
    if shutil.which("go") is None:
        raise ClusterError(f"Go is missing: the cluster's programs are compiled with it. {remedy}")
    said = attempt("go", "env", "GOVERSION", env={"GOTOOLCHAIN": "local"}).stdout.strip()
    have = tuple(int(part) for part in re.findall(r"\d+", said)[:3])
    if have < (1, 21):
        raise ClusterError(f"Go is too old: expected {needed}, found {said}. {remedy}")
    if have < GO_AT_LEAST:
        os.environ["GOTOOLCHAIN"] = f"go{needed}+auto"
    return "go"
