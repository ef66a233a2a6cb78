"""What GitOps controllers do to a cluster: they mark manifests as theirs, and apply them again and again."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from e2e.client import Client, Manifest

CRD = "CustomResourceDefinition"
_KEPT = {"generation", "managedFields", "resourceVersion"}
"""What the server keeps of an object."""


def _tracked(manifest: Manifest) -> Mapping[str, Any]:
    """Argo CD's annotation."""
    group = manifest["apiVersion"].rpartition("/")[0]
    metadata = manifest["metadata"]
    told = f"app:{group}/{manifest['kind']}:{metadata.get('namespace', '')}/{metadata['name']}"
    return {"annotations": {"argocd.argoproj.io/tracking-id": told}}


def _labelled(_: Manifest) -> Mapping[str, Any]:
    """Flux's labels."""
    ours = "kustomize.toolkit.fluxcd.io"
    return {"labels": {f"{ours}/name": "app", f"{ours}/namespace": "flux-system"}}


MARKS: Mapping[str, Callable[[Manifest], Mapping[str, Any]]] = {
    "argocd-controller": _tracked,
    "kustomize-controller": _labelled,
}
"""By the names under which they apply."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One of them at work."""

    client: Client
    manager: str

    def marked(self, manifest: Manifest) -> Manifest:
        """The manifest as it is sent."""
        marked = deepcopy(manifest)
        for field, more in MARKS[self.manager](manifest).items():
            marked["metadata"][field] = {**(marked["metadata"].get(field) or {}), **more}
        return marked

    def apply(self, manifest: Manifest, *, force: bool = True, dry_run: bool = False) -> Manifest:
        """The object after the server took it."""
        return self.client.apply(self.marked(manifest), manager=self.manager, force=force, dry_run=dry_run)

    def live(self, manifest: Manifest) -> Manifest:
        """The object as it is."""
        metadata = manifest["metadata"]
        return self.client.get(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace"))

    def drift(self, manifest: Manifest) -> Manifest:
        """What the next apply would change, field by field: empty where cluster and Git agree."""
        return difference(bare(self.live(manifest)), bare(self.apply(manifest, dry_run=True)))


def bare(manifest: Manifest) -> Manifest:
    """Without the server's bookkeeping."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _KEPT}
    return {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata}


def difference(before: Any, after: Any, path: str = "") -> dict[str, Any]:
    """What differs, by path: the value after."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() | after.keys()
        parts = [difference(before.get(key), after.get(key), f"{path}.{key}") for key in sorted(keys)]
        return {key: value for part in parts for key, value in part.items()}
    return {} if before == after else {path: after}


def rewritten(asked: Any, live: Any, path: str = "") -> list[str]:
    """Paths of what was asked for and stands otherwise in the object; what the server added is none of it."""
    if isinstance(asked, dict) and isinstance(live, dict):
        return [found for key in asked for found in rewritten(asked[key], live.get(key), f"{path}.{key}")]
    if isinstance(asked, list) and isinstance(live, list) and len(asked) == len(live):
        return [
            found
            for position, (one, other) in enumerate(zip(asked, live, strict=True))
            for found in rewritten(one, other, f"{path}[{position}]")
        ]
    return [] if asked == live else [path]
