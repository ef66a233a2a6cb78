"""Kinds of other projects, as far as a test needs them: any content, and a status of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from e2e.client import ApiError, eventually

if TYPE_CHECKING:
    from e2e.client import Manifest
    from tests.border.ground import Ground

CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def serve(ground: Ground, group: str, kind: str, plural: str, *, namespaced: bool = True, version: str = "v1") -> None:
    """Have the API server serve a kind, until the ground is cleared; nothing when it does already."""
    name = f"{plural}.{group}"
    if ground.admin.find(*CRD, name):
        return
    metadata: Manifest = {"name": name}
    if group.endswith(".k8s.io"):  # a group that needs the approval of Kubernetes
        metadata["annotations"] = {"api-approved.kubernetes.io": "unapproved, a stub"}
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    ground.admin.create(
        {
            "apiVersion": CRD[0],
            "kind": CRD[1],
            "metadata": metadata,
            "spec": {
                "group": group,
                "scope": "Namespaced" if namespaced else "Cluster",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": anything},
                        "subresources": {"status": {}},
                    }
                ],
            },
        }
    )
    ground.made.append((*CRD, name))
    eventually(lambda: _served(ground, group, kind, version), what=f"{name} is served")


def _served(ground: Ground, group: str, kind: str, version: str) -> bool:
    try:
        found = ground.admin.request("GET", f"/apis/{group}/{version}").text
    except ApiError:
        return False
    return any(resource["kind"] == kind for resource in json.loads(found)["resources"])


def thing(api_version: str, kind: str, namespace: str | None = None, **content: object) -> Manifest:
    """An object of such a kind."""
    metadata: Manifest = {"name": "probe"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
