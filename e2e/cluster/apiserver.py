"""An API server without nodes: etcd and kube-apiserver as plain processes on loopback, ready in seconds.

Data and credentials live in a temporary folder that goes with the server, logs in `.run/logs/`. Nothing here needs a
container engine or root.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

from e2e.client import ApiError, Client, documents, eventually
from e2e.cluster.binaries import PROGRAMS, binaries, binary, of_version
from e2e.cluster.credentials import Authority, write_kubeconfig
from e2e.cluster.places import LOGS
from e2e.cluster.steps import ClusterError, log_file, started, tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from e2e.client import Manifest

ADMIN = "bailiwick-test-admin"
ADMINS = "system:masters"
NODES = "system:nodes"
FOLDER_PREFIX = "bailiwick-apiserver-"
START_SECONDS = 60.0  # a server that is not ready by then never will be; two seconds are usual
STOP_SECONDS = 10.0
ATTEMPTS = 3
KEEP_LOGS_SECONDS = 24 * 3600.0
# Nodes of a test have no kubelet, whose silence this controller would punish with taints.
CONTROLLERS = "*,-node-lifecycle-controller"
CAPACITY = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}
CONTROLLER_MANAGER = "kube-controller-manager"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
MINOR = os.environ.get("KUBERNETES", "")
"""The minor version to run, such as 1.34; empty for the one that the cluster has."""
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
LOWEST_PORT = 20000
GIVEN_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Which ports the kernel gives to connections out: the first and the last."""


