"""Every process of Bailiwick is killed over and over while people go on: what is inside goes on, nothing gets out."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from e2e.border.attempts import NAMESPACE, pod
from e2e.client import PATIENCE, ApiError, Client, Manifest
from e2e.demo.attacks import ABROAD, IMAGE
from e2e.demo.install import SYSTEM
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from e2e.demo.install import Installed

SECONDS = 45.0
BETWEEN_KILLS = 2.0
LEAST = 23
"""Processes killed: where all come back within two seconds, one for each time."""
FREE = "free"
OURS = "app.kubernetes.io/name=bailiwick"
STREAM = "border.example/stream"


@pytest.mark.usefixtures("fortress")
def test_nothing_crosses_and_nothing_stops_while_bailiwick_is_killed(installed: Installed) -> None:
    with Client.from_kubeconfig(installed.kubectl.kubeconfig) as admin, _namespace(admin):
        streams = {
            "bad": _Stream(admin, _foreign),
            "good": _Stream(admin, _good),
            "ungoverned": _Stream(admin, _elsewhere),
        }
        with _running(streams):
            begun = time.monotonic()
            killed = _kill(admin)
            seconds = time.monotonic() - begun
        bad, good, free = streams["bad"], streams["good"], streams["ungoverned"]
        print(f"\n{killed} processes killed in {seconds:.0f} s; " + "; ".join(f"{k}: {v}" for k, v in streams.items()))
        assert bad.refused
        assert not bad.admitted, "a pod crossed"
        assert all("bailiwick-pods" in said and "WrongPlace" in said for said in bad.refused), bad
        assert good.admitted
        assert not good.refused
        assert free.admitted
        assert not free.refused
        assert not any("bailiwick" in key for each in free.admitted for key in each["spec"].get("nodeSelector", {}))
        wait_until(lambda: _whole(admin), what="Bailiwick is at work again")
        there = {each["metadata"]["uid"] for each in admin.list("v1", "Pod", NAMESPACE, labels=STREAM)}
        assert {each["metadata"]["uid"] for each in good.admitted} <= there, "a compliant pod was taken away"


class _Stream:
    """What somebody sends again and again, and what became of it."""

    def __init__(self, client: Client, make: Callable[[], Manifest]) -> None:
        self.admitted: list[Manifest] = []
        self.refused: Counter[str] = Counter()
        self._client = client
        self._make = make

    def __str__(self) -> str:
        return f"{len(self.admitted)} admitted, {self.refused.total()} refused"

    def run(self, over: threading.Event) -> None:
        while not over.wait(0.2):
            try:
                self.admitted.append(self._client.create(self._make()))
            except ApiError as error:
                self.refused[error.message] += 1


@contextmanager
def _running(streams: Mapping[str, _Stream]) -> Iterator[None]:
    over = threading.Event()
    threads = [threading.Thread(target=stream.run, args=(over,)) for stream in streams.values()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _kill(admin: Client) -> int:
    """Take every process away without a word, again and again, for longer where they come back slowly; how many."""
    killed, begun = 0, time.monotonic()
    while (passed := time.monotonic() - begun) < SECONDS or killed < LEAST:
        assert passed < SECONDS + PATIENCE, f"only {killed} came back to be killed"
        for each in admin.list("v1", "Pod", SYSTEM, labels=OURS):
            admin.delete("v1", "Pod", each["metadata"]["name"], SYSTEM, grace_seconds=0)
            killed += 1
        time.sleep(BETWEEN_KILLS)
    return killed


def _whole(admin: Client) -> bool:
    deployments = admin.list("apps/v1", "Deployment", SYSTEM, labels=OURS)
    return all(each["status"].get("readyReplicas") == each["spec"]["replicas"] for each in deployments)


@contextmanager
def _namespace(admin: Client) -> Iterator[None]:
    """One that nobody governs; what the streams made goes with it."""
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FREE}})
    try:
        # Without it Kubernetes itself refuses every pod.
        wait_until(lambda: admin.find("v1", "ServiceAccount", "default", FREE), what="a service account")
        yield
    finally:
        admin.delete("v1", "Namespace", FREE)
        admin.delete_all("v1", "Pod", NAMESPACE, labels=STREAM)


def _one(**spec: Any) -> Manifest:
    """A pod that never leaves its gate: the cluster has room for few, and nothing here depends on a kubelet."""
    made = pod(f"stream-{secrets.token_hex(4)}", **spec)
    made["metadata"]["labels"] = {STREAM: "yes"}
    return made


def _good() -> Manifest:
    return _one(schedulingGates=[{"name": "border.example/wait"}])


def _foreign() -> Manifest:
    return _one(nodeName=ABROAD)


def _elsewhere() -> Manifest:
    """What would be refused where somebody governs: an image from anywhere, on the host's network."""
    made = _one(
        containers=[{"name": "main", "image": IMAGE}], hostNetwork=True, schedulingGates=[{"name": "b.example/w"}]
    )
    made["metadata"]["namespace"] = FREE
    return made
