"""How rows are written down: who, what, refused by whom for which reason; and the manifests that they differ in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from e2e.demo.attacks import IMAGE, Attempt

NAMESPACE = "fortress"
LABEL = f"bailiwick.dev.node-restriction.kubernetes.io/{NAMESPACE}"
EDITOR, ADMINISTRATOR = "erin", "carl"
CREATE = ("create", "--dry-run=server", "-f", "-")
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One way around that one request decides."""

    number: int
    title: str
    attempts: tuple[Attempt, ...]
    controls: tuple[Attempt, ...]

    def __str__(self) -> str:
        return f"{self.number:02}-{self.title.replace(' ', '-')}"


def pod(name: str = "probe", container: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """A pod that asks for nothing but to run, with the differences that matter."""
    main = {"name": "main", "image": IMAGE, **(container or {})}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [main], **spec}}


def refused(name: str, manifest: Manifest, by: str, reason: str, who: str = EDITOR) -> Attempt:
    return Attempt(name=name, who=who, command=CREATE, manifest=manifest, stopped_by=by, reason=reason)


def passes(name: str, manifest: Manifest, who: str = EDITOR) -> Attempt:
    return Attempt(name=name, who=who, command=CREATE, manifest=manifest, stopped_by="", reason="")


def pods(name: str, reason: str, manifests: Iterable[Manifest]) -> tuple[Attempt, ...]:
    return tuple(refused(name, manifest, "bailiwick-pods", reason) for manifest in manifests)


def thing(api_version: str, kind: str, **content: Any) -> Manifest:
    metadata = {"name": "probe", "namespace": NAMESPACE, **content.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def binding(node: str) -> Manifest:
    return thing("v1", "Binding", metadata={"name": "held"}, target={"kind": "Node", "name": node})


HELD = pod("held", schedulingGates=[{"name": "border.example/wait"}])


def bind(url: str, node: str) -> Attempt:
    """A binding is refused before anybody looks whether the pod is ready for it."""
    path = f"/api/v1/namespaces/{NAMESPACE}/{url}?dryRun=All"
    command = ("create", "--raw", path, "-f", "-")
    return Attempt(
        name="a binding", who=ADMINISTRATOR, command=command, manifest=binding(node),
        prepare=(HELD,), stopped_by="bailiwick-bindings", reason="WrongPlace",
    )  # fmt: skip


def affinity(*terms: Mapping[str, Any], preferred: bool = False) -> Manifest:
    if preferred:
        wish = [{"weight": 100, "preference": term} for term in terms]
        return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wish}}
    asked = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": asked}}


def term(operator: str, *values: str, key: str = LABEL) -> Manifest:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": values} if values else {})}]}
