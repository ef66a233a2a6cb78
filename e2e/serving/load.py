"""A stream of requests from inside the cluster, as clients send them: connections kept open, answers streamed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.kubectl import Kubectl

_PROGRAM = """
import collections, json, os, signal, threading, time
import httpx

stopped, failures, lock = threading.Event(), collections.Counter(), threading.Lock()
whole = 0
body = {
    "model": os.environ["MODEL"], "stream": True, "max_tokens": 8, "temperature": 0,
    "messages": [{"role": "user", "content": "Count to five."}],
}

def ask(client):
    with client.stream("POST", os.environ["ENDPOINT"] + "/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.read().decode()[:200]}"
        lines = [line for line in answer.iter_lines() if line]
    return None if lines[-1:] == ["data: [DONE]"] else f"cut off after {len(lines)} lines"

def go_on():
    global whole
    with httpx.Client(timeout=120, headers=json.loads(os.environ["HEADERS"])) as client:
        while not stopped.is_set():
            try:
                failure = ask(client)
            except httpx.HTTPError as error:
                failure = repr(error)
            with lock:
                whole += failure is None
                failures.update([failure] if failure else [])
            stopped.wait(0.2)  # the machine has to start engines meanwhile

signal.signal(signal.SIGTERM, lambda *_: stopped.set())
clients = [threading.Thread(target=go_on) for _ in range(int(os.environ["CLIENTS"]))]
for client in clients:
    client.start()
while any(client.is_alive() for client in clients):
    time.sleep(0.5)
    print(json.dumps({"whole": whole, "failures": failures}), flush=True)
print(json.dumps({"whole": whole, "failures": failures, "over": True}), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the requests so far: answers that came whole, and the others by what was seen of them."""

    whole: int
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """A pod that asks until it is told to stop."""

    kubectl: Kubectl
    namespace: str
    name: str = "load"

    def start(self, *, endpoint: str, model: str, image: str, node: str, clients: int = 4) -> None:
        """Begin on a node that stays; returns when the first answers have come."""
        variables = {
            "ENDPOINT": endpoint, "MODEL": model, "CLIENTS": str(clients), "HEADERS": "{}",
            "HOME": "/tmp",  # noqa: S108 - the container's own
        }  # fmt: skip
        container = {
            "name": "load",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", _PROGRAM],
            "env": [{"name": name, "value": value} for name, value in variables.items()],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        self.kubectl.apply(_pod(self, node, container))
        wait_until(lambda: self.count().whole > clients, what="the first answers have come", seconds=120)

    def count(self) -> Count:
        """So far."""
        told = self.kubectl.run(["logs", self.name, "-n", self.namespace, "--tail=1"]).text
        seen: dict[str, Any] = json.loads(told) if told.startswith("{") else {"whole": 0, "failures": {}}
        return Count(seen["whole"], seen["failures"])

    def more(self, requests: int) -> None:
        """Let so many more answers come."""
        goal = self.count().whole + requests
        wait_until(lambda: self.count().whole >= goal, what=f"{requests} more answers", seconds=300)

    def stop(self) -> Count:
        """Let requests under way end; what became of all."""
        signal = ("exec", self.name, "-n", self.namespace, "--", "python3", "-c", "import os; os.kill(1, 15)")
        self.kubectl.must(*signal)
        wait_until(
            lambda: self.kubectl.get("pod", self.name, "-n", self.namespace)["status"]["phase"] == "Succeeded",
            what="the requests under way have ended",
            seconds=120,
        )
        count = self.count()
        self.kubectl.must("delete", "pod", self.name, "-n", self.namespace, "--wait=true", timeout=60)
        return count


def _pod(load: Load, node: str, container: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": load.name, "namespace": load.namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
