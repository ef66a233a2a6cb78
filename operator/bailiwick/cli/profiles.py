"""Profiles of models in files: ConfigMaps, as people commit them and a cluster takes them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.api.modelsource import ProfileReference
from bailiwick.cli.manifests import UnusableError, content, manifests
from bailiwick.workload.sizing.profile import LABEL, read_profile, write_profile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.sizing.profile import Profile


def reference(model: SovereignModel) -> ProfileReference:
    """Where the operator looks for the model's profile; where it would best look, when the model names no place."""
    return model.spec.model.profile or ProfileReference(config_map=f"{model.metadata.name or 'model'}-profile")


def write(path: Path, model: SovereignModel, profile: Profile) -> None:
    """Write the ConfigMap that holds a profile. Raises UnusableError, or UnsizableError for one that is too long."""
    where = reference(model)
    space = {"namespace": model.metadata.namespace} if model.metadata.namespace else {}
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": where.config_map, **space, "labels": {LABEL: "true"}},
        "data": {where.key: write_profile(profile)},
    }
    try:
        path.write_text(yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=1 << 20))
    except OSError as error:
        raise UnusableError(f"{path} cannot be written: {error.strerror}") from None


def read(path: Path, model: SovereignModel) -> Profile:
    """The profile that a file's ConfigMap holds. Raises UnusableError and UnsizableError."""
    where = reference(model)
    (manifest,) = manifests(path, "ConfigMap", only=1, api_version="v1")
    labels = (manifest.get("metadata") or {}).get("labels") or {}
    if labels.get(LABEL) != "true":
        raise UnusableError(f'{path}: the operator reads only ConfigMaps with the label {LABEL}: "true"; add it')
    text = (manifest.get("data") or {}).get(where.key)
    if not isinstance(text, str):
        raise UnusableError(f"{path} has no key {where.key}, which spec.model.profile names")
    return read_profile(text)


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of small files by what the model calls them. Raises UnusableError."""
    return {name: f"sha256:{hashlib.sha256(content(path)).hexdigest()}" for name, path in files.items()}


class _Dumper(yaml.SafeDumper):
    """Long text as a block, so that a change of one line is a difference of one line."""


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
