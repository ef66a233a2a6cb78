"""What stores keep of an object, kind by kind. Pure: a trim makes a new object and leaves the given one alone.

Trimmed objects look like the API server's own, with less in them. ``metadata.managedFields`` is reduced to what
`bailiwick.cluster.apply` needs to see that somebody else edited one of our objects, or that we own a field that we no
longer want.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.cluster.api import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bailiwick.cluster.api import Raw

    Trim = Callable[[Raw], Raw]

_METADATA = (
    "name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations", "ownerReferences",
    "finalizers", "creationTimestamp", "deletionTimestamp",
)  # fmt: skip
_NOISE = frozenset({"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision"})
"""Annotations that repeat the object or change without meaning."""
RESTARTED = "kubectl.kubernetes.io/restartedAt"
"""What `kubectl rollout restart` writes into a pod template: a wish that everybody with the right may have."""


def whole(manifest: Raw) -> Raw:
    """Everything but bookkeeping: for our own custom resources."""
    return {**_head(manifest), **{key: manifest[key] for key in ("spec", "status") if key in manifest}}


def child(manifest: Raw) -> Raw:
    """An object that we wrote: all of it but its status, and who owns its fields."""
    kept = {key: value for key, value in manifest.items() if key not in {"metadata", "status"}}
    trimmed = {**_head(manifest), **kept}
    if ownership := owners(manifest["metadata"].get("managedFields") or ()):
        trimmed["metadata"]["managedFields"] = ownership
    return trimmed


def workload(manifest: Raw) -> Raw:
    """A child whose status counts: a Deployment's replicas and conditions."""
    trimmed = child(manifest)
    if "status" in manifest:
        trimmed["status"] = manifest["status"]
    return trimmed


def data(manifest: Raw) -> Raw:
    """What a ConfigMap holds as text."""
    return {**_head(manifest), "data": manifest.get("data") or {}}


def scaler(manifest: Raw) -> Raw:
    """A child that scales a model: what it cannot do counts. What it measures changes all the time, and does not."""
    trimmed = child(manifest)
    failing = [
        {key: condition[key] for key in ("type", "status", "reason", "message") if key in condition}
        for condition in (manifest.get("status") or {}).get("conditions") or ()
        if condition.get("type") in _ABILITIES
    ]
    if failing:
        trimmed["status"] = {"conditions": failing}
    return trimmed


_ABILITIES = frozenset({"AbleToScale", "ScalingActive", "Ready"})
"""Conditions of a HorizontalPodAutoscaler, and of a ScaledObject, that say whether it works."""


def gateway(manifest: Raw) -> Raw:
    """A Gateway, of which only the class counts."""
    return {**_head(manifest), "spec": {"gatewayClassName": (manifest.get("spec") or {}).get("gatewayClassName", "")}}


def labelled(manifest: Raw) -> Raw:
    """Metadata alone: for namespaces, which are chosen by their labels."""
    return _head(manifest)


def node(manifest: Raw) -> Raw:
    """What decides where a node stands, what it can carry, and whether it is in service.

    The kubelet's heartbeats (condition times, images, addresses) are left out, so that they are no changes.
    """
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    conditions = [
        {"type": condition.get("type"), "status": condition.get("status")}
        for condition in status.get("conditions") or ()
        if condition.get("type") == "Ready"
    ]
    return {
        **_head(manifest),
        "spec": {key: spec[key] for key in ("providerID", "unschedulable", "taints") if key in spec},
        "status": {
            **{key: status[key] for key in ("allocatable", "nodeInfo") if key in status},
            "conditions": conditions,
        },
    }


_CONTAINER_STATUSES = ("initContainerStatuses", "containerStatuses")


def pod(manifest: Raw) -> Raw:
    """What is judged of a pod: where it runs, what it runs, what it mounts, and whether it is ready."""
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    plain = ("nodeName", "nodeSelector", "affinity", "schedulerName", "serviceAccountName", "hostNetwork", "volumes")
    containers = ("initContainers", "containers", "ephemeralContainers")
    ready = [
        {key: condition[key] for key in ("type", "status", "reason", "message") if key in condition}
        for condition in status.get("conditions") or ()
        if condition.get("type") in {"Ready", "PodScheduled"}
    ]
    return {
        **_head(manifest),
        "spec": {
            **{key: spec[key] for key in plain if key in spec},
            **{key: [_container(each) for each in spec[key]] for key in containers if spec.get(key)},
        },
        "status": {
            **{key: status[key] for key in ("phase", "reason", "message", "podIP") if key in status},
            **{key: [_state(each) for each in status[key]] for key in _CONTAINER_STATUSES if status.get(key)},
            "conditions": ready,
        },
    }


