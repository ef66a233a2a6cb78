"""Every permission of our own identities, and the call in the code that needs it.

A permission is written ``verb plural.group/subresource name``; the core group and an absent name are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from bailiwick.cluster import resources
from bailiwick.control.stores import Stores
from tests.chart.helm import CHART

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.cluster.resources import Resource
    from e2e.client import Manifest

OPERATOR, CANARY, ADMISSION = "bailiwick-operator", "bailiwick-canary", "bailiwick-admission"


@dataclass(frozen=True, slots=True)
class Need:
    """Permissions that one call needs: the module, below operator/bailiwick, and how the call is written there."""

    permissions: frozenset[str]
    module: str
    call: str


def permissions(manifest: Manifest) -> frozenset[str]:
    """Everything that a rendered Role or ClusterRole grants."""
    return frozenset(
        _written(verb, resource, group, name)
        for rule in manifest["rules"]
        for verb, resource, group, name in product(
            rule["verbs"], rule["resources"], rule["apiGroups"], rule.get("resourceNames", [""])
        )
    )


def _written(verb: str, resource: str, group: str, name: str) -> str:
    plural, slash, subresource = resource.partition("/")
    return f"{verb} {plural}{group and '.'}{group}{slash}{subresource} {name}".rstrip()


def _all(verbs: str, kinds: Iterable[Resource], subresource: str = "", names: Iterable[str] = ("",)) -> frozenset[str]:
    return frozenset(
        _written(verb, kind.plural + subresource, kind.group, name)
        for verb, kind, name in product(verbs.split(), kinds, tuple(names))
    )


ROOT = CHART.parents[1]
SOURCE = ROOT / "operator/bailiwick"


def _asked_by_webhook() -> list[Resource]:
    """The kinds that the webhook keeps stores of, as its code names them."""
    text = (SOURCE / "admission/known.py").read_text()
    return [getattr(resources, name) for name in re.findall(r"Store\(resources\.(\w+)", text)]


_STORES = Stores()
_KEPT = [store.resource for store in (*_STORES, *_STORES.optional)]
_CHILDREN = [store.resource for store in _STORES.children]
_REPORTED = [store.resource for store in _STORES.reports]
_POLICIES = [resources.VALIDATING_POLICIES, resources.MUTATING_POLICIES]
_BINDINGS = [resources.VALIDATING_BINDINGS, resources.MUTATING_BINDINGS]
_OF_THE_CHART = [f"bailiwick-{path.stem}" for path in sorted((CHART / "policies").glob("*.yaml"))]
_STATED = [resources.RESIDENCY_POLICIES, resources.SOVEREIGN_MODELS, resources.RESIDENCY_WAIVERS]

_LEADS = (
    Need(_all("create", [resources.LEASES]), "cluster/lease.py", "self._api.create(LEASES, "),
    Need(_all("get", [resources.LEASES], names=[OPERATOR]), "cluster/lease.py", "self._api.get(LEASES, "),
    Need(_all("patch", [resources.LEASES], names=[OPERATOR]), "cluster/lease.py", "self._api.patch_merge(LEASES, "),
)
_KNOWS = (
    Need(_all("list", _KEPT), "cluster/listwatch.py", "self._api.pages("),
    Need(_all("watch", _KEPT), "control/kopf_events.py", "kopf.on.event("),
    Need(_all("list", [resources.PERSISTENT_VOLUMES]), "control/datapaths.py", "list(resources.PERSISTENT_VOLUMES)"),
    Need(
        _all("get", [resources.NODES, resources.TERRITORIES]),
        "control/confirm.py",
        "self._live(resources.",
    ),
    Need(
        _all("get", [resources.CONFIG_MAPS], names=["bailiwick-border"]),
        "control/keeper.py",
        "self._api.get(resources.CONFIG_MAPS, NAME, ",
    ),
)
_DRAWS = (
    Need(_all("create patch", [resources.TERRITORIES]), "control/territory.py", "apply(territory.manifest)"),
    Need(_all("delete", [resources.TERRITORIES]), "control/territory.py", "delete(resources.TERRITORIES, name)"),
    Need(_all("patch", [resources.NODES]), "control/territory.py", "label(resources.NODES, "),
    Need(_all("patch", [resources.NAMESPACES]), "control/territory.py", "label(resources.NAMESPACES, "),
    Need(_all("create", _BINDINGS), "control/territory.py", "self._writer.keep(binding)"),
    Need(_all("delete", _BINDINGS), "control/territory.py", "delete(store.resource, name)"),
    Need(_all("create", _POLICIES), "control/keeper.py", "self._writer.keep(chart.as_installed(manifest)"),
    Need(_all("get", [*_POLICIES, *_BINDINGS]), "cluster/exact.py", "await api.get(resource, name)"),
    Need(
        _all("patch", _BINDINGS) | _all("patch", _POLICIES, names=_OF_THE_CHART),
        "cluster/exact.py",
        "api.patch_json(resource, name, None, ",
    ),
)
_SERVES = (
    Need(_all("get", _CHILDREN), "cluster/apply.py", "api.get(resource, name, namespace)"),
    Need(_all("create patch", _CHILDREN), "cluster/apply.py", "api.apply(resource, "),
    Need(_all("delete", _CHILDREN), "control/model.py", "self._writer.remove(resource, child)"),
    # Asked for by the admission plug-in OwnerReferencesPermissionEnforcement, where it is on.
    Need(_all("update", [resources.SOVEREIGN_MODELS], "/finalizers"), "workload/naming.py", '"blockOwnerDeletion"'),
    Need(_all("patch", _STATED, "/status"), "cluster/api.py", 'operations, subresource="status")'),
    Need(_all("create", [resources.EVENTS]), "cluster/events.py", "self._api.create(EVENTS, "),
)
_AUDITS = (
    Need(_all("get", [resources.PODS]), "control/confirm.py", "api.get(resources.PODS, "),
    Need(_all("patch", [resources.PODS]), "control/ladder.py", "metadata(resources.PODS, "),
    Need(_all("create", [resources.PODS], "/eviction"), "control/ladder.py", '"eviction", eviction)'),
    Need(
        _all("delete", [resources.PODS]),
        "control/ladder.py",
        "await self._api.delete(\n                    resources.PODS",
    ),
)
_REPORTS = (
    Need(_all("get create patch", _REPORTED), "control/writer.py", "await ensure(self._api, resource, manifest, None)"),
    Need(_all("delete", _REPORTED), "control/reports.py", "self._writer.delete(store.resource, NAME, namespace)"),
)
_IMPERSONATES = (
    Need(frozenset({"impersonate serviceaccounts bailiwick-canary"}), "control/canary.py", ':{NAME}"),'),
    Need(
        frozenset({"impersonate users system:node:bailiwick-canary", "impersonate groups system:nodes"}),
        "control/canary.py",
        'Person(f"system:node:{NAME}", "system:nodes")',
    ),
)
_TRIES = (
    Need(_all("create", [resources.PODS, resources.BINDINGS]), "control/canary.py", "api.create(resource, body, "),
    Need(_all("create", [resources.PODS], "/binding"), "control/canary.py", "api.post_subresource("),
    Need(
        _all("patch", [resources.NODES, resources.NAMESPACES, resources.TERRITORIES])
        | _all("patch", [resources.NODES], "/status"),
        "control/canary.py",
        "api.patch_merge(",
    ),
)
_KNOWS_OF_WEBHOOK = (
    Need(_all("list", _asked_by_webhook()), "cluster/listwatch.py", "self._api.pages("),
    Need(_all("watch", _asked_by_webhook()), "cluster/listwatch.py", "self._api.watch("),
    *(
        Need(_all("get", [kind]), "admission/known.py", f"self._get({name}, ")
        for name, kind in {
            "resources.NAMESPACES": resources.NAMESPACES,
            "resources.PERSISTENT_VOLUMES": resources.PERSISTENT_VOLUMES,
            "resources.PERSISTENT_VOLUME_CLAIMS": resources.PERSISTENT_VOLUME_CLAIMS,
        }.items()
    ),
    Need(frozenset({"get storageclasses.storage.k8s.io"}), "admission/known.py", "self._get(_CLASSES, "),
    Need(
        frozenset({"create subjectaccessreviews.authorization.k8s.io"}),
        "admission/known.py",
        "self._api.create(_REVIEWS, ",
    ),
)
_CERTIFIES = tuple(
    Need(_all(verb, [kind], names=[ADMISSION]), "admission/identity.py", call)
    for verb, kind, call in (
        ("get", resources.SECRETS, "self._api.get(SECRETS, NAME, "),
        ("patch", resources.SECRETS, "self._api.patch_merge(SECRETS, NAME, "),
        ("get", resources.VALIDATING_WEBHOOKS, "self._api.get(CONFIGURATIONS, NAME"),
        ("patch", resources.VALIDATING_WEBHOOKS, "self._api.patch_json(CONFIGURATIONS, NAME, "),
    )
)

NEEDS = {
    OPERATOR: (*_LEADS, *_KNOWS, *_DRAWS, *_SERVES, *_AUDITS, *_REPORTS, *_IMPERSONATES),
    CANARY: _TRIES,
    ADMISSION: (*_KNOWS_OF_WEBHOOK, *_CERTIFIES),
}
"""By the service account that is granted it."""
