"""Objects as the API server shows them to its policies: without what is empty, with what it fills in.

Only what a rule of the border reads is filled in (k8s.io/kubernetes, pkg/apis/*/v1/defaults.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.resource import GROUP
from bailiwick.api.sovereignmodel import SovereignModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.preview.requests import Request

_GROUPS: Final = frozenset({"", "apps", "batch", "networking.k8s.io", "discovery.k8s.io", "resource.k8s.io"})
"""Of Kubernetes itself. Objects of other groups are shown as they are written, without fields that are null."""
_MAPS: Final = frozenset({"nodeSelector", "labels", "annotations", "matchLabels"})
SCHEDULER = "default-scheduler"


def shown(request: Request) -> dict[str, Any]:
    """The object of a request. Raises ValidationError for a SovereignModel that is none."""
    if (request.group, request.kind) == (GROUP, "SovereignModel"):
        return SovereignModel.read(request.object).model_dump(mode="json", by_alias=True, exclude_none=True)
    own = request.group in _GROUPS
    made: dict[str, Any] = _written(request.object, lists=own)
    spec = made.get("spec")
    if not own or not isinstance(spec, dict):
        return made
    match request.kind:
        case "Pod":
            made["spec"] = {"schedulerName": SCHEDULER, **spec}
        case "NetworkPolicy":
            made["spec"] = _with_protocols(spec)
        case "Service":
            made["spec"] = {"type": "ClusterIP", **spec}
    return made


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
