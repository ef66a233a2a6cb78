"""A stream of requests from inside the cluster, as clients send them: connections kept open, answers streamed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from e2e.kubectl import Kubectl

_ASK = """
import httpx, json, sys

url, method, headers, body = json.loads(sys.argv[1])
answer = httpx.request(method, url, headers=headers, json=body, timeout=60)
error = answer.json().get("error", {}) if answer.is_error else {}
print(json.dumps([answer.status_code, error.get("code")]))
"""
_PROGRAM = """
import datetime, json, os, signal, threading, time
import httpx

keys = json.loads(os.environ["KEYS"])  # the first is shown, and after a signal the next

stopped, failures, lock = threading.Event(), [], threading.Lock()
whole = 0
body = {
    "model": os.environ["MODEL"], "stream": True, "max_tokens": 8, "temperature": 0,
    "messages": [{"role": "user", "content": "Count to five."}],
}

def ask(client):
    shown = {"Authorization": f"Bearer {keys[0]}"}
    with client.stream("POST", os.environ["ENDPOINT"] + "/chat/completions", json=body, headers=shown) as answer:
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.read().decode()[:200]}"
        lines = [line for line in answer.iter_lines() if line]
    return None if lines[-1:] == ["data: [DONE]"] else f"cut off after {len(lines)} lines"

def go_on():
    global whole
    with httpx.Client(timeout=120) as client:
        while not stopped.is_set():
            try:
                failure = ask(client)
            except httpx.HTTPError as error:
                failure = repr(error)
            with lock:
                whole += failure is None
                failures.extend([f"{datetime.datetime.now(datetime.UTC):%H:%M:%S.%f} {failure}"] if failure else [])
            stopped.wait(1)  # the machine has to start engines meanwhile

signal.signal(signal.SIGTERM, lambda *_: stopped.set())
signal.signal(signal.SIGUSR1, lambda *_: keys.pop(0))
clients = [threading.Thread(target=go_on) for _ in range(int(os.environ["CLIENTS"]))]
for client in clients:
    client.start()
while any(client.is_alive() for client in clients):
    time.sleep(0.5)
    print(json.dumps({"whole": whole, "failures": failures}), flush=True)
print(json.dumps({"whole": whole, "failures": failures, "over": True}), flush=True)
"""


CLIENTS = 4


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the requests so far: how many came whole, and of the others when (UTC) and how they failed."""

    whole: int
    failures: Sequence[str]


@dataclass(frozen=True, slots=True)
class Load:
    """A pod that asks until it is told to stop."""

    kubectl: Kubectl
    namespace: str
    name: str = "load"

    def start(  # noqa: PLR0913 - by keyword
        self, *, endpoint: str, model: str, image: str, node: str, keys: Sequence[str], clients: int = CLIENTS
    ) -> None:
        """Begin on a node that stays, with the first of the API keys; returns when the first answers have come."""
        variables = {
            "ENDPOINT": endpoint, "MODEL": model, "CLIENTS": str(clients), "KEYS": json.dumps(keys),
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
        wait_until(lambda: self.count().whole > clients, what="the first answers have come")

    def count(self) -> Count:
        """So far."""
        told = self.kubectl.run(["logs", self.name, "-n", self.namespace, "--tail=1"]).text
        seen: dict[str, Any] = json.loads(told) if told.startswith("{") else {"whole": 0, "failures": []}
        return Count(seen["whole"], seen["failures"])

    def more(self, requests: int) -> None:
        """Let so many more answers come."""
        goal = self.count().whole + requests
        wait_until(lambda: self.count().whole >= goal, what=f"{requests} more answers", seconds=300)

    def next_key(self) -> None:
        """From now on the clients show the next of their API keys."""
        self._python("import os, signal; os.kill(1, signal.SIGUSR1)")

    def ask(
        self, url: str, *, method: str = "POST", headers: Mapping[str, str] | None = None, body: object = None
    ) -> tuple[int, str | None]:
        """Another request from the same pod: the status of its answer, and the code of its error if it is one."""
        status, code = json.loads(self._python(_ASK, json.dumps([url, method, headers or {}, body])))
        return status, code

    def _python(self, program: str, *arguments: str) -> str:
        return self.kubectl.must("exec", self.name, "-n", self.namespace, "--", "python3", "-c", program, *arguments)

    def stop(self) -> Count:
        """Let requests under way end; what became of all."""
        self._python("import os; os.kill(1, 15)")
        wait_until(
            lambda: self.kubectl.get("pod", self.name, "-n", self.namespace)["status"]["phase"] == "Succeeded",
            what="the requests under way have ended",
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
