"""What is the matter with pods that do not come up, said so that somebody can act on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Raw = dict[str, Any]

_REMEDIES = {
    "ErrImagePull": "check the image's name and the node's access to the registry",
    "ImagePullBackOff": "check the image's name and the node's access to the registry",
    "ErrImageNeverPull": "the image is not on the node and may not be pulled; load it, or change the pull policy",
    "InvalidImageName": "correct the name of the image",
    "CreateContainerConfigError": "check that what the pod refers to exists",
    "CreateContainerError": "see the events of the pod",
    "CrashLoopBackOff": "see the log of the container before its last end",
    "OOMKilled": "it needs more memory than it may have; raise the class's memory, or serve a shorter context",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A reason for programs and a sentence for people."""

    reason: str
    message: str


def trouble_of(deployment: Raw, pods: Sequence[Raw]) -> Trouble | None:
    """The first thing that keeps replicas from answering: refused pods, then containers that cannot run."""
    for condition in (deployment.get("status") or {}).get("conditions", ()):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return Trouble(
                condition.get("reason", "ReplicaFailure"), f"pods are refused: {condition.get('message', '')}"
            )
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        for container in _containers(pod):
            if found := _container_trouble(pod["metadata"]["name"], container):
                return found
    return None


def _containers(pod: Raw) -> Iterator[Raw]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses", ())
    yield from status.get("containerStatuses", ())


def _container_trouble(pod: str, container: Raw) -> Trouble | None:
    waiting = container.get("state", {}).get("waiting", {})
    ended = container.get("lastState", {}).get("terminated", {})
    reason = waiting.get("reason", "")
    if reason not in _REMEDIES:
        return None
    if ended.get("reason") == "OOMKilled":
        reason = "OOMKilled"
    told = waiting.get("message") or ended.get("message") or f"exit code {ended.get('exitCode', 'unknown')}"
    return Trouble(reason, f"container {container['name']} of pod {pod}: {told}; {_REMEDIES[reason]}"[:1024])
