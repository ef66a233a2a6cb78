"""What NetworkPolicies cannot hold, and what holds it instead."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2e.border.attempts import NAMESPACE, pod
from e2e.border.models import IDLE, idle
from e2e.border.stage import Story
from e2e.cluster import cluster
from e2e.demo.attacks import INSIDE
from e2e.demo.scenes import condition
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from e2e.border.attempts import Manifest
    from e2e.border.stage import Stage

UNGOVERNED = "default"
UNSEALED, SEALED = "unsealed", "sealed-again"
_OF_IT = ("-n", NAMESPACE, "-l", f"bailiwick.dev/model={UNSEALED}")
TALKS_SECONDS = 15
SEAL_SECONDS = 30
SILENCE = "exec {silence}<> <(:)"  # there is no sleep in this image
CALLS = f"""
{SILENCE}
begin=${{EPOCHREALTIME/[.,]/}} calls=0 answered=0 last=0
while ((SECONDS < {TALKS_SECONDS})); do
  calls=$((calls + 1))
  if (exec 3<>"/dev/tcp/$KUBERNETES_SERVICE_HOST/$KUBERNETES_SERVICE_PORT") 2>/dev/null; then
    answered=$((answered + 1)) last=$(((${{EPOCHREALTIME/[.,]/}} - begin) / 1000))
  fi
  read -rt 0.01 -u "$silence"
done
echo "answered $answered of $calls, the last after $last ms"
"""


def networks() -> Iterable[Story]:
    """Rows 64 and 66."""
    yield Story(64, "a pod that sends before its NetworkPolicy is in force", _first_packets)
    yield Story(66, "nobody enforces NetworkPolicies", _nobody_enforces)


def _first_packets(stage: Stage) -> None:
    """From its first instruction a pod calls out. One that is sealed as ours are has never got an answer."""
    seal = _seal(stage)
    with stage.there(_talker("free", UNGOVERNED), _talker("plain"), _talker("sealed", initContainers=[seal])):
        free = _calls(stage, "free", UNGOVERNED)
        plain, sealed = _calls(stage, "plain"), _calls(stage, "sealed")
    assert free[0] > TALKS_SECONDS, f"the control: a pod without a NetworkPolicy is answered, but {free}"
    assert sealed[0] == 0, sealed
    assert sealed[1] > 1, f"it called all the time, but {sealed}"
    assert plain[0] < plain[1], f"the NetworkPolicy comes into force, but {plain}"
    stage.tell("the seal of our pods; another was open for so long", plain[2] / 1000)


def _nobody_enforces(stage: Stage) -> None:
    """The engine of NetworkPolicies hangs: any new pod is open, our engines do not start, and the model says why."""
    kubectl = stage.kubectl
    with _engine_hangs(), stage.there(idle(stage.installed, UNSEALED)):
        begin = time.monotonic()
        with stage.there(_talker("unguarded")):
            answered, calls, _ = _calls(stage, "unguarded")
        assert answered == calls, "a pod that nothing seals is open, whatever its NetworkPolicy says"

        def told() -> str:
            available = condition(kubectl.get("smodel", UNSEALED, "-n", NAMESPACE), "Available")
            return str(available["message"]) if available.get("reason") == "NotSealed" else ""

        message = wait_until(told, what="the model says that it is not sealed", seconds=SEAL_SECONDS + 30)
        stage.tell("the seal of our pods; the model says `NotSealed`", time.monotonic() - begin)
        assert "run a NetworkPolicy engine on the nodes" in message
        assert not any(_engine_ran(each) for each in _replicas(stage, UNSEALED)), "no engine has started"
    kubectl.must("delete", "pod", *_OF_IT, "--grace-period=1", "--wait=false")
    with stage.there(idle(stage.installed, SEALED)):
        wait_until(
            lambda: any(_engine_ran(each) for each in _replicas(stage, SEALED)),
            what="the control: with an engine of NetworkPolicies, the pod is sealed and its main container starts",
        )


@contextmanager
def _engine_hangs() -> Iterator[None]:
    """kube-router of the node inside does nothing, while this holds."""
    signal = cluster.engine().inside
    signal(INSIDE, "pkill", "-STOP", "-x", "kube-router")
    try:
        yield
    finally:
        signal(INSIDE, "pkill", "-CONT", "-x", "kube-router")


def _talker(name: str, namespace: str = NAMESPACE, **spec: object) -> Manifest:
    made = pod(name, container={"command": ["bash", "-c", CALLS]}, restartPolicy="Never", **spec)
    made["metadata"]["namespace"] = namespace
    return made


def _calls(stage: Stage, name: str, namespace: str = NAMESPACE) -> tuple[int, int, int]:
    """How often it was answered, how often it called, and after how many milliseconds it was last answered."""
    wait_until(lambda: "answered" in " ".join(_said(stage, name, namespace)), what=f"pod {name} has called")
    answered, calls, last = (int(number) for number in re.findall(r"\d+", _said(stage, name, namespace)[-1]))
    return answered, calls, last


def _said(stage: Stage, name: str, namespace: str = NAMESPACE) -> list[str]:
    """What a pod logged."""
    return stage.kubectl.run(["logs", name, "-n", namespace, "-c", "main"]).text.splitlines()


def _seal(stage: Stage) -> Manifest:
    """The first container of a model's pods, as the operator built it."""

    def built() -> list[Manifest]:
        template = stage.kubectl.get("deployment", IDLE, "-n", NAMESPACE).get("spec", {}).get("template", {})
        return list(template.get("spec", {}).get("initContainers", []))

    first = wait_until(built, what="the model has a Deployment")[0]
    assert first["name"] == "seal"
    return first


def _replicas(stage: Stage, name: str) -> list[Manifest]:
    return stage.kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={name}")


def _engine_ran(replica: Manifest) -> bool:
    (engine,) = replica.get("status", {}).get("containerStatuses") or [{}]
    return bool({"running", "terminated"} & engine.get("state", {}).keys() or engine.get("restartCount"))
