"""The condition Imported, and how far imports are: what the pods that fetch weights say of themselves. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, true
from bailiwick.workload.troubles import containers_of, refusal_in, trouble_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.workload.troubles import Trouble

Raw = dict[str, Any]

_JOB_LABEL = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, slots=True)
class Awaited:
    """A Job that must be done before the model is served; ``where`` is the field whose source it imports."""

    where: str
    job: str


def done(jobs: Sequence[Raw]) -> frozenset[str]:
    """Names of the Jobs that are complete."""
    return frozenset(job["metadata"]["name"] for job in jobs if _complete(job))


def imported(awaited: Sequence[Awaited], jobs: Sequence[Raw], pods: Sequence[Raw]) -> Stated | None:
    """The condition; None for a model that imports nothing."""
    if not awaited:
        return None
    finished = done(jobs)
    for each in awaited:
        if each.job in finished:
            continue
        pod = _pod_of(each, pods)
        if pod and (trouble := _trouble(pod)):
            return false("Imported", trouble.reason, f"{each.where} is not imported: {trouble.message}")
        return false("Imported", "Importing", f"{each.where} is being imported: {_told(pod)}")
    return true("Imported", "Imported", "all weights are imported, and were compared with their source")


def progress(awaited: Sequence[Awaited], pods: Sequence[Raw]) -> list[Raw]:
    """How far each import is, as its pod said last; nothing of one that said nothing yet."""
    found = []
    for each in awaited:
        pod = _pod_of(each, pods)
        if pod and (last := _last(pod)):
            speed, left = last["bytesPerSecond"], last["of"] - last["bytes"]
            entry = {"source": each.where, "bytes": last["bytes"], "ofBytes": last["of"], "bytesPerSecond": speed}
            found.append(entry | ({"remainingSeconds": left // speed} if speed else {}))
    return found


def _told(pod: Raw | None) -> str:
    if pod is None:
        return "its Job has no pod yet"
    if not pod["spec"].get("nodeName"):
        conditions = pod.get("status", {}).get("conditions", ())
        why = next((each.get("message", "") for each in conditions if each.get("type") == "PodScheduled"), "")
        return f"its pod {pod['metadata']['name']} waits for a node{': ' if why else ''}{why}"
    last = _last(pod)
    if last is None:
        return f"pod {pod['metadata']['name']} begins"
    return f"{last['bytes']} of {last['of']} bytes at {last['bytesPerSecond']} bytes a second"


def _trouble(pod: Raw) -> Trouble | None:
    for container in containers_of(pod):
        state = container.get("state", {})
        if state.get("terminated", {}).get("exitCode") == 0:
            continue
        ended = [each.get("terminated") or {} for each in (state, container.get("lastState", {}))]
        refused = next(filter(None, map(refusal_in, ended)), None)
        if found := refused or trouble_with(pod["metadata"]["name"], container):
            return found
    return None


def _last(pod: Raw) -> Mapping[str, int] | None:
    """The last word of a container that ended well. Whatever else stands there is no progress."""
    last = None
    for container in containers_of(pod):
        ended = container.get("state", {}).get("terminated") or {}
        if ended.get("exitCode") == 0 and (read := _read(ended.get("message") or "")):
            last = read
    return last


def _read(message: str) -> Mapping[str, int] | None:
    try:
        told = json.loads(message)
        read = {name: told[name] for name in ("bytes", "of", "bytesPerSecond")}
    except (ValueError, KeyError, TypeError):
        return None
    most = 2**62
    return read if all(isinstance(value, int) and 0 <= value < most for value in read.values()) else None


def _pod_of(awaited: Awaited, pods: Sequence[Raw]) -> Raw | None:
    """The newest pod of a Job."""
    mine = [pod for pod in pods if pod["metadata"].get("labels", {}).get(_JOB_LABEL) == awaited.job]
    return max(mine, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def _complete(job: Raw) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Complete" and each.get("status") == "True" for each in conditions)
