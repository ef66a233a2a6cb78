"""The condition Verified: what the containers that read the weights found in the pods. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, true, unknown
from bailiwick.workload import verification
from bailiwick.workload.troubles import VERIFY, containers_of, living, refusal_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.troubles import Trouble

Raw = dict[str, Any]


def verified(model: SovereignModel, pods: Sequence[Raw], *, some_older: bool = False) -> Stated:
    """An image by digest is checked by the container runtime when it is pulled; everything else by a container of ours.

    One replica that found other files than it should is the model's, whatever the others found. ``some_older``: among
    the pods are some of before the last change, which compared their files with what was said then.
    """
    items = verification.needed(model)
    if model.spec.model.endpoint or not items:
        return _unread(model)
    replicas = sorted(living(pods), key=lambda pod: str(pod["metadata"]["name"]))
    states = [(pod["metadata"]["name"], each) for pod in replicas for each in containers_of(pod) if _verifies(each)]
    for pod, container in states:
        if refused := _refusal(container):
            return false("Verified", refused.reason, f"container {container['name']} of pod {pod}: {refused.message}")
    if unsaid := verification.unknown_content(model):
        return unknown(
            "Verified",
            "NotVerified",
            f"nobody said what the files of {unsaid} must hold, so only their kinds are looked at; give a digest "
            f"(bailiwick weights digest FOLDER), a manifest or a signature",
        )
    if not replicas:
        return unknown("Verified", "NoPods", "there are no pods, and their containers read the files")
    done = [each for _, each in states if each.get("state", {}).get("terminated", {}).get("exitCode") == 0]
    if some_older or len(done) < len(replicas) * len(items):
        why = "replicas of before the last change still run, and compared their files with what was said then"
        read = "not every replica has read all of its files yet"
        return unknown("Verified", "Verifying", why if some_older else read)
    return true("Verified", "FilesVerified", "every replica has read its files, and they are what was said of them")


def _unread(model: SovereignModel) -> Stated:
    """Of weights that no container of ours reads."""
    if model.spec.model.endpoint:
        return unknown("Verified", "NotSeen", "the endpoint loads weights of its own, and nobody here sees them")
    return true("Verified", "DigestPinned", "all weights are in images that are named by their digests")


def _verifies(container: Raw) -> bool:
    return bool(container["name"].partition("-")[0] == VERIFY)


def _refusal(container: Raw) -> Trouble | None:
    ended = [container.get(when, {}).get("terminated") or {} for when in ("state", "lastState")]
    return None if ended[0].get("exitCode") == 0 else next(filter(None, map(refusal_in, ended)), None)
