"""What a cluster holds, asked of the cluster or read from files: what decides, what is judged, and what is missing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
import yaml
from pydantic import ValidationError

from bailiwick.api.resource import GROUP
from bailiwick.api.schema import KINDS
from bailiwick.cli.files.located import QuickLoader
from bailiwick.cli.files.manifests import UnusableError, read, texts
from bailiwick.cli.live import reaching
from bailiwick.cli.live.explain import judged_by, list_into
from bailiwick.cli.offline.check import objection_to
from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError, NotFound
from bailiwick.cluster.resources import Resource
from bailiwick.control.stores import Stores
from bailiwick.preview.defaults import default_class
from bailiwick.residency import border

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bailiwick.cluster.api import Api
    from bailiwick.cluster.store import Store

Raw = dict[str, Any]

_CLASSES: Final = (
    Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False),
    Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False),
)
_JUDGED: Final = (
    resources.PODS,
    resources.SERVICES,
    Resource("", "v1", "endpoints", "Endpoints", namespaced=True),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", namespaced=True),
    resources.PERSISTENT_VOLUME_CLAIMS,
    resources.PERSISTENT_VOLUMES,
    resources.DEPLOYMENTS,
    Resource("apps", "v1", "statefulsets", "StatefulSet", namespaced=True),
    Resource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True),
    resources.JOBS,
    Resource("batch", "v1", "cronjobs", "CronJob", namespaced=True),
    Resource("networking.k8s.io", "v1", "ingresses", "Ingress", namespaced=True),
    resources.NETWORK_POLICIES,
    resources.GATEWAYS,
)
"""What a cluster is asked for beside what decides. Kinds of other projects that are not here are judged from files."""
_READ: Final = {each.__name__: each for each in KINDS}


@dataclass(slots=True)
class Material:
    """``stores`` hold what decides, ``objects`` is what is judged, ``unseen`` says what is missing, and why."""

    stores: Stores = field(default_factory=Stores)
    objects: list[Raw] = field(default_factory=list)
    classes: dict[str, str | None] = field(default_factory=dict)
    """The default by kind of class; None where there is none, absent where nobody knows."""
    unseen: list[str] = field(default_factory=list)
    pins: bool = True
    """Whether pods are pinned. Files do not tell."""

    def deciding(self) -> Mapping[str, Store]:
        """The stores by kind."""
        return {store.resource.kind: store for store in (*judged_by(self.stores), self.stores.models)}

    def classify(self, raw: Raw) -> None:
        """Take in a StorageClass or IngressClass."""
        self.classes.setdefault(raw["kind"], None)
        if default_class(raw):
            self.classes[raw["kind"]] = raw["metadata"]["name"]


async def from_cluster(api: Api, tell: Callable[[str], None]) -> Material:
    """Ask a cluster for everything. Raises UnusableError when what decides may not be seen, and ApiError."""
    found = Material()
    stores = tuple(found.deciding().values())
    tell(f"asking for {len(stores) + len(_JUDGED) + len(_CLASSES)} kinds")
    outcomes = await asyncio.gather(*(list_into(store, api) for store in stores), return_exceptions=True)
    failures = [each for each in outcomes if isinstance(each, BaseException)]
    for each in failures:
        if not isinstance(each, UnusableError):
            raise each
    if failures:
        raise UnusableError("; ".join(dict.fromkeys(map(str, failures))))
    # One after the other: each may hold thousands, and the API server has more to do.
    for resource in (*_CLASSES, *_JUDGED):
        try:
            await _ask(api, resource, found, tell)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                continue
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            found.unseen.append(reaching.refused(error, resource))
    found.pins = await _pins(api, found)
    found.objects += (raw for _, raw in found.stores.models.items())
    for kind, store in found.deciding().items():
        found.unseen += _unreadable(kind, store)
    return found


async def _pins(api: Api, found: Material) -> bool:
    """Whether the policy that pins pods is there. The chart leaves it out where it is unwanted or unknown."""
    try:
        await api.get(resources.MUTATING_POLICIES, border.PIN)
    except NotFound:
        return False
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        found.unseen.append(reaching.refused(error, resources.MUTATING_POLICIES))
    return True


async def _ask(api: Api, resource: Resource, found: Material, tell: Callable[[str], None]) -> None:
    count = 0
    async for page in api.pages(resource):
        count += len(page.items)
        tell(f"{resource.plural}: {count}")
        for raw in page.items:
            raw["metadata"].pop("managedFields", None)
            if resource in _CLASSES:
                found.classify(raw)
            else:
                found.objects.append(raw)
    if resource in _CLASSES:
        found.classes.setdefault(resource.kind, None)


def _unreadable(kind: str, store: Store) -> Iterator[str]:
    """Objects of ours that count for nothing, because this release cannot read them."""
    for (_, name), raw in store.items() if kind in _READ else ():
        try:
            _READ[kind].read(raw)
        except ValidationError:
            yield f"{kind} {name} is not what this release can read, so nobody knows what it asks"


def from_files(paths: Sequence[Path], shipped: Iterable[Raw], tell: Callable[[str], None]) -> Material:
    """Read exported objects. ``shipped`` jurisdictions count where none of a name is given. Raises UnusableError."""
    found = Material()
    deciding, given = found.deciding(), Counter[str]()
    taken: dict[str, list[Raw]] = {kind: [] for kind in deciding}
    for where, text in texts(paths, deep=True):
        tell(f"reading {where}")
        for raw in _flat(_loaded(text, where), where):
            kind = raw["kind"]
            ours = raw["apiVersion"].partition("/")[0] == GROUP
            given[kind] += 1
            if ours and kind in _READ:
                read(_READ[kind], raw, f"{where} ({kind} {raw['metadata'].get('name')})")
            if kind in taken and (ours or raw["apiVersion"] == "v1"):
                taken[kind].append(raw)
            elif kind in {each.kind for each in _CLASSES}:
                found.classify(raw)
            if (not ours and kind not in taken) or kind == "SovereignModel":
                raw["metadata"].pop("managedFields", None)
                found.objects.append(raw)
    named = {raw["metadata"]["name"] for raw in taken["Jurisdiction"]}
    taken["Jurisdiction"] += (raw for raw in shipped if raw["metadata"]["name"] not in named)
    for kind, store in deciding.items():
        fill(store, taken[kind])
    found.unseen += (
        f"no {kind} is given, so {what}; add kubectl get {plural} -o json"
        for kind, plural, what in (
            ("Node", "nodes", "nobody knows who is inside, and where models and pods have a place"),
            ("Namespace", "namespaces", "nobody knows what the policies govern"),
        )
        if not given[kind]
    )
    return found


def fill(store: Store, manifests: Iterable[Raw]) -> None:
    """Put objects into a store. Those of files may have no uid, and versions that tell nothing."""
    store.replace(
        [
            {**raw, "metadata": {**raw["metadata"], "uid": raw["metadata"].get("uid") or "", "resourceVersion": "1"}}
            for raw in manifests
        ],
        "1",
    )


def with_changes(stores: Stores, policies: Mapping[str, Raw], removed: Iterable[str], named: Sequence[Raw]) -> Stores:
    """The same stores with other policies, and with ``named`` jurisdictions in the place of those of their names."""
    kept = {name: raw for (_, name), raw in stores.policies.items() if name not in set(removed)}
    atlas = {name: raw for (_, name), raw in stores.jurisdictions.items()}
    fresh = Stores()
    fill(fresh.policies, {**kept, **policies}.values())
    fill(fresh.jurisdictions, {**atlas, **{raw["metadata"]["name"]: raw for raw in named}}.values())
    return replace(stores, policies=fresh.policies, jurisdictions=fresh.jurisdictions)


def _loaded(text: bytes, where: str) -> Iterator[Any]:
    """The documents of a text: JSON as kubectl writes it is read far quicker than YAML."""
    try:
        if text.lstrip()[:1] == b"{":
            yield orjson.loads(text)
        else:
            yield from yaml.load_all(text, QuickLoader)
    except orjson.JSONDecodeError as error:
        raise UnusableError(f"{where} is not JSON: {error}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise UnusableError(f"{where} is not YAML") from None


def _flat(documents: Iterable[Any], where: str) -> Iterator[Raw]:
    """Every object, those of Lists one by one."""
    for raw in documents:
        if raw is None:
            continue
        items = raw.get("items") if isinstance(raw, dict) and str(raw.get("kind")).endswith("List") else None
        if isinstance(items, list):
            kind, version = raw["kind"].removesuffix("List"), raw.get("apiVersion")
            yield from _flat(({"apiVersion": version, "kind": kind, **each} for each in items), where)
            continue
        if wrong := objection_to(raw):
            raise UnusableError(f"{where}: {wrong}")
        if objection_to(raw) is None:
            yield raw
