"""Models from sources of every kind, as people write them, and a policy that allows some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.resource import API_VERSION
from e2e.client import eventually
from tests.border.ground import DIGEST, Governed, Ground

if TYPE_CHECKING:
    from e2e.client import Manifest

PINNED = f"registry.example/models/llama@{DIGEST}"
COMMIT = "a" * 40
ALLOWED = [
    "oci://registry.example/models/",
    "oci://mirror.example",
    "oci://mirror.example/one/llama",
    "oci://team",
    "s3://storage.example/weights/llama",
    "s3+http://storage.example:9000",
    "hf://huggingface.co/skt/",
    "hf+http://hub.example/skt/",
    # As policies spelt a bucket and an organisation without their host.
    "s3://weights/",
    "hf://skt/",
    "pvc://weights",
    "hostpath:///srv/models",
    "endpoint://mac-1",
]


def oci(image: str) -> dict[str, Any]:
    return {"oci": {"image": image}}


def s3(bucket: str, prefix: str, endpoint: str = "https://storage.example") -> dict[str, Any]:
    return {"s3": {"endpoint": endpoint, "bucket": bucket, "prefix": prefix}}


def hub(repository: str) -> dict[str, Any]:
    return {"huggingFace": {"repository": repository, "revision": COMMIT}}


def mirrored(repository: str, endpoint: str = "http://hub.example") -> dict[str, Any]:
    """From a hub that the author of the model names."""
    return {"huggingFace": {**hub(repository)["huggingFace"], "endpoint": endpoint}}


def claim(name: str, path: str = "") -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name, "path": path}}


def folder(path: str) -> dict[str, Any]:
    return {"hostPath": {"path": path}}


def outside(namespace: str, statement: str) -> Manifest:
    """A model that an endpoint outside serves."""
    served = model(namespace, {"endpoint": {"statement": statement}})
    return {**served, "spec": served["spec"] | {"engine": {"name": "external"}}}


def model(
    namespace: str, source: dict[str, Any], *, name: str = "llama", adapters: list[Manifest] | None = None, **of: Any
) -> Manifest:
    spec: dict[str, Any] = {"model": {"name": "llama", "source": source} | of}
    return {
        "apiVersion": API_VERSION,
        "kind": "SovereignModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec | ({"adapters": adapters} if adapters else {}),
    }


def variants(namespace: str, *listed: dict[str, Any], **of: Any) -> Manifest:
    """A model that may be served from each of several sources."""
    made = model(namespace, {}, **of)
    del made["spec"]["model"]["source"]
    made["spec"]["model"]["variants"] = [
        {"name": f"v{number}", "profile": {"configMap": "shape"}, **each} for number, each in enumerate(listed)
    ]
    return made


def in_force(ground: Ground, governed: Governed, **of: Any) -> Governed:
    """The namespace's label has reached the API server's own cache: a model with what the policy asks passes."""
    allowed = model(governed.namespace, oci(PINNED), **of)
    eventually(lambda: ground.editor.create(allowed, dry_run=True), what="models are judged")
    return governed


SIGNATURE = {"authority": "laboratory"}
SIGNED = {
    "sources": ALLOWED,
    "requireDigest": False,
    "signedBy": ["laboratory", "ministry"],
    "licences": ["Apache-2.0", "MIT"],
}
