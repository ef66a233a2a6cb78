"""The chart's in-tree policies, as a ConfigMap of Bailiwick's namespace holds them: what the border must look like.

Whoever installs or upgrades Bailiwick writes it together with the policies themselves, and before them. So it always
says what the newest release wants, whichever release the operator is of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from bailiwick.cluster import resources
from bailiwick.cluster.api import FIELD_MANAGER
from bailiwick.control.stores import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bailiwick.cluster.api import Raw

NAME: Final = "bailiwick-border"
"""The ConfigMap. Each of its values is a file of the chart's folder ``policies``."""

_KINDS: Final = frozenset(
    resource.kind
    for resource in (resources.VALIDATING_POLICIES, resources.MUTATING_POLICIES, resources.VALIDATING_BINDINGS)
)
_INSTALLER: Final = ("app.kubernetes.io/managed-by", "meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
"""Labels and annotations by which Helm knows its own objects."""

Key = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What one state of the ConfigMap says. ``manager`` is the field manager of whoever wrote it."""

    version: str
    objects: Mapping[Key, Raw]
    manager: str
    marks: Mapping[str, Mapping[str, str]]
    """What the installer put on all its objects, under ``labels`` and ``annotations``."""

    @property
    def static(self) -> frozenset[str]:
        """The policies that the chart itself puts into force."""
        return frozenset(each["spec"]["policyName"] for each in self.bindings())

    def bindings(self) -> Iterator[Raw]:
        """The chart's own bindings."""
        return (each for (kind, _), each in self.objects.items() if kind == resources.VALIDATING_BINDINGS.kind)

    def as_installed(self, manifest: Raw) -> Raw:
        """An object of the chart as its installer would make it anew."""
        metadata = manifest["metadata"]
        marked = {key: {**metadata.get(key, {}), **marks} for key, marks in self.marks.items() if marks}
        return {**manifest, "metadata": {**metadata, **marked}}


def read_chart(config_map: Raw) -> Chart:
    """Raises ValueError where it holds anything but policies and bindings of ours: nothing of it counts then."""
    objects: dict[Key, Raw] = {}
    for file, text in sorted((config_map.get("data") or {}).items()):
        for manifest in _documents(file, text):
            objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
    if not objects:
        raise ValueError(f"ConfigMap {NAME} is empty")
    metadata = config_map["metadata"]
    return Chart(
        version=metadata["resourceVersion"],
        objects=objects,
        manager=_manager(metadata.get("managedFields") or ()),
        marks={
            key: {name: value for name, value in (metadata.get(key) or {}).items() if name in _INSTALLER}
            for key in ("labels", "annotations")
        },
    )


def _documents(file: str, text: str) -> Iterator[Raw]:
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} of ConfigMap {NAME} is no YAML: {error}") from error
    for document in documents:
        if document is None:
            continue
        if not _is_ours(document):
            raise ValueError(f"{file} of ConfigMap {NAME} holds something else than policies and bindings of Bailiwick")
        yield document


def _is_ours(document: Any) -> bool:
    try:
        name, version = document["metadata"]["name"], document["apiVersion"]
        known = document["kind"] in _KINDS and version == resources.VALIDATING_POLICIES.api_version
        bound = document["kind"] != resources.VALIDATING_BINDINGS.kind or document["spec"]["policyName"]
        return bool(known and bound and name.startswith(PREFIX) and document["spec"])
    except (KeyError, TypeError, AttributeError):
        return False


def _manager(managed_fields: Iterable[Raw]) -> str:
    """Who wrote the policies' text last."""
    writers = [entry for entry in managed_fields if "f:data" in (entry.get("fieldsV1") or {})]
    return str(max(writers, key=lambda entry: entry.get("time", ""))["manager"]) if writers else FIELD_MANAGER
