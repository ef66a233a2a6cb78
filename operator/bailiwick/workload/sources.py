"""Where weights come from, as volumes of the pod: read-only, and never fetched by the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.workload.layout import ADAPTER_PATH, MODEL_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.api.modelsource import Source
    from bailiwick.api.sovereignmodel import SovereignModel

Manifest = dict[str, Any]


def refusal(model: SovereignModel) -> str | None:
    """Why a source cannot be mounted, and what to do; None when all can."""
    for source in _sources(model):
        if source.s3 or source.hugging_face:
            return (
                "s3 and huggingFace are imported by a Job that this release does not make; copy the files into a "
                "PersistentVolumeClaim or an OCI image, and name that"
            )
    return None


def volumes(model: SovereignModel) -> list[Manifest]:
    """The volumes of the model and its adapters."""
    return [
        {"name": "model", **_volume(model.spec.model.source)},
        *({"name": f"adapter-{adapter.name}", **_volume(adapter.source)} for adapter in model.spec.adapters),
    ]


def mounts(model: SovereignModel) -> list[Manifest]:
    """Where the engine finds them."""
    return [
        _mount("model", MODEL_PATH, model.spec.model.source),
        *(
            _mount(f"adapter-{adapter.name}", f"{ADAPTER_PATH}/{adapter.name}", adapter.source)
            for adapter in model.spec.adapters
        ),
    ]


def pull_secrets(model: SovereignModel) -> list[Manifest]:
    """Secrets by which the node may pull the images of volumes."""
    names = {name for source in _sources(model) if source.oci for name in source.oci.pull_secrets}
    return [{"name": name} for name in sorted(names)]


def _sources(model: SovereignModel) -> Iterator[Source]:
    yield model.spec.model.source
    yield from (adapter.source for adapter in model.spec.adapters)


def _volume(source: Source) -> Manifest:
    if source.oci:
        return {"image": {"reference": source.oci.image, "pullPolicy": source.oci.pull_policy}}
    if source.persistent_volume_claim:
        return {"persistentVolumeClaim": {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}}
    if source.host_path:
        # In the pod itself, so that the namespace's own Pod Security level judges it. Behind a PersistentVolume of
        # ours it would pass, and whoever may write a model could read any folder of a node.
        return {"hostPath": {"path": source.host_path.path, "type": "Directory"}}
    raise ValueError("a source that cannot be mounted was planned")


def _mount(name: str, path: str, source: Source) -> Manifest:
    mount: Manifest = {"name": name, "mountPath": path, "readOnly": True}
    claim = source.persistent_volume_claim
    return {**mount, "subPath": claim.path} if claim and claim.path else mount
