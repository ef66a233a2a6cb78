"""Objects as the API server shows them to its policies: without what is empty, with what it fills in.

Only what a rule of the border reads is filled in (k8s.io/kubernetes, pkg/apis/*/v1/defaults.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.resource import GROUP
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cel.values import Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.preview.requests import Request

_GROUPS: Final = frozenset({"", "apps", "batch", "networking.k8s.io", "discovery.k8s.io", "resource.k8s.io"})
"""Of Kubernetes itself. Objects of other groups are shown as they are written, without fields that are null."""
_MAPS: Final = frozenset({"nodeSelector", "labels", "annotations", "matchLabels"})
_DEFAULTS: Final[Mapping[tuple[str, str], str]] = {
    ("storage.k8s.io/v1", "StorageClass"): "storageclass.kubernetes.io/is-default-class",
    ("networking.k8s.io/v1", "IngressClass"): "ingressclass.kubernetes.io/is-default-class",
}
_ANNOTATIONS: Final[Mapping[str, str]] = {
    "StorageClass": "volume.beta.kubernetes.io/storage-class",
    "IngressClass": "kubernetes.io/ingress.class",
}
SCHEDULER = "default-scheduler"


def shown(request: Request, classes: Mapping[str, str | None]) -> dict[str, Any]:
    """The object of a request. ``classes``: the cluster's default by kind, None where it has none, else not known.

    Raises ValidationError for a SovereignModel that is none.
    """
    if (request.group, request.kind) == (GROUP, "SovereignModel"):
        return SovereignModel.read(request.object).model_dump(mode="json", by_alias=True, exclude_none=True)
    own = request.group in _GROUPS
    made: dict[str, Any] = _written(request.object, lists=own)
    spec = made.get("spec")
    if not own or not isinstance(spec, dict):
        return made
    match request.kind:
        case "PersistentVolumeClaim":
            made["spec"] = _classed(made, "storageClassName", classes, "StorageClass")
        case "Ingress":
            made["spec"] = _classed(made, "ingressClassName", classes, "IngressClass")
        case "Pod":
            made["spec"] = {"schedulerName": SCHEDULER, **spec}
        case "NetworkPolicy":
            made["spec"] = _with_protocols(spec)
        case "Service":
            made["spec"] = {"type": "ClusterIP", **spec}
    return made


def default_class(manifest: Mapping[str, Any]) -> str | None:
    """The kind of class that an object is the cluster's default of; None for any other object."""
    annotations = manifest["metadata"].get("annotations") or {}
    is_default = annotations.get(_DEFAULTS.get((manifest["apiVersion"], manifest["kind"]), "")) == "true"
    return str(manifest["kind"]) if is_default else None


def _classed(made: dict[str, Any], field: str, classes: Mapping[str, str | None], kind: str) -> dict[str, Any]:
    """With the cluster's default class where the object names none, by its field or the older annotation."""
    spec: dict[str, Any] = made["spec"]
    if field in spec or _ANNOTATIONS[kind] in made["metadata"].get("annotations", {}):
        return spec
    if kind not in classes:
        return {**spec, field: Unknown(f"which {kind} is the cluster's default (name a class, or give the default)")}
    default = classes[kind]
    return spec if default is None else {**spec, field: default}


def pinned(pod: dict[str, Any], selector: Mapping[str, str]) -> dict[str, Any]:
    """The pod with the labels that bailiwick-pin adds where it does not name them itself."""
    spec = pod["spec"]
    asked = spec.get("nodeSelector")
    there = asked if isinstance(asked, dict) else {}
    return {**pod, "spec": {**spec, "nodeSelector": {**selector, **there}}}


def _written(value: Any, *, lists: bool) -> Any:
    """Without nulls, and without lists and maps that are empty where a field has the same meaning without."""
    if isinstance(value, list):
        return [_written(item, lists=lists) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _written(item, lists=lists)
        for key, item in value.items()
        if item is not None and not (lists and (item == [] or (item == {} and key in _MAPS)))
    }


def _with_protocols(spec: dict[str, Any]) -> dict[str, Any]:
    def filled(rule: Any) -> Any:
        if not isinstance(rule, dict) or not isinstance(rule.get("ports"), list):
            return rule
        ports = [{"protocol": "TCP", **port} if isinstance(port, dict) else port for port in rule["ports"]]
        return {**rule, "ports": ports}

    if not isinstance(spec.get("egress"), list):
        return spec
    return {**spec, "egress": [filled(rule) for rule in spec["egress"]]}
