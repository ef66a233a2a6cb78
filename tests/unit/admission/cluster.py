"""A cluster as the webhook knows it, made of manifests; lookups fail on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.admission.known import Known
from bailiwick.cluster.errors import NotFound, Transient
from bailiwick.cluster.pace import Pace
from tests.unit.residency.given import EXEMPT, FRANKFURT, NOW, VIRGINIA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.cluster.resources import Resource

Manifest = dict[str, Any]
SPACE = "clinic"
PROVISIONERS = {"fast": "disks.example", "by-hand": "kubernetes.io/no-provisioner"}
IMAGE = "registry.example/models/tiny@sha256:" + "0" * 64


def manifest(name: str, spec: Any = None, **more: Any) -> Manifest:
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": spec or {}, **more}


def policy(*allow: str, name: str = "health", **spec: Any) -> Manifest:
    place = {"allow": list(allow), "assurance": "Declared"}
    return manifest(name, {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": place, **spec})


def group(name: str, *members: str) -> Manifest:
    return manifest(name, {"members": list(members), "asOf": "2026-11-01", "source": "a law"})


def node(name: str, provider: str, **labels: str) -> Manifest:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "8", "memory": "32Gi"}}
    return manifest(name, {"providerID": provider}, metadata={"labels": labels}, status=ready)


def model(*, nodes: tuple[str, ...] = (), **spec: Any) -> Manifest:
    placements = [{"pod": f"p-{each}", "node": each, "ready": True} for each in nodes]
    source = spec.pop("source", {"oci": {"image": IMAGE}})
    whole = {"model": {"name": "tiny", "source": source, **spec.pop("model", {})}, **spec}
    return manifest("chat", whole, metadata={"namespace": SPACE}, status={"placements": placements})


class FakeApi:
    """Answers lookups from what it has and ``may``; fails every one, or those of a kind, that is ``broken``."""

    def __init__(self) -> None:
        self.volumes: dict[str, Manifest] = {}
        self.claims: dict[str, Manifest] = {}
        self.classes = {name: {"provisioner": driver} for name, driver in PROVISIONERS.items()}
        self.may: set[str] = set()
        self.asked: list[Manifest] = []
        self.broken: set[str] = set()

    async def get(self, resource: Resource, name: str, *_: Any, **__: Any) -> Manifest:
        self._fail(resource)
        kinds = {
            "persistentvolumes": self.volumes,
            "persistentvolumeclaims": self.claims,
            "storageclasses": self.classes,
        }
        if name in (there := kinds.get(resource.plural, {})):
            return there[name]
        raise NotFound("get", status=404, reason="NotFound", message=name)

    async def create(self, resource: Resource, manifest: Manifest, **__: Any) -> Manifest:
        self._fail(resource)
        self.asked.append(manifest)
        return {"status": {"allowed": manifest["spec"]["resourceAttributes"]["name"] in self.may}}

    def _fail(self, resource: Resource) -> None:
        if resource.plural in self.broken:
            raise Transient("get", status=500, reason="InternalError", message="no answer")


class Cluster:
    """Europe, two nodes in Frankfurt and Virginia, a governed namespace, and what a test adds."""

    def __init__(self, **added: list[Manifest]) -> None:
        self.clock = 0.0
        self.api = FakeApi()
        pace = Pace(clock=lambda: self.clock, chance=lambda: 0.5)
        self.known = Known(api=self.api, pace=pace, now=lambda: NOW, exempt=EXEMPT)  # type: ignore[arg-type]
        there: Mapping[str, list[Manifest]] = {
            "jurisdictions": [group("eu", "DE", "FR"), group("eea", "EU", "NO")],
            "residencypolicies": [policy("EU")],
            "nodes": [node("frankfurt", FRANKFURT, zone="eu"), node("virginia", VIRGINIA, zone="us")],
            "namespaces": [
                manifest(SPACE, metadata={"labels": {"data": "health"}}),
                manifest("free", metadata={"labels": {}}),
            ],
            "acceleratorclasses": [
                manifest("cpu", {"engines": [{"name": "vllm", "image": "registry.example/vllm:1"}]})
            ],
            **added,
        }
        for store in self.known.stores:
            found = there.get(store.resource.plural, [])
            for index, each in enumerate(found):
                each["metadata"] |= {"uid": f"{store.resource.plural}-{index}", "resourceVersion": str(index + 1)}
            store.replace(found, "100")
            store.confirm(0.0)


def review(kind: str, after: Manifest | None, before: Manifest | None = None, **request: Any) -> Manifest:
    group = "" if kind == "PersistentVolumeClaim" else "bailiwick.dev"
    operation = "DELETE" if after is None else "UPDATE" if before else "CREATE"
    name = (after or before or {})["metadata"]["name"]
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u1",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "operation": operation,
            "name": name,
            "namespace": SPACE if kind in {"SovereignModel", "PersistentVolumeClaim"} else "",
            "userInfo": {"username": "erika", "groups": ["team"]},
            "object": after,
            "oldObject": before,
            **request,
        },
    }
