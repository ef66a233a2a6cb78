"""Models that are copied out of their images when a pod starts, where nodes mount no image volumes.

A model's image holds files and no program. So one init container puts a program into an empty volume, and a second one,
which runs in the model's image, copies what lies there with it: the container runtime pulls the image and compares its
digests as it does for any other. The program is linked statically and takes nothing from the image, whose files are
nobody's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bailiwick.api.quantities import amount
from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload import sources
from bailiwick.workload.containers import LOGS_TELL, RESTRICTED
from bailiwick.workload.troubles import COPY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.api.modelsource import OciSource
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.naming import Manifest
    from bailiwick.workload.placing import Placing

TOOLS: Final = "copier"
"""Name of the volume with the program, and of the container that puts it there."""
FIRST_WITH_VOLUMES: Final = (1, 36)
"""The release of Kubernetes from which on image volumes are stable (KEP-4639)."""
_PROGRAM = "/usr/bin/busybox"
_ROOT = "/.bailiwick"
# The policy charts/bailiwick/policies/pods.yaml knows command and environment by heart: a container in a model's image
# runs this and nothing else. Folders in which container runtimes put files of their own are left out.
_SCRIPT = (
    f"copy={_ROOT}/tools/busybox; files={_ROOT}/files; $copy rm -rf $files/* $files/.[!.]*; "
    "for each in /* /.[!.]*; do case $each in "
    f"{_ROOT}|/.dockerenv|/dev|/etc|/proc|/run|/sys|/var|'/*'|'/.[!.]*') ;; "
    '*) $copy cp -R "$each" $files/ ;; esac; done'
)
COMMAND: Final = (f"{_ROOT}/tools/busybox", "sh", "-ec", _SCRIPT)
# What an image says of locales would have the C library look for code in the image.
_ENVIRONMENT = {"name": "LC_ALL", "value": "C"}


def refusal(model: SovereignModel, kubernetes: tuple[int, int] | None) -> Verdict | None:
    """Why an image cannot be mounted; None when all can, or nobody knows the release of the API server."""
    if kubernetes is None or kubernetes >= FIRST_WITH_VOLUMES:
        return None
    for weights in model.spec.weights:
        where, image = f"{weights.where}.source", weights.source.oci
        if image and image.mount is None:
            major, minor = kubernetes
            return refuse(
                Reason.UNSUPPORTED_SOURCE,
                f"{where}.oci is mounted as an image volume, which Kubernetes can from 1.36 on, and this API server is "
                f"{major}.{minor}; set {where}.oci.mount to Copy, or to Volume where the feature ImageVolume is on",
            )
    return None


def containers(placing: Placing) -> list[Manifest]:
    """The container that brings the program, then one for each image that is copied; none where none is."""
    copied = list(_copied(placing.model))
    if not copied:
        return []
    return [_bring(placing, copied), *(_copy(name, image) for name, image in copied)]


def volumes(model: SovereignModel) -> list[Manifest]:
    """Where the program lies."""
    return [{"name": TOOLS, "emptyDir": {}}] if any(_copied(model)) else []


def _copied(model: SovereignModel) -> Iterator[tuple[str, OciSource]]:
    """Name of the volume, and the image that is copied to it."""
    for name, source in sources.by_volume(model):
        if source.oci and source.oci.mount == "Copy":
            yield name, source.oci


def _bring(placing: Placing, copied: list[tuple[str, OciSource]]) -> Manifest:
    # Init containers run one by one, and what one asks for is kept for the pod; so this one asks for all copies.
    room = sum(amount(image.size) for _, image in copied if image.size)
    disk = {"ephemeral-storage": str(int(room))} if room else {}
    return {
        "name": TOOLS,
        "image": placing.weights_image,
        "command": [_PROGRAM, "cp", _PROGRAM, f"{_ROOT}/tools/"],
        **LOGS_TELL,
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": TOOLS, "mountPath": f"{_ROOT}/tools"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi", **disk}, "limits": {"memory": "64Mi"}},
    }


def _copy(volume: str, image: OciSource) -> Manifest:
    return {
        "name": COPY if volume == sources.MODEL else f"{COPY}-{volume}",
        "image": image.image,
        "imagePullPolicy": image.pull_policy,
        "command": list(COMMAND),
        "env": [_ENVIRONMENT],
        **LOGS_TELL,
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": TOOLS, "mountPath": f"{_ROOT}/tools", "readOnly": True},
            {"name": volume, "mountPath": f"{_ROOT}/files"},
        ],
        # Pages of files count towards the limit, and are given back under pressure.
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    }
