"""Weights are compared with what their owner said of them before the engine starts, in the pod that will serve them.

An init container does it, because what counts are the files that this very pod reads, on its node, at its start. Its
image is named apart from the operator's, so that an upgrade of the operator restarts no model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.api.authority import Question
from bailiwick.evidence.certificates import root
from bailiwick.evidence.dsse import EvidenceError
from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload import sources
from bailiwick.workload.containers import LOGS_TELL, RESTRICTED
from bailiwick.workload.troubles import VERIFY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bailiwick.api.authority import Authority, PublicKey, RootCertificate, Signer
    from bailiwick.api.modelsource import Manifest as FileManifest
    from bailiwick.api.modelsource import ModelSignature, ProfileReference, Source
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.naming import Manifest
    from bailiwick.workload.placing import Placing

CONTAINER: Final = VERIFY
"""Name of the init container for the model; those for adapters have theirs behind a dash."""
PATH: Final = "/verification"
"""Where ConfigMaps with manifests, signatures and profiles are mounted."""

_MANIFEST_FILE, _SIGNATURE_FILE, _PROFILE_FILE = "SHA256SUMS", "model.sig", "profile.json"
_WEIGHTS: Mapping[EngineName, str] = {EngineName.LLAMA_CPP: "gguf"}
"""The kind of weights that an engine reads, where it is not safetensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One folder of weights, and what was said of it. ``volume`` is its volume, ``where`` its field."""

    volume: str
    where: str
    source: Source
    digest: str | None
    manifest: FileManifest | None
    signature: ModelSignature | None
    profile: ProfileReference | None = None

    @property
    def container(self) -> str:
        """Name of the container that verifies it."""
        return CONTAINER if self.volume == sources.MODEL else f"{CONTAINER}-{self.volume}"

    @property
    def told(self) -> bool:
        """Whether anybody said what its files must hold."""
        return bool(self.digest or self.manifest or self.signature)

    @property
    def pinned(self) -> bool:
        """Whether the container runtime checks it: an image by digest, mounted or copied by a program of ours."""
        return bool(self.source.oci and "@sha256:" in self.source.oci.image)


def items(model: SovereignModel) -> Iterator[Item]:
    """The model, or each of its variants while none is chosen; then its adapters."""
    # Models of other engines are not sized, so what they have of a profile changes nothing.
    sized = model.spec.engine.name is EngineName.VLLM
    for told in model.spec.weights:
        yield Item(
            volume=sources.MODEL if told.adapter is None else sources.adapter_volume(told.adapter),
            where=told.where, source=told.source, digest=told.digest, manifest=told.manifest,
            signature=told.signature, profile=told.profile if sized else None,
        )  # fmt: skip


def refusal(model: SovereignModel, authorities: Mapping[str, Authority]) -> Verdict | None:
    """Why a signature cannot be verified, and what to do; None when all can."""
    for item in items(model):
        if item.signature is None:
            continue
        name, where = item.signature.authority, f"{item.where}.signature.authority"
        authority = authorities.get(name)
        if authority is None:
            known = ", ".join(sorted(authorities)) or "none"
            return refuse(
                Reason.AUTHORITY_UNKNOWN,
                f"{where} names Authority {name}, which is not there; authorities of this cluster: {known}",
            )
        if Question.MODELS not in authority.spec.may_vouch_for:
            return refuse(
                Reason.AUTHORITY_NOT_ALLOWED,
                f"{where} names Authority {name}, which may not vouch for models but for "
                f"{', '.join(sorted(authority.spec.may_vouch_for))}; name one that may, or add models to its "
                f"spec.mayVouchFor",
            )
        if unusable := _unusable(authority):
            return refuse(Reason.AUTHORITY_NOT_ALLOWED, f"{where} names Authority {name}, whose {unusable}")
    return None


def _unusable(authority: Authority) -> str:
    """Which certificate of a CA cannot be one, and why; empty when all can."""
    for number, listed in enumerate(authority.spec.certificates):
        try:
            root(listed.pem, [_named(signer) for signer in listed.signers])
        except EvidenceError as error:
            return f"spec.certificates[{number}] cannot be used: {error}"
    return ""


def needed(model: SovereignModel) -> list[Item]:
    """What is looked at in the pod: everything but images by digest of which nobody said more."""
    return [item for item in items(model) if item.told or item.profile or not item.pinned]


def unknown_content(model: SovereignModel) -> str:
    """Of which files nobody said what they must hold, as the middle of a sentence; empty when somebody did of all."""
    return ", ".join(f"{item.where}.source" for item in needed(model) if not (item.told or item.pinned))


def kind_of(model: SovereignModel) -> str:
    """The kind of weights that the model's engine reads."""
    return _WEIGHTS.get(model.spec.engine.name, "safetensors")