def judged(manifest: Raw) -> Raw:
    """A pod that the audit judges: where it runs, and by what names it is known. Our own are also served, see `pod`.

    Its annotations are ours alone, so that ten thousand pods of others fit, and their other edits are no changes.
    """
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    if (metadata.get("labels") or {}).get(_MANAGED) == FIELD_MANAGER:
        kept = pod(manifest)
    else:
        kept = _head(manifest)
        for key in ("creationTimestamp", "finalizers", "ownerReferences", "generation"):
            kept["metadata"].pop(key, None)
        annotations = kept["metadata"].pop("annotations", {})
        if ours := {key: value for key, value in annotations.items() if key in _JUDGED_ANNOTATIONS}:
            kept["metadata"]["annotations"] = ours
        kept["spec"] = {"nodeName": spec["nodeName"]} if spec.get("nodeName") else {}
        kept["status"] = {"phase": (manifest.get("status") or {}).get("phase", "")}
    if "terminationGracePeriodSeconds" in spec:
        kept["spec"]["terminationGracePeriodSeconds"] = spec["terminationGracePeriodSeconds"]
    if "deletionGracePeriodSeconds" in metadata:
        kept["metadata"]["deletionGracePeriodSeconds"] = metadata["deletionGracePeriodSeconds"]
    return kept


_MANAGED = "app.kubernetes.io/managed-by"
_JUDGED_ANNOTATIONS = frozenset({
    "bailiwick.dev/violation-since", "bailiwick.dev/quarantined-labels", "bailiwick.dev/quarantined-by",
    "kubernetes.io/config.mirror",
})  # fmt: skip


def owners(managed_fields: Iterable[Mapping[str, Any]]) -> list[Raw]:
    """``managedFields`` reduced to our applied fields, and to the names of others who own some of ``spec``.

    Left out of ours: owner references, whose keys hold uids. The rest is the same for all objects of one shape, so
    stores keep it once. Left out of others': everything but that they own something.
    """
    kept: list[Raw] = []
    for entry in managed_fields:
        if entry.get("subresource"):
            continue
        fields = entry.get("fieldsV1") or {}
        if is_ours(entry):
            metadata = {key: value for key, value in (fields.get("f:metadata") or {}).items() if key in _OWNED_METADATA}
            content = {key: value for key, value in fields.items() if key not in {"f:metadata", "f:status"}}
            owned = {"f:metadata": metadata, **content} if metadata else content
            kept.append({"manager": entry["manager"], "operation": entry["operation"], "fieldsV1": owned})
        elif owns_spec(fields):
            named = {key: entry[key] for key in ("manager", "operation") if key in entry}
            kept.append({**named, "fieldsV1": {"f:spec": {}}})
    return kept


def is_ours(entry: Mapping[str, Any], manager: str = FIELD_MANAGER) -> bool:
    """Whether a managedFields entry is what ``manager`` applied. An update in its name is not: only an apply prunes."""
    return bool(entry.get("manager") == manager and entry.get("operation") == "Apply")


def owns_spec(fields: Mapping[str, Any]) -> bool:
    """Whether a field set holds something of ``spec`` other than the mark of a rollout restart."""
    return "f:spec" in fields and not _only_restarted(fields["f:spec"])


_OWNED_METADATA = frozenset({"f:labels", "f:annotations"})
_RESTART_PATH = ("f:template", "f:metadata", "f:annotations", f"f:{RESTARTED}")


def _only_restarted(spec: Any) -> bool:
    for step in _RESTART_PATH:
        if not isinstance(spec, dict) or spec.keys() - {"."} != {step}:
            return False
        spec = spec[step]
    return True


def _head(manifest: Raw) -> Raw:
    metadata = manifest["metadata"]
    kept = {key: metadata[key] for key in _METADATA if metadata.get(key)}
    if annotations := {key: value for key, value in kept.pop("annotations", {}).items() if key not in _NOISE}:
        kept["annotations"] = annotations
    return {"apiVersion": manifest.get("apiVersion"), "kind": manifest.get("kind"), "metadata": kept}


def _state(container: Raw) -> Raw:
    """What a container waits for and how it ended: why a replica does not come up."""
    return {key: container[key] for key in ("name", "state", "lastState") if key in container}


def _container(container: Raw) -> Raw:
    return {key: container[key] for key in ("name", "image", "ports", "resources", "volumeMounts") if key in container}
