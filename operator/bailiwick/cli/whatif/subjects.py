"""Objects as they would be made again, and whose they are: pods of one template are one group. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from bailiwick.residency.audit import runs
from bailiwick.residency.territories import MANAGED_LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Raw = dict[str, Any]

_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_MOUNTED: Final = "kube-api-access-"
"""How the volume is called that Kubernetes adds to every pod; the rest of its name is chance."""
_OF_A_REPLICA: Final = frozenset({
    "pod-template-hash", "controller-revision-hash", "controller-uid", "batch.kubernetes.io/controller-uid",
    "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index",
})  # fmt: skip
"""Labels in which pods of one template differ, and that no rule of the border reads."""
_WRITTEN_BY_KUBERNETES: Final = ("endpointslice.kubernetes.io/managed-by", "endpoints.kubernetes.io/managed-by")
_MODEL: Final = "bailiwick.dev/model"


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Whoever makes something, and would be refused: a Deployment for its pods, an object itself that nobody made."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Group:
    """Objects that the border cannot tell apart: one stands for all. ``pods`` is 0 where they are no pods."""

    subject: Subject
    manifest: Raw
    pods: int


@dataclass(slots=True)
class Sorted:
    """Everything that is judged."""

    groups: list[Group] = field(default_factory=list)
    running: Counter[tuple[Subject, str, str]] = field(default_factory=Counter)
    """Pods on nodes, by whose they are, namespace and node."""
    volumes: list[Raw] = field(default_factory=list)
    pods: int = 0
    """That are not finished."""
    objects: int = 0
    """Others that are judged."""


def sort(objects: Iterable[Raw]) -> Sorted:
    """Objects of any kind. Left out is what is finished, and what Kubernetes or the operator writes anew by itself."""
    objects = list(objects)
    owners = {_itself(each): owner for each in objects if (owner := _owner(each))}
    sorted_out, seen, numbers = Sorted(), dict[bytes, int](), Counter[int]()
    for each in objects:
        subject = _top(_itself(each), owners, each)
        if each["kind"] == "Pod":
            if (each.get("status") or {}).get("phase") in _FINISHED:
                continue
            sorted_out.pods += 1
            if runs(each):
                sorted_out.running[subject, each["metadata"]["namespace"], each["spec"]["nodeName"]] += 1
            made, known = _pod(each, subject)
            position = seen.setdefault(known, len(sorted_out.groups))
            if position == len(sorted_out.groups):
                sorted_out.groups.append(Group(subject, made, 0))
            numbers[position] += 1
        elif each["kind"] == "PersistentVolume":
            sorted_out.volumes.append(each)
            sorted_out.objects += 1
        elif not _made_anew(each):
            sorted_out.groups.append(Group(subject, _again(each), 0))
            sorted_out.objects += 1
    sorted_out.groups = [Group(each.subject, each.manifest, numbers[at]) for at, each in enumerate(sorted_out.groups)]
    return sorted_out


def _itself(manifest: Raw) -> Subject:
    metadata = manifest["metadata"]
    return Subject(manifest["kind"], metadata.get("namespace") or "", metadata.get("name") or "")


def _owner(manifest: Raw) -> Subject | None:
    """The controller that made an object. A node is none: the pods that it shows are its kubelet's own."""
    metadata = manifest["metadata"]
    labels, namespace = metadata.get("labels") or {}, metadata.get("namespace") or ""
    if _MODEL in labels and _ours(labels):
        return Subject("SovereignModel", namespace, labels[_MODEL])
    for each in metadata.get("ownerReferences") or ():
        if each.get("controller") and each.get("kind") != "Node":
            hashed = labels.get("pod-template-hash")
            if each["kind"] == "ReplicaSet" and hashed and each["name"].endswith(f"-{hashed}"):
                return Subject("Deployment", namespace, each["name"].removesuffix(f"-{hashed}"))
            return Subject(each["kind"], namespace, each["name"])
    return None


def _top(subject: Subject, owners: Mapping[Subject, Subject], manifest: Raw) -> Subject:
    """Who is at the end of the chain, as far as the chain is known."""
    seen = {subject}
    above = _owner(manifest)
    while above is not None and above not in seen:
        seen.add(above)
        subject, above = above, owners.get(above)
    return subject


def _made_anew(manifest: Raw) -> bool:
    """Whether an object is not made again as it is, but by whoever wrote it, from something that is judged itself."""
    metadata, kind = manifest["metadata"], manifest["kind"]
    labels = metadata.get("labels") or {}
    controlled = any(each.get("controller") for each in metadata.get("ownerReferences") or ())
    match kind:
        case "ReplicaSet" | "Job" if controlled:
            return True
        case "Job":
            conditions = (manifest.get("status") or {}).get("conditions") or ()
            return any(
                each.get("type") in {"Complete", "Failed"} and each.get("status") == "True" for each in conditions
            )
        case "EndpointSlice" | "Endpoints":
            told = metadata.get("annotations") or {}
            return "endpoints.kubernetes.io/last-change-trigger-time" in told or any(
                labels.get(label, "").endswith(("-controller.k8s.io", "endpoint-controller"))
                for label in _WRITTEN_BY_KUBERNETES
            )
        case "NetworkPolicy":
            return _ours(labels)
    return False


def _ours(labels: Mapping[str, str]) -> bool:
    return MANAGED_LABELS.items() <= labels.items()


def _again(manifest: Raw) -> Raw:
    """An object without what only the cluster that holds it adds."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in {"managedFields", "uid"}}
    made = {key: value for key, value in manifest.items() if key != "status"} | {"metadata": metadata}
    if manifest["kind"] == "PersistentVolumeClaim":
        annotations = dict(metadata.get("annotations") or {})
        # Kubernetes itself chose the volume, and would choose again.
        chosen = annotations.pop("pv.kubernetes.io/bound-by-controller", None)
        annotations.pop("volume.kubernetes.io/selected-node", None)
        metadata["annotations"] = annotations
        if chosen:
            made["spec"] = {key: value for key, value in manifest["spec"].items() if key != "volumeName"}
    return made


def _pod(manifest: Raw, subject: Subject) -> tuple[Raw, bytes]:
    """A pod without its node, which the scheduler chose, and what it has in common with others of its template."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    kept = {key: value for key, value in spec.items() if key not in {"nodeName", "ephemeralContainers"}}
    made = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if key in metadata},
        "spec": kept,
    }  # fmt: skip
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in _OF_A_REPLICA}
    mirror = "kubernetes.io/config.mirror" in (metadata.get("annotations") or {})
    alike = {key: value for key, value in kept.items() if key not in {"hostname", "affinity"}}
    alike["volumes"] = [_volume(each) for each in spec.get("volumes") or ()]
    for field_name in ("containers", "initContainers"):
        alike[field_name] = [_container(each) for each in spec.get(field_name) or ()]
    told = [str(subject), metadata.get("namespace"), mirror, labels, alike]
    return made, orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def _volume(volume: Raw) -> Raw:
    """Which claim it is, no rule asks of a pod."""
    if str(volume.get("name")).startswith(_MOUNTED):
        return {**volume, "name": _MOUNTED}
    return {"name": volume.get("name"), "claim": True} if "persistentVolumeClaim" in volume else volume


def _container(container: Raw) -> Raw:
    mounts = [
        {**each, "name": _MOUNTED} if str(each.get("name")).startswith(_MOUNTED) else each
        for each in container.get("volumeMounts") or ()
    ]
    return {**container, "volumeMounts": mounts}
