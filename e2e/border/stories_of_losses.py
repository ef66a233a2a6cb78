"""What holds while parts of Bailiwick are not there, or not there yet."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from e2e.border.attempts import CREATE, NAMESPACE, passes, pod, pods, refused, thing
from e2e.border.stage import Story
from e2e.client import PROMPT
from e2e.demo import scenes
from e2e.demo.attacks import ABROAD
from e2e.demo.install import SYSTEM
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from e2e.border.attempts import Manifest
    from e2e.border.stage import Stage

OURS = (
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
)
EARLY = "early"


def losses() -> Iterable[Story]:
    """Rows 29, 31 to 33, and 39."""
    yield Story(29, "a policy or binding that somebody deletes", _deleted)
    yield Story(31, "a rollout that takes the checks along", _rollout)
    yield Story(32, "a label that dodges the checks", _dodge)
    yield Story(33, "checks that keep their own operator down", _deadlock)
    yield Story(39, "before the policy is in force", _lag)


def _deleted(stage: Stage) -> None:
    """By who may. It is back before it was missed, or soon after, and the policy says that something happened."""
    service = thing("v1", "Service", spec={"type": "NodePort", "ports": [{"port": 80}]})
    guard = refused("a NodePort", service, "bailiwick-services", "ServiceNotAllowed")
    stage.refused(guard)
    for kind, name in (
        ("validatingadmissionpolicy", "bailiwick-services"),
        ("validatingadmissionpolicybinding", f"bailiwick-services.{NAMESPACE}"),
    ):
        since = wait_until(lambda: _status(stage).get("enforcedSince"), what="the policy is enforced")
        before = stage.kubectl.get(kind, name)["metadata"]["uid"]
        begin = time.monotonic()
        stage.kubectl.must("delete", kind, name)

        def back(kind: str = kind, name: str = name, before: str = before) -> bool:
            uid = stage.kubectl.get(kind, name).get("metadata", {}).get("uid", before)
            answer = scenes.attempt(stage.kubectl, guard)
            return bool(uid != before and scenes.is_held(guard, answer))

        wait_until(back, what=f"{name} is back and refuses", seconds=PROMPT, every=0.1)
        stage.tell("the operator, which puts it back", time.monotonic() - begin)

        def said(since: str = since) -> bool:
            """Enforced is False for some seconds; who looks later sees since when the border is proved anew."""
            status = _status(stage)
            enforced = scenes.condition({"status": status}, "Enforced")
            assert enforced["status"] != "False" or enforced["reason"] == "NotEnforced", enforced
            return bool(enforced["status"] == "False" or status.get("enforcedSince", since) != since)

        wait_until(said, what="the policy says so", every=0.1)


def _status(stage: Stage) -> Mapping[str, Any]:
    status: Mapping[str, Any] = stage.kubectl.get("respol", NAMESPACE).get("status", {})
    return status


def _rollout(stage: Stage) -> None:
    """Every pod of ours ends as it is asked to; what refuses stays."""
    before = _what_refuses(stage)
    scenes.kill_bailiwick(stage.kubectl)
    try:
        assert _what_refuses(stage) == before
        stage.refused(*pods("nodeName", "WrongPlace", [pod(nodeName=ABROAD)]))
        stage.passes(passes("a pod that asks for nothing", pod()))
    finally:
        scenes.revive_bailiwick(stage.kubectl)


def _dodge(stage: Stage) -> None:
    """Nothing of ours asks what labels an object has before it judges it."""
    ours = [
        each for kind in OURS for each in stage.kubectl.items(kind) if each["metadata"]["name"].startswith("bailiwick-")
    ]
    assert len(ours) > len(OURS)
    for each in ours:
        spec = each.get("spec", {})
        matched = [spec.get("matchConstraints") or {}, spec.get("matchResources") or {}, *each.get("webhooks", ())]
        assert not any(match.get("objectSelector") for match in matched), each["metadata"]["name"]
    for label in ("app.kubernetes.io/managed-by", "bailiwick.dev/model", "admission.bailiwick.dev/ignore"):
        dodging = pod(nodeName=ABROAD)
        dodging["metadata"]["labels"] = {label: "bailiwick"}
        stage.refused(*pods(label, "WrongPlace", [dodging]))


def _deadlock(stage: Stage) -> None:
    """A policy selects the system and Bailiwick itself, and allows nothing: both start again."""
    selects = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [SYSTEM, "kube-system"]}
    own = _policy("own", {"matchExpressions": [selects]}, [])
    with stage.there(own):
        bound = ("validatingadmissionpolicybinding", "bailiwick-pods.own")
        wait_until(lambda: stage.kubectl.get(*bound), what="policy own is bound")
        begin = time.monotonic()
        for namespace, deployment in ((SYSTEM, "bailiwick-operator"), ("kube-system", "coredns")):
            stage.kubectl.must("rollout", "restart", f"deployment/{deployment}", "-n", namespace)
        for namespace, deployment in ((SYSTEM, "bailiwick-operator"), ("kube-system", "coredns")):
            wait = ("rollout", "status", f"deployment/{deployment}", "-n", namespace, "--timeout=120s")
            stage.kubectl.must(*wait, timeout=130)
        stage.tell("that system namespaces are spared by name", time.monotonic() - begin)


def _lag(stage: Stage) -> None:
    """Pods in a tight loop while a policy comes: what passes has passed before the policy says that it is enforced."""
    namespace: Manifest = {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EARLY, "labels": {"data": EARLY}},
    }  # fmt: skip
    bad = json.dumps({**pod(nodeName=ABROAD), "metadata": {"name": "probe", "namespace": EARLY}})

    def passes_at() -> float:
        """When the pod was asked for, if it is admitted; else 0."""
        asked = time.time()
        return asked if stage.kubectl.run(CREATE, standard_input=bad).accepted else 0.0

    with stage.there(namespace):
        # The control. At first the namespace's service account is missing, and Kubernetes itself refuses.
        begin = admitted = wait_until(passes_at, what="the pod is admitted before there is a policy")
        with stage.there(_policy(EARLY, {"matchLabels": {"data": EARLY}}, ["DE"])):
            since, deadline = "", time.monotonic() + 60
            while not since or time.time() < _seconds(since) + 3:
                assert time.monotonic() < deadline, "policy early is enforced: not within 60 s"
                admitted = passes_at() or admitted
                since = str(stage.kubectl.get("respol", EARLY).get("status", {}).get("enforcedSince", ""))
    assert admitted < _seconds(since) + 1, f"admitted at {admitted}, enforced since {since} to the second"
    stage.tell("`bailiwick-pods` WrongPlace, before `enforcedSince`", admitted - begin)


def _what_refuses(stage: Stage) -> set[str]:
    found: list[dict[str, Any]] = [each for kind in OURS for each in stage.kubectl.items(kind)]
    return {f"{each['kind']} {each['metadata']['name']}" for each in found}


def _policy(name: str, selector: Manifest, allow: list[str]) -> Manifest:
    return {
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "ResidencyPolicy", "metadata": {"name": name},
        "spec": {"namespaceSelector": selector, "place": {"allow": allow, "assurance": "Declared"}},
    }  # fmt: skip


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
