"""Where weights come from, as volumes of the pod: read-only, and never fetched by the engine."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.layout import ADAPTER_PATH, MODEL_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.api.modelsource import ClaimSource, Source
    from bailiwick.api.sovereignmodel import SovereignModel

Manifest = dict[str, Any]

MODEL = "model"
"""Volume of the model's own weights."""


def refusal(model: SovereignModel) -> Verdict | None:
    """Why a source cannot be mounted, and what to do; None when all can."""
    for weights in model.spec.weights:
        where, source = f"{weights.where}.source", weights.source
        kind = "s3" if source.s3 else "huggingFace" if source.hugging_face else None
        if kind and into(source) is None:
            return refuse(
                Reason.UNSUPPORTED_SOURCE,
                f"{where}.{kind} needs an import, because an engine that serves never fetches; name the claim of the "
                f"namespace that keeps the files in {where}.{kind}.into",
            )
    return None


def into(source: Source) -> ClaimSource | None:
    """Where a source is imported to; None for one that is mounted as it is."""
    fetched = source.s3 or source.hugging_face
    return fetched.into if fetched else None


def fetched(source: Source) -> bool:
    """Whether it is imported."""
    return into(source) is not None


def kept(source: Source) -> ClaimSource:
    """Where one that is imported is kept."""
    claim = into(source)
    if claim is None:
        raise ValueError("a source that is mounted as it is was to be imported")
    return claim


def imported(source: Source, digest: str | None) -> str:
    """The folder of an import in its claim: another one for other content, so that replicas that run keep theirs."""
    said = source.model_dump(mode="json", by_alias=True, exclude_none=True)
    for fetched in said.values():
        for name in ("into", "credentialsSecret", "tokenSecret"):
            fetched.pop(name, None)
    return sha256(json.dumps([said, digest], sort_keys=True).encode()).hexdigest()[:16]


def volumes(model: SovereignModel) -> list[Manifest]:
    """The volumes of the model and its adapters."""
    return [{"name": name, **_volume(source)} for name, _, source, _ in _mounted(model)]


def mounts(model: SovereignModel) -> list[Manifest]:
    """Where the engine finds them."""
    return [_mount(*mounted) for mounted in _mounted(model)]


def pull_secrets(model: SovereignModel) -> list[Manifest]:
    """Secrets by which the node may pull the images of volumes."""
    images = (weights.source.oci for weights in model.spec.weights)
    names = {name for image in images if image for name in image.pull_secrets}
    return [{"name": name} for name in sorted(names)]


def adapter_volume(number: int) -> str:
    """Volume of an adapter. Adapters have names that a volume could not have."""
    return f"adapter-{number}"


def _mounted(model: SovereignModel) -> Iterator[tuple[str, str, Source, str | None]]:
    """Name of the volume, path in the engine, source, digest."""
    weights = model.spec.model.weights
    yield MODEL, MODEL_PATH, weights.source, weights.digest
    for number, adapter in enumerate(model.spec.adapters):
        yield adapter_volume(number), f"{ADAPTER_PATH}/{adapter.name}", adapter.source, adapter.digest


def by_volume(model: SovereignModel) -> Iterator[tuple[str, Source]]:
    """Name of the volume, and what is in it."""
    for name, _, source, _ in _mounted(model):
        yield name, source


def _volume(source: Source) -> Manifest:
    if source.oci and source.oci.mount == "Copy":
        return {"emptyDir": {"sizeLimit": source.oci.size} if source.oci.size else {}}
    if source.oci:
        return {"image": {"reference": source.oci.image, "pullPolicy": source.oci.pull_policy}}
    if claim := source.persistent_volume_claim or into(source):
        return {"persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": True}}
    if source.host_path:
        # In the pod itself, so that the namespace's own Pod Security level judges it. Behind a PersistentVolume of
        # ours it would pass, and whoever may write a model could read any folder of a node.
        return {"hostPath": {"path": source.host_path.path, "type": "Directory"}}
    raise ValueError("a source that cannot be mounted was planned")


def _mount(name: str, path: str, source: Source, digest: str | None) -> Manifest:
    mount: Manifest = {"name": name, "mountPath": path, "readOnly": True}
    if fetched(source):
        folder = f"{kept(source).path.strip('/')}/{imported(source, digest)}"
        return {**mount, "subPath": folder.lstrip("/")}
    claim = source.persistent_volume_claim
    return {**mount, "subPath": claim.path} if claim and claim.path else mount
