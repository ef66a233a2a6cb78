"""What the API server is asked when a manifest is applied: for the object itself, and for what is made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Manifest = dict[str, Any]
Path = tuple[str | int, ...]

_PLURALS: Final = {"Endpoints": "endpoints", "NetworkAttachmentDefinition": "network-attachment-definitions"}
"""Kinds whose resource has another name than English would give it."""
_OF_THE_CLUSTER: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"Namespace", "Node", "PersistentVolume"}),
    "bailiwick.dev": frozenset(each.__name__ for each in KINDS if not each.presents.namespaced),
    "gateway.networking.k8s.io": frozenset({"GatewayClass"}),
    "snapshot.storage.k8s.io": frozenset({"VolumeSnapshotClass", "VolumeSnapshotContent"}),
    "groupsnapshot.storage.k8s.io": frozenset({"VolumeGroupSnapshotClass", "VolumeGroupSnapshotContent"}),
    "networking.k8s.io": frozenset({"IngressClass", "IPAddress", "ServiceCIDR"}),
    "resource.k8s.io": frozenset({"DeviceClass", "ResourceSlice", "DeviceTaintRule"}),
    "kueue.x-k8s.io": frozenset(
        {"ClusterQueue", "ResourceFlavor", "AdmissionCheck", "Cohort", "MultiKueueCluster", "MultiKueueConfig",
         "WorkloadPriorityClass", "Topology"}
    ),
    "cluster.open-cluster-management.io": frozenset({"ManagedCluster", "ManagedClusterSet"}),
    "work.karmada.io": frozenset({"ClusterResourceBinding"}),
    "control.kubestellar.io": frozenset({"BindingPolicy", "Binding", "StatusCollector", "CustomTransform"}),
    "multicluster.admiralty.io": frozenset({"ClusterTarget", "ClusterSource"}),
}  # fmt: skip
_GROUPS_OF_THE_CLUSTER: Final = frozenset(
    {"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "storage.k8s.io",
     "scheduling.k8s.io", "node.k8s.io", "flowcontrol.apiserver.k8s.io", "certificates.k8s.io"}
)  # fmt: skip
_CONTAINERS = "containers"
_DEEPEST = 12
"""How far below an object's spec templates of pods are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One object that is created. ``namespace`` is None for what has none.

    ``path`` leads to it inside the manifest that it is made of; empty for the manifest itself.
    """

    group: str
    version: str
    kind: str
    namespace: str | None
    name: str
    object: Manifest
    path: Path = ()

    @property
    def resource(self) -> str:
        """The name of the kind in URLs."""
        return plural(self.kind)


def plural(kind: str) -> str:
    """As resources are named: ``Ingress`` is ingresses, ``Gateway`` gateways, ``NetworkPolicy`` networkpolicies."""
    if kind in _PLURALS:
        return _PLURALS[kind]
    name = kind.lower()
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2:-1] not in "aeiou" else f"{name}s"


def is_of_the_cluster(group: str, kind: str) -> bool:
    """Whether objects of a kind have no namespace."""
    return (
        group in _GROUPS_OF_THE_CLUSTER
        or kind in _OF_THE_CLUSTER.get(group, ())
        or (kind.startswith("Cluster") and group not in {"", "apps", "batch", "networking.k8s.io"})
    )


def requests(manifest: Manifest, *, default_namespace: str) -> Iterator[Request]:
    """The request for the object, then those for pods and claims that controllers make of it."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind, metadata = manifest["kind"], manifest["metadata"]
    space = None if is_of_the_cluster(group, kind) else metadata.get("namespace") or default_namespace
    made = {key: value for key, value in metadata.items() if key != "namespace"} | (
        {"namespace": space} if space is not None else {}
    )
    name = str(metadata.get("name") or metadata.get("generateName") or "")
    whole = Request(
        group=group, version=version, kind=kind, namespace=space, name=name, object={**manifest, "metadata": made}
    )
    yield whole
    if space is None:
        return
    core = replace(whole, group="", version="v1", name=name)
    if (group, kind) == ("", "Pod"):
        yield from _claims_of_a_pod(core)
        return
    for path, template in _templates(manifest.get("spec"), ("spec",)):
        pod = _made(core, "Pod", template, path, name)
        yield pod
        yield from _claims_of_a_pod(pod)
    if kind == "StatefulSet":
        for number, claim in enumerate(_items(manifest.get("spec"), "volumeClaimTemplates")):
            yield _made(core, "PersistentVolumeClaim", claim, ("spec", "volumeClaimTemplates", number), name)


def _templates(value: Any, path: Path) -> Iterator[tuple[Path, Manifest]]:
    """Templates of pods, in whichever kind: Deployments, groups of pods, jobs of other projects."""
    if len(path) > _DEEPEST:
        return
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _templates(item, (*path, number))
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        below = (*path, key)
        spec = item.get("spec") if isinstance(item, dict) and str(key).lower().endswith("template") else None
        if isinstance(spec, dict) and isinstance(spec.get(_CONTAINERS), list):
            yield below, item
        else:
            yield from _templates(item, below)


def _made(owner: Request, kind: str, template: Manifest, path: Path, name: str) -> Request:
    metadata = template.get("metadata")
    kept = {key: metadata[key] for key in ("labels", "annotations") if isinstance(metadata, dict) and key in metadata}
    return Request(
        group="", version="v1", kind=kind, namespace=owner.namespace, name=name, path=path,
        object={
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {**kept, "name": name, "namespace": owner.namespace},
            "spec": template.get("spec", {}),
        },
    )  # fmt: skip


def _claims_of_a_pod(pod: Request) -> Iterator[Request]:
    """Kubernetes makes a claim for each ephemeral volume of a pod."""
    for number, volume in enumerate(_items(pod.object.get("spec"), "volumes")):
        ephemeral = volume.get("ephemeral")
        template = ephemeral.get("volumeClaimTemplate") if isinstance(ephemeral, dict) else None
        if isinstance(template, dict):
            path = (*pod.path, "spec", "volumes", number, "ephemeral", "volumeClaimTemplate")
            yield _made(pod, "PersistentVolumeClaim", template, path, f"{pod.name}-{volume.get('name')}")


def _items(spec: Any, field: str) -> list[Manifest]:
    """The maps in a list of a spec; what else is there, the rules for the object itself find."""
    listed = spec.get(field) if isinstance(spec, dict) else None
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
