"""Pods that run already when the border moves: they are found, cut off, and ended."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from e2e.border.attempts import LABEL, NAMESPACE, binding, pod
from e2e.border.stage import Story
from e2e.border.stories_of_nodes import WAITS, comes_inside, is_refused, node, statement
from e2e.demo import scenes
from e2e.demo.attacks import Attempt
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from e2e.border.attempts import Manifest
    from e2e.border.stage import Stage

MOVED = "moved"
GRACE = {"terminationGracePeriodSeconds": 1}
AFTER = 20
"""Seconds from detection to the last step."""
QUARANTINED = "bailiwick.dev/quarantined"
LISTENS = r"""
printf '%s\n' 'defaults' ' mode http' ' timeout client 10m' ' timeout server 10m' ' timeout connect 1s' \
  'frontend all' ' bind :8080' ' http-request return status 204' > /tmp/listens.cfg
exec haproxy -db -f /tmp/listens.cfg
"""
KEEPS = """
exec {silence}<> <(:)
exec 3<>"/dev/tcp/$LISTENER/8080"
while :; do
  old=shut new=shut
  printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3
  while read -rt 2 line <&3; do [[ $line == HTTP* ]] && old=open; [[ $line == $'\\r' ]] && break; done
  (exec 4<>"/dev/tcp/$LISTENER/8080") 2>/dev/null && new=open
  echo "old $old, new $new"
  read -rt 0.2 -u "$silence"
