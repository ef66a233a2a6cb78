"""The ground of the drills: a server that can be taken away and writes down who changed what, replicas, and work."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from e2e.client import LOCAL, ApiError, eventually
from e2e.cluster.apiserver import ApiServer
from e2e.operate.way import Way
from tests.apiserver.operator_process import IDENTITY, SERVICE_ACCOUNTS, OperatorProcess
from tests.apiserver.realm import OURS, WEIGHTS, Realm, fresh

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

    from e2e.client import Manifest

CHILDREN = 5
QUOTA = 48 * 2**20
"""Bytes that etcd takes before it is full."""
_LEASE = "bailiwick-operator"
_AUDITED = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["{IDENTITY}"]
    verbs: [create, update, patch, delete]
  - level: None
"""


class Server(ApiServer):
    """An API server whose audit log has every change that the operator made, and whose parts can be started again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._commands: dict[str, tuple[str, ...]] = {}

    @property
    def audit(self) -> Path:
        """One JSON object a line."""
        return self.folder / "audit.log"

    def _run(self, name: str, *arguments: str) -> None:
        if name == "etcd":
            arguments += (f"--quota-backend-bytes={QUOTA}",)
        if name == "kube-apiserver":
            policy = self.folder / "audit.yaml"
            policy.write_text(_AUDITED)
            arguments += (f"--audit-policy-file={policy}", f"--audit-log-path={self.audit}")
        self._commands[name] = arguments
        super()._run(name, *arguments)

    def end(self, name: str) -> None:
        """End a process as a lost machine would."""
        self._processes[name].kill()
        self._processes[name].wait()

    def again(self, name: str) -> None:
        """Start a process that ended, as it was started before, and wait until the server answers."""
        super()._run(name, *self._commands[name])
        self._wait_until_ready()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a process a signal."""
        self._processes[name].send_signal(number)

    def etcd(self, path: str, **body: Any) -> dict[str, Any]:
        """What etcd answers to a request of its JSON gateway."""
        (url,) = (each.partition("=")[2] for each in self._commands["etcd"] if "--listen-client-urls" in each)
        answer = LOCAL.post(f"{url}/v3/{path}", json=body, timeout=30)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def compact(self) -> None:
        """Forget all history: whoever watches from an older version is told 410 Gone."""
        revision = self.etcd("maintenance/status")["header"]["revision"]
        self.etcd("kv/compaction", revision=revision, physical=True)


class Replicas:
    """Two replicas of the operator. One that ends is started again, as a kubelet does, under another name."""

    def __init__(self, server: Server) -> None:
        self.peak_bytes = 0
        """The most memory that one of them had."""
        self._server = server
        self._running: dict[str, OperatorProcess] = {}
        self._ways: dict[str, Way] = {}
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    def __enter__(self) -> Self:
        for _ in range(2):
            self._start()
        self._keeper.start()
        eventually(lambda: self.leader, what="one of the replicas leads")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._keeper.join()
        for process in self._running.values():
            process.kill()
        for way in self._ways.values():
            way.close()

    @property
    def leader(self) -> str:
        """The name of the replica that says that it leads and is ready; empty when none does."""
        for name, process in list(self._running.items()):
            if process.process.poll() is None and process.metric("bailiwick_leader") == 1:
                with suppress(AssertionError):
                    if process.ready():
                        return name
        return ""

    def __getitem__(self, name: str) -> OperatorProcess:
        return self._running[name]

    def cut(self, name: str) -> None:
        """Cut the network of one replica."""
        self._ways[name].cut()

    def _start(self) -> None:
        name = fresh("replica")
        # A group of its own tells in the audit log which replica wrote.
        groups = (*SERVICE_ACCOUNTS, f"replica:{name}")
        self._ways[name] = Way(self._server.url)
        kubeconfig = self._ways[name].kubeconfig(self._server.kubeconfig(IDENTITY, groups), name)
        self._running[name] = OperatorProcess(self._server, name, groups, KUBECONFIG=str(kubeconfig))

    def _keep(self) -> None:
        while not self._over.wait(0.2):
            for name, process in list(self._running.items()):
                self.peak_bytes = max(self.peak_bytes, _peak_bytes(process.process.pid))
                if process.process.poll() is not None:
                    del self._running[name]
                    self._start()


