"""Nodes that come, go or are not what they seem, and devices that stand on none."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from e2e.border.attempts import ADMINISTRATOR, NAMESPACE, bind, binding, pod, thing
from e2e.border.stage import Story
from e2e.demo.attacks import INSIDE, Attempt
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from e2e.border.attempts import Manifest
    from e2e.border.stage import Stage

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
DRIVER = "gpu.example"
WAITS = pod("waits", nodeSelector={"border.example/none": "such"})
"""A pod that no scheduler binds, so that somebody else can."""


def nodes() -> Iterable[Story]:
    """Rows 15, 26 and 27."""
    yield Story(15, "a device that stands on no node", _device)
    yield Story(26, "a statement that ends", _ends)
    yield Story(27, "a node that stands for another cluster", _virtual)


def _device(stage: Stage) -> None:
    """The scheduler may not allocate a device that is offered to all nodes, so no pod gets it."""
    classes = [_device_class(name) for name in ("everywhere", "here")]
    slices = [_slice("everywhere", allNodes=True), _slice("here", nodeName=INSIDE)]
    claims = [_claim(name) for name in ("everywhere", "here")]
    takers = [
        pod(f"takes-{name}", container={"resources": {"claims": [{"name": "gpu"}]}},
            resourceClaims=[{"name": "gpu", "resourceClaimName": name}])
        for name in ("everywhere", "here")
    ]  # fmt: skip
    begin = time.monotonic()
    with stage.there(*classes, *slices, *claims, *takers):

        def refused() -> bool:
            told = stage.kubectl.items(
                "events",
                "-n",
                NAMESPACE,
                "--field-selector=reason=FailedScheduling,involvedObject.name=takes-everywhere",
            )
            texts = [each.get("message") or each.get("note") or "" for each in told]
            return any("'bailiwick-claims'" in text and "ClaimNotAllowed: " in text for text in texts)

        wait_until(refused, what="the scheduler is refused the device of all nodes")
        stage.tell("`bailiwick-claims` ClaimNotAllowed", time.monotonic() - begin)

        def node_of(name: str) -> str:
            return str(stage.kubectl.get("pod", name, "-n", NAMESPACE)["spec"].get("nodeName", ""))

        wait_until(lambda: node_of("takes-here") == INSIDE, what="the control: a device inside is allocated")
        assert not node_of("takes-everywhere")
        allocation = {"devices": {"results": [
            {"request": "gpu", "driver": DRIVER, "pool": "everywhere", "device": "gpu-0"}
        ]}}  # fmt: skip
        by_hand = ("patch", "resourceclaim", "everywhere", "-n", NAMESPACE, "--subresource=status", "--type=merge")
        stage.refused(Attempt(
            name="by hand", who="system:kube-scheduler", groups=("system:masters",),
            command=(*by_hand, "--dry-run=server", "-p", json.dumps({"status": {"allocation": allocation}})),
            stopped_by="bailiwick-claims", reason="ClaimNotAllowed",
        ))  # fmt: skip


def _ends(stage: Stage) -> None:
    """Nobody does anything, and the statement comes to its end."""
    until = datetime.now(UTC) + timedelta(seconds=30)
    with stage.there(node("dated"), WAITS, statement("dated", timedelta(seconds=30))):
        comes_inside(stage, "dated")
        since = time.monotonic() + (until - datetime.now(UTC)).total_seconds()
        is_refused(stage, "dated", since=since)


def _virtual(stage: Stage) -> None:
    """Its provider says Frankfurt, and its pods run who knows where."""
    machine = node("machine", provider_id=FRANKFURT)
    stand_in = node("stand-in", provider_id=FRANKFURT, labels={"type": "virtual-kubelet"})
    with stage.there(machine, stand_in, WAITS):
        comes_inside(stage, "machine")
        stage.refused(bind("pods/held/binding", "stand-in"))

        def told() -> Mapping[str, Any] | None:
            outside = stage.kubectl.get("respol", NAMESPACE)["status"].get("outside", [])
            return next((each for each in outside if each["reason"] == "VirtualNode"), None)

        seen = wait_until(told, what="the policy says which nodes stand for others")
        assert seen["examples"] == ["stand-in"]


def _bound(node: str) -> Attempt:
    """Binding the pod that waits: it is the border alone that can refuse it."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/waits/binding?dryRun=All"
    manifest = {**binding(node), "metadata": {"name": "waits", "namespace": NAMESPACE}}
    return Attempt(
        name=f"a binding to {node}", who=ADMINISTRATOR, command=("create", "--raw", path, "-f", "-"),
        manifest=manifest, stopped_by="bailiwick-bindings", reason="WrongPlace",
    )  # fmt: skip


def comes_inside(stage: Stage, node: str) -> None:
    tried = _bound(node)
    wait_until(
        lambda: stage.kubectl.run(tried.arguments(), standard_input=tried.standard_input()).accepted,
        what=f"the control: a pod is bound to node {node} while it is inside", every=0.1,
    )  # fmt: skip


def is_refused(stage: Stage, node: str, *, since: float) -> None:
    """Wait until bindings there are refused; ``since`` is when they should be, which may be still to come."""
    tried = _bound(node)

    def look() -> str:
        answer = stage.kubectl.run(tried.arguments(), standard_input=tried.standard_input())
        return "" if answer.accepted else answer.text

    left = max(since - time.monotonic(), 0.0)
    text = wait_until(look, what=f"bindings to {node} are refused", seconds=left + 30, every=0.05)
    took = time.monotonic() - since
    assert tried.stopped_by in text, text
    assert tried.reason in text, text
    stage.tell("`bailiwick-bindings` WrongPlace", max(took, 0.0))


def node(name: str, *, provider_id: str = "", labels: Mapping[str, str] | None = None) -> Manifest:
    """A node without a machine, to which nobody schedules."""
    taint = {"key": "border.example/empty", "effect": "NoSchedule"}
    spec = {"unschedulable": True, "taints": [taint], **({"providerID": provider_id} if provider_id else {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": dict(labels or {})}, "spec": spec}


def statement(node: str, valid: timedelta) -> Manifest:
    now = datetime.now(UTC)
    spec = {
        "node": {"name": node},
        "place": {"jurisdiction": "DE"},
        "issuedAt": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{now + valid:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {"apiVersion": "bailiwick.dev/v1alpha1", "kind": "NodeStatement", "metadata": {"name": node}, "spec": spec}


def _device_class(name: str) -> Manifest:
    chosen = f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].site == '{name}'"
    return {
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": f"border-{name}"},
        "spec": {"selectors": [{"cel": {"expression": chosen}}]},
    }  # fmt: skip


def _slice(name: str, **where: object) -> Manifest:
    device = {"name": "gpu-0", "attributes": {"site": {"string": name}}}
    pool = {"name": name, "generation": 1, "resourceSliceCount": 1}
    return {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": f"border-{name}"},
        "spec": {"driver": DRIVER, "pool": pool, "devices": [device], **where},
    }  # fmt: skip


def _claim(name: str) -> Manifest:
    request = {"name": "gpu", "exactly": {"deviceClassName": f"border-{name}"}}
    return thing(
        "resource.k8s.io/v1", "ResourceClaim", metadata={"name": name}, spec={"devices": {"requests": [request]}}
    )