done
"""


def running_pods() -> Iterable[Story]:
    """Rows 16, 21 and 65."""
    yield Story(16, "a violating pod that its PodDisruptionBudget holds", _held)
    yield Story(21, "a node that leaves", _leaves)
    yield Story(65, "a connection from before the NetworkPolicy", _old_connection)


def _held(stage: Stage) -> None:
    """Nobody may evict it, and it goes when its time is up."""
    budget = _here("policy/v1", "PodDisruptionBudget", "never", {"maxUnavailable": 0, "selector": {}})
    eviction = _here("policy/v1", "Eviction", "held", {})
    del eviction["spec"]
    with _moved(stage, "Delete"):
        stage.kubectl.apply(budget, _pod("held"))
        _runs(stage, "held")
        path = f"/api/v1/namespaces/{MOVED}/pods/held/eviction?dryRun=All"
        evict = Attempt(
            name="the control: its eviction", who="admin", command=("create", "--raw", path, "-f", "-"),
            manifest=eviction, stopped_by="Cannot evict pod", reason="disruption budget",
        )  # fmt: skip
        answer = scenes.attempt(stage.kubectl, evict)
        assert scenes.is_held(evict, answer), answer.text
        begin = time.monotonic()
        _move(stage)
        wait_until(lambda: not _found(stage, "held"), what="the pod is gone", seconds=AFTER + 60)
        took = time.monotonic() - begin
        assert took > AFTER - 1, f"deleted {took:.1f} s after the border moved, and the policy says {AFTER}s"
        stage.tell("the audit: `Delete`, past the budget", took)


def _leaves(stage: Stage) -> None:
    """Its statement is withdrawn: nothing more is bound to it, and what runs there is cut off."""
    name = "leaver"
    stays = pod("stays", nodeSelector={"border.example/none": "such"})
    bound = {**binding(name), "metadata": {"name": "stays", "namespace": NAMESPACE}}
    of_it = ("pod", "stays", "-n", NAMESPACE)
    with stage.there(node(name), WAITS, stays), stage.there(statement(name, timedelta(days=30))):
        comes_inside(stage, name)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/stays/binding"
        stage.kubectl.must("create", "--raw", path, "-f", "-", standard_input=json.dumps(bound))
        runs = json.dumps({"status": {"phase": "Running"}})  # there is no kubelet that would say so
        stage.kubectl.must("patch", *of_it, "--subresource=status", "--type=merge", "-p", runs)
        try:
            stage.kubectl.must("delete", "nodestatement", name)
            since = time.monotonic()
            is_refused(stage, name, since=since)
            wait_until(
                lambda: QUARANTINED in _found(stage, "stays", NAMESPACE)["metadata"].get("labels", {}),
                what="the pod that runs there is in quarantine", every=0.1,
            )  # fmt: skip
            stage.tell("the audit: `Quarantine`", time.monotonic() - since)
        finally:
            stage.kubectl.must("delete", *of_it, "--grace-period=0", "--force")


def _old_connection(stage: Stage) -> None:
    """It goes on in spite of the quarantine, and ends with its pod."""
    with _moved(stage, "Evict"):
        stage.kubectl.apply(_pod("listener", LISTENS))
        _runs(stage, "listener")
        address = _found(stage, "listener")["status"]["podIP"]
        stage.kubectl.apply(_pod("keeps", KEEPS, env=[{"name": "LISTENER", "value": address}]))
        _wait_for(stage, "old open, new open")
        _move(stage)
        _wait_for(stage, "old open, new shut")
        begin, said = time.monotonic(), []
        while line := _last_line(stage):
            said.append(line)
            assert time.monotonic() < begin + AFTER + 60, "the pod ends"
        assert "old open, new shut" in said[:-1], f"what is open stays open: {said}"
        wait_until(lambda: not _found(stage, "keeps"), what="the pod is gone")
        stage.tell("the audit: `Evict`; it ends with its pod, not by the quarantine", time.monotonic() - begin)


@contextmanager
def _moved(stage: Stage, action: str) -> Iterator[None]:
    """A namespace under a policy of its own that will move."""
    labels = {"data": MOVED}
    namespace: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MOVED, "labels": labels}}
    policy: Manifest = {
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "ResidencyPolicy", "metadata": {"name": MOVED},
        "spec": {
            "namespaceSelector": {"matchLabels": labels},
            "place": {"allow": ["DE"], "assurance": "Declared"},
            "network": {"services": ["ClusterIP"]},
            "violation": {"action": action, "after": f"{AFTER}s"},
        },
    }  # fmt: skip
    with stage.there(namespace, policy):
        wait_until(lambda: scenes.is_ready(stage.kubectl.get("respol", MOVED)), what="policy moved is ready")
        yield
        stage.kubectl.run(["delete", "pod", "--all", "-n", MOVED, "--grace-period=1", "--wait=false"])


def _move(stage: Stage) -> None:
    """The policy comes to allow another country: whatever runs is outside."""
    elsewhere = json.dumps({"spec": {"place": {"allow": ["CH"]}}})
    stage.kubectl.must("patch", "respol", MOVED, "--type=merge", "-p", elsewhere)


def _here(api_version: str, kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": MOVED}, "spec": spec}


def _pod(name: str, script: str = "", **container: object) -> Manifest:
    command = {"command": ["bash", "-c", script]} if script else {}
    made = pod(
        name, container={**command, **container}, nodeSelector={LABEL.replace(NAMESPACE, MOVED): "resident"}, **GRACE
    )
    made["metadata"]["namespace"] = MOVED
    return made


def _found(stage: Stage, name: str, namespace: str = MOVED) -> Manifest:
    return stage.kubectl.get("pod", name, "-n", namespace)


def _runs(stage: Stage, name: str, namespace: str = MOVED) -> None:
    def so() -> bool:
        return bool(_found(stage, name, namespace)["status"].get("phase") == "Running")

    wait_until(so, what=f"pod {name} runs")


def _last_line(stage: Stage) -> str:
    """What the pod that keeps its connection said last; empty when it is gone."""
    answer = stage.kubectl.run(["logs", "keeps", "-n", MOVED, "--tail=1"])
    return answer.text if answer.accepted else ""


def _wait_for(stage: Stage, line: str) -> None:
    wait_until(lambda: _last_line(stage) == line, what=f"connections: {line}")