def _peak_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class Work:
    """Somebody who has a new model twice a second and tries each until the server takes it."""

    def __init__(self, realm: Realm) -> None:
        self.asked: list[str] = []
        self._realm = realm
        self._over = threading.Event()
        self._worker = threading.Thread(target=self._go_on)
        policy = realm.policy("DE")
        realm.node("aws:///eu-central-1a/i-0123456789abcdef1")
        self._policy = policy.name
        self.namespace = realm.namespace(policy.selects)

    def __enter__(self) -> Self:
        self._worker.start()
        eventually(lambda: len(self.asked) > 1 and not self.missing(), what="the first models are served")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ask for nothing more."""
        self._over.set()
        self._worker.join()

    def one_more(self) -> str:
        """Ask for one more model; its name."""
        name = fresh("model")
        manifest: Manifest = {
            "apiVersion": OURS,
            "kind": "SovereignModel",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": {"name": "tiny", "source": {"oci": {"image": WEIGHTS}}}},
        }
        while not self._over.is_set():
            try:
                self._realm.client.create(manifest)
            except (ApiError, httpx.HTTPError) as error:
                # After a conflict it is there: the answer of a try before was lost.
                if not isinstance(error, ApiError) or error.code != httpx.codes.CONFLICT:
                    self._over.wait(0.2)
                    continue
            self.asked.append(name)
            break
        return name

    def is_served(self, name: str) -> bool:
        """Whether a model has its children, and a status that says so."""
        status = self._realm.status(self.namespace, name)
        planned = [each for each in status.get("conditions", ()) if each["type"] == "Planned"]
        return bool(
            planned and planned[0]["status"] == "True"
            and len(self._realm.children(self.namespace, name)) == CHILDREN
        )  # fmt: skip

    def missing(self) -> list[str]:
        """The models that are not served."""
        return [name for name in list(self.asked) if not self.is_served(name)]

    def _go_on(self) -> None:
        while not self._over.wait(0.5):
            self.one_more()


@dataclass(frozen=True, slots=True)
class Change:
    """A change that the API server made for a replica."""

    replica: str
    verb: str
    what: tuple[str, str, str]
    code: int
    at: str
    took_lease: bool


def changes(server: Server) -> Iterator[Change]:
    """Every change that succeeded, in the order in which the server made them."""
    for line in server.audit.read_text().splitlines():
        told = json.loads(line)
        code = told["responseStatus"]["code"]
        where = told.get("objectRef") or {}
        replicas = [each for each in told["user"].get("groups", ()) if each.startswith("replica:")]
        if code >= httpx.codes.BAD_REQUEST or not replicas or "dryRun" in told["requestURI"]:
            continue
        what = (where["resource"], where.get("namespace", ""), where.get("name", ""))
        yield Change(
            replica=replicas[0].partition(":")[2], verb=told["verb"], what=what, code=code, at=told["stageTimestamp"],
            took_lease=what[0] == "leases" and what[2] == _LEASE,
        )  # fmt: skip


def made_twice(server: Server) -> list[tuple[str, str, str]]:
    """Objects that were created more than once."""
    made = Counter(each.what for each in changes(server) if each.code == httpx.codes.CREATED and each.what[2])
    return [what for what, times in made.items() if times > 1]


def told_twice(realm: Realm) -> list[tuple[str, str, str]]:
    """Events that say the same of the same state of an object."""
    said = Counter(
        (each["regarding"]["kind"], each["regarding"]["name"], f"{each['reason']}: {each.get('note', '')}")
        for each in realm.client.list("events.k8s.io/v1", "Event")
        if each.get("reportingController", "").startswith("bailiwick")
    )
    return [what for what, times in said.items() if times > 1]


def stale(server: Server) -> list[Change]:
    """Changes by a replica after another one had taken the lease from it."""
    leader, led, found = "", set[str](), []
    for change in changes(server):
        if change.took_lease:
            if change.replica != leader:
                led.add(leader)
                leader = change.replica
        elif change.replica != leader and change.replica in led:
            found.append(change)
    return found