def containers(placing: Placing) -> list[Manifest]:
    """One init container for each folder; none where the container runtime checks everything."""
    mounts = {mount["name"]: mount for mount in sources.mounts(placing.model)}
    return [_container(placing, item, mounts[item.volume]) for item in needed(placing.model)]


def volumes(model: SovereignModel) -> list[Manifest]:
    """ConfigMaps with manifests, signatures and profiles. A missing one is an empty folder: the container says so."""
    return [
        {
            "name": name,
            "configMap": {"name": config_map, "items": [{"key": key, "path": file}], "optional": True},
        }
        for item in needed(model)
        for name, config_map, key, file in _config_maps(item)
    ]


def _config_maps(item: Item) -> Iterator[tuple[str, str, str, str]]:
    """Name of the volume, ConfigMap, key, and the file that it becomes."""
    if item.manifest:
        yield f"{item.volume}-manifest", item.manifest.config_map, item.manifest.key, _MANIFEST_FILE
    if item.signature and item.signature.config_map:
        yield f"{item.volume}-signature", item.signature.config_map, _SIGNATURE_FILE, _SIGNATURE_FILE
    if item.profile:
        yield f"{item.volume}-profile", item.profile.config_map, item.profile.key, _PROFILE_FILE


def _container(placing: Placing, item: Item, mount: Manifest) -> Manifest:
    config = [{"name": name, "mountPath": f"{PATH}/{name}", "readOnly": True} for name, *_ in _config_maps(item)]
    return {
        "name": item.container,
        "image": placing.weights_image,
        "args": ["weights", *_arguments(placing, item, mount["mountPath"])],
        **LOGS_TELL,
        "securityContext": RESTRICTED,
        "volumeMounts": [mount, *config],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    }


def _arguments(placing: Placing, item: Item, folder: str) -> Iterator[str]:
    profile = [f"--profile={PATH}/{item.volume}-profile/{_PROFILE_FILE}"] if item.profile else []
    if item.pinned and not item.told:
        # Its files are what the digest says, whatever kinds they are of.
        yield from ("compare", *profile, folder)
        return
    yield "verify"
    yield f"--weights={kind_of(placing.model)}"
    if item.digest:
        yield f"--digest={item.digest}"
    if item.manifest:
        yield f"--manifest={PATH}/{item.volume}-manifest/{_MANIFEST_FILE}"
    if item.signature:
        beside = f"{folder}/{_SIGNATURE_FILE}"
        given = f"{PATH}/{item.volume}-signature/{_SIGNATURE_FILE}"
        yield f"--signature={given if item.signature.config_map else beside}"
        signing = placing.authorities[item.signature.authority].spec
        for key in signing.public_keys:
            yield f"--key={_key(key)}"
        for listed in signing.certificates:
            yield f"--root={_root(listed)}"
    yield from (*profile, folder)


def _key(key: PublicKey) -> str:
    """The key without its PEM frame, and until when it counts: one argument that reads the same everywhere."""
    encoded = _unframed(key.pem)
    return f"{encoded}@{key.not_after:%Y-%m-%dT%H:%M:%SZ}" if key.not_after else encoded


def _root(listed: RootCertificate) -> str:
    """The certificate without its PEM frame, and whose signatures count. The kubelet would read $( as a variable."""
    signers = json.dumps([dict([_named(signer)]) for signer in listed.signers]).replace("$", "\\u0024")
    return f"{_unframed(listed.pem)}@{signers}" if listed.signers else _unframed(listed.pem)


def _named(signer: Signer) -> tuple[str, str]:
    (named,) = signer.model_dump(exclude_none=True).items()
    return named


def _unframed(pem: str) -> str:
    return "".join(pem.split("-----")[2].split())
