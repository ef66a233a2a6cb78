"""Profiles of models in files: ConfigMaps, as people commit them and a cluster takes them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.api.modelsource import ProfileReference
from bailiwick.cli.files.manifests import UnusableError, content, manifests
from bailiwick.workload.sizing.profile import LABEL, read_profile, write_profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.sizing.profile import Profile


def reference(model: SovereignModel) -> ProfileReference:
    """Where the operator looks for the model's profile; where it would best look, when the model names no place."""
    return model.spec.model.profile or ProfileReference(config_map=f"{model.metadata.name or 'model'}-profile")


def write(path: Path, model: SovereignModel, told: Sequence[tuple[ProfileReference, Profile]]) -> None:
    """Write ConfigMaps that hold profiles. Raises UnusableError, or UnsizableError for one that is too long."""
    held: dict[str, dict[str, str]] = {}
    for where, profile in told:
        held.setdefault(where.config_map, {})[where.key] = write_profile(profile)
    space = {"namespace": model.metadata.namespace} if model.metadata.namespace else {}
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, **space, "labels": {LABEL: "true"}},
            "data": data,
        }
        for name, data in held.items()
    ]
    try:
        path.write_text(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=1 << 20))
    except OSError as error:
        raise UnusableError(f"{path} cannot be written: {error.strerror}") from None


def read(path: Path, where: ProfileReference, named_by: str, *, by_name: bool = False) -> Profile:
    """The profile that a file's ConfigMap holds. Raises UnusableError and UnsizableError.

    The only ConfigMap of a file is the one, whatever its name, unless it is asked for ``by_name``.
    """
    found = manifests(path, "ConfigMap", api_version="v1")
    if by_name or len(found) > 1:
        found = [each for each in found if (each.get("metadata") or {}).get("name") == where.config_map]
    if len(found) != 1:
        raise UnusableError(f"{path} holds {len(found)} ConfigMaps {where.config_map}, which {named_by} names; give 1")
    labels = (found[0].get("metadata") or {}).get("labels") or {}
    if labels.get(LABEL) != "true":
        raise UnusableError(f'{path}: the operator reads only ConfigMaps with the label {LABEL}: "true"; add it')
    text = (found[0].get("data") or {}).get(where.key)
    if not isinstance(text, str):
        raise UnusableError(f"{path} has no key {where.key}, which {named_by} names")
    return read_profile(text)


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of small files by what the model calls them. Raises UnusableError."""
    return {name: f"sha256:{hashlib.sha256(content(path)).hexdigest()}" for name, path in files.items()}


class _Dumper(yaml.SafeDumper):
    """Long text as a block, so that a change of one line is a difference of one line."""


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