class ApiServer:
    """A running API server. Make one with `ApiServer.start()`; `stop()` ends exactly what it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.authority = Authority(folder / "pki")
        self._signing = self.authority.signing_key()
        self._serving = self.authority.server()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._identities: dict[tuple[str, tuple[str, ...]], Path] = {}
        self._clients: dict[tuple[str, tuple[str, ...]], Client] = {}

    @classmethod
    def start(cls) -> Self:
        """A server that answers. Raises ClusterError, with the end of its log, when there is none to be had."""
        end_leftovers()
        forget_logs(LOGS, time.time())
        server = cls(Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-")))
        try:
            server._start()
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """End the processes, last started first, and remove the folder."""
        for client in self._clients.values():
            client.close()
        for process in reversed(self._processes.values()):
            _end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def client(self) -> Client:
        """Cluster-admin."""
        return self.as_user(ADMIN, [ADMINS])

    def as_user(self, user: str, groups: Sequence[str] = ()) -> Client:
        """A client that is somebody, by certificate. The server closes it."""
        identity = (user, tuple(groups))
        if identity not in self._clients:
            self._clients[identity] = Client.from_kubeconfig(self.kubeconfig(user, groups))
        return self._clients[identity]

    def as_node(self, node: str) -> Client:
        """A client with the identity of a kubelet."""
        return self.as_user(f"system:node:{node}", [NODES])

    def pid(self, name: str) -> int:
        """The process that runs a program, such as ``kube-apiserver``."""
        return self._processes[name].pid

    def kubeconfig(self, user: str = ADMIN, groups: Sequence[str] = (ADMINS,)) -> Path:
        """A kubeconfig file for somebody; without arguments, for cluster-admin."""
        identity = (user, tuple(groups))
        if identity not in self._identities:
            file = f"{len(self._identities)}-{re.sub('[^a-z0-9]+', '-', user.casefold())}"
            pair = self.authority.client(file, user, groups)
            self._identities[identity] = write_kubeconfig(
                self.folder / f"{file}.kubeconfig",
                url=self.url, authority=self.authority.pair.certificate, user=user, pair=pair,
            )  # fmt: skip
        return self._identities[identity]

    def install_crds(self, files: Iterable[Path]) -> None:
        """Apply CustomResourceDefinitions and wait until the server serves them."""
        names = [self.client.apply(crd)["metadata"]["name"] for file in files for crd in documents(file)]
        for name in names:
            eventually(partial(self._serves, name), what=f"{name} is served")

    def create_namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """The name of a new namespace in which pods can be created."""
        name = f"test-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": dict(labels or {})}
        self.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        if CONTROLLER_MANAGER not in self._processes:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            self.client.create(account)
        return name

    def remove_namespace(self, name: str) -> None:
        """Delete a namespace with everything in it; a running controller-manager does that by itself."""
        self.client.delete("v1", "Namespace", name)
        if CONTROLLER_MANAGER in self._processes:
            return
        for collection in self._collections():
            self.client.request("DELETE", collection.format(namespace=name), params={"gracePeriodSeconds": "0"})
        left = self.client.find("v1", "Namespace", name)
        if left is not None:
            self.client.replace({**left, "spec": {"finalizers": []}}, subresource="finalize")

    def add_node(
        self, name: str, *, labels: Mapping[str, str] | None = None, capacity: Mapping[str, str] | None = None
    ) -> Manifest:
        """A Ready node that takes pods, with nobody behind it: pods are scheduled there and stay Pending."""
        size = CAPACITY | dict(capacity or {})
        ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "there is no kubelet"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": dict(labels or {})}}
        self.client.create(node)
        # A new node is tainted not-ready, and the controller that would lift that does not run here.
        self.client.patch("v1", "Node", name, {"spec": {"taints": None}})
        status = {"capacity": size, "allocatable": size, "conditions": [ready]}
        return self.client.patch("v1", "Node", name, {"status": status}, subresource="status")

    def start_controller_manager(self, controllers: str = CONTROLLERS, flags: Sequence[str] = ()) -> None:
        """Run the cluster's own controllers (Deployments, garbage collection, namespaces, …); once is enough.

        ``flags`` are further ones of its command line.
        """
        if CONTROLLER_MANAGER in self._processes:
            return
        self._run(
            CONTROLLER_MANAGER,
            f"--kubeconfig={self.kubeconfig('system:kube-controller-manager', [])}",
            f"--controllers={controllers}",
            f"--service-account-private-key-file={self._signing.key}",
            f"--root-ca-file={self.authority.pair.certificate}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            *flags,
        )
        eventually(
            lambda: self._alive(CONTROLLER_MANAGER) and self.client.find("v1", "ServiceAccount", "default", "default"),
            what="the controllers work",
            seconds=START_SECONDS,
        )

    def start_scheduler(self) -> None:
        """Run the scheduler; once is enough. Nodes are what a suite creates."""
        if "kube-scheduler" in self._processes:
            return
        kubeconfig = self.kubeconfig("system:kube-scheduler", [])
        self._run("kube-scheduler", f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0")

    def _collections(self) -> list[str]:
        """URL paths, with a gap for the namespace, of everything in a namespace that can be deleted at once."""
        return [
            f"{root}/namespaces/{{namespace}}/{resource['resource']}"
            for source in ("/api", "/apis")
            for group in self.client.request("GET", source, accept=DISCOVERY).json()["items"]
            for version in group["versions"]
            for root in (f"{source}/{group['metadata'].get('name', '')}".rstrip("/") + f"/{version['version']}",)
            for resource in version.get("resources", ())
            if resource["scope"] == "Namespaced" and "deletecollection" in resource["verbs"]
        ]

    def _start(self) -> None:
        binaries(["etcd", of_version("kube-apiserver", MINOR)])
        for attempt in range(1, ATTEMPTS + 1):
            etcd = self._start_etcd()
            self._start_apiserver(etcd)
            try:
                self._wait_until_ready()
            except _PortTakenError:
                # Between choosing a port and opening it, somebody else took it.
                for name in ("kube-apiserver", "etcd"):
                    _end(self._processes.pop(name))
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    def _start_etcd(self) -> str:
        data = Path(tempfile.mkdtemp(prefix="etcd-", dir=self.folder))
        clients, peers = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        self._run(
            "etcd",
            f"--data-dir={data}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # a test's data may be lost with the machine
            "--log-level=warn",
        )
        return clients

    def _start_apiserver(self, etcd: str) -> None:
        (port,) = free_ports(1)
        self.url = f"https://127.0.0.1:{port}"
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--endpoint-reconciler-type=none",  # an Endpoints object may not hold a loopback address
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            f"--client-ca-file={self.authority.pair.certificate}",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._signing.certificate}",
            f"--service-account-signing-key-file={self._signing.key}",
        )

    def _run(self, name: str, *arguments: str) -> None:
        program = binary(of_version(name, MINOR))  # may build it, so before the log is opened
        log = self._log(name)
        # By its plain name whatever its version is: controllers sign what they write with what they are called.
        self._processes[name] = started(log, program, *arguments, folder=self.folder, name=name)
        with (self.folder / "pids").open("a") as pids:
            pids.write(f"{self._processes[name].pid}\n")

    def _log(self, name: str) -> Path:
        return log_file(f"apiserver-{os.getpid()}-{name}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._alive("etcd")
            self._alive("kube-apiserver")
            with suppress(httpx.HTTPError, ApiError):
                if self.client.request("GET", "/readyz").text == "ok":
                    return
            time.sleep(0.05)
        raise ClusterError(
            f"kube-apiserver is not ready after {START_SECONDS:g} s; the end of {self._log('kube-apiserver')}:\n"
            f"{tail(self._log('kube-apiserver'))}"
        )

    def _alive(self, name: str) -> bool:
        code = self._processes[name].poll()
        if code is None:
            return True
        end = tail(self._log(name))
        failure = _PortTakenError if "address already in use" in end else ClusterError
        raise failure(f"{name} ended with {code}; the end of {self._log(name)}:\n{end}")

    def _serves(self, crd: str) -> bool:
        found = self.client.get(*CRD, crd)
        conditions = {condition["type"]: condition for condition in (found.get("status") or {}).get("conditions") or ()}
        assert conditions.get("Established", {}).get("status") == "True", conditions
        api_version = f"{found['spec']['group']}/{found['spec']['versions'][0]['name']}"
        kind = found["spec"]["names"]["kind"]
        # It is established a moment before it is listed beside the other kinds of its group.
        assert kind in self.client.resources(api_version), f"{api_version} does not list {kind} yet"
        self.client.list(api_version, kind)
        return True


def release() -> str:
    """The version of Kubernetes that `ApiServer` runs: `v1.36.3`. Raises ClusterError for one that there is not."""
    return PROGRAMS[of_version("kube-apiserver", MINOR)].version


class _PortTakenError(ClusterError):
    """A port that was free a moment ago is not."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now, and that the kernel gives to no connection out, if any are left."""
    below = range(LOWEST_PORT, int(GIVEN_PORTS.read_text().split()[0])) or range(LOWEST_PORT, 1 << 16)
    found: dict[int, socket.socket] = {}
    try:
        while len(found) < count:
            port = secrets.choice(below)
            try:
                found[port] = socket.create_server(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        return list(found)
    finally:
        for open_socket in found.values():
            open_socket.close()


def end_leftovers() -> None:
    """End the servers of runs that were killed, and remove their folders: those whose owner is no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if not owner.isdigit() or _runs(int(owner)):
            continue
        pids = folder / "pids"
        for pid in map(int, pids.read_text().split() if pids.exists() else ()):
            # The folder is the working directory: a process that inherited the number has another.
            with suppress(OSError):
                if Path(f"/proc/{pid}/cwd").readlink() == folder:
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def forget_logs(folder: Path, now: float) -> None:
    """Remove the logs of servers that ended more than a day ago (``now`` in seconds since the epoch)."""
    for log in folder.glob("apiserver-*.log"):
        with suppress(OSError):  # another run may be doing the same
            if now - log.stat().st_mtime > KEEP_LOGS_SECONDS:
                log.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
