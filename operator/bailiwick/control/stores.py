"""The stores that the operator's loops read, one per kind, and how each is fed."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from bailiwick.cluster import resources, trim
from bailiwick.cluster.api import Raw
from bailiwick.cluster.resources import Resource
from bailiwick.cluster.store import Store
from bailiwick.residency import quarantine, report
from bailiwick.residency.audit import read_pod, runs
from bailiwick.workload.importing import IMPORT_LABEL
from bailiwick.workload.sizing.profile import LABEL as PROFILE_LABEL
from bailiwick.workload.sizing.profile import LONGEST as LONGEST_PROFILE

MANAGED = "app.kubernetes.io/managed-by=bailiwick"
"""Label selector of everything that the operator makes in namespaces."""
MODEL_LABEL = "bailiwick.dev/model"
PREFIX = "bailiwick-"
"""What every in-tree policy and binding of ours is called."""
BY_MODEL = "model"
BY_IMPORT = "import"
"""Files pods that import weights, by the key of their model."""
BY_NAMESPACE = "namespace"
BY_PROFILE = "profile"
"""Files models by the ConfigMap that their profile is in."""
BY_ENDPOINT = "endpoint"
"""Files models by the EndpointStatement that they are served by."""
BY_NODE = "node"
BY_GROUP = "group"
MARKED = "marked"
"""Files pods on which the audit left something, by namespace."""
IN_QUARANTINE = "quarantine"
"""Files pods in quarantine, by namespace."""

OFTEN, SELDOM = 60.0, 300.0
"""Seconds between relists. A lost revocation is a hole; anything else is repaired a little later."""


def _model_of(manifest: Raw) -> Iterable[Hashable]:
    metadata = manifest["metadata"]
    name = metadata.get("labels", {}).get(MODEL_LABEL)
    return ((metadata["namespace"], name),) if name else ()


def _namespace_of(manifest: Raw) -> Iterable[Hashable]:
    return (manifest["metadata"]["namespace"],)


def _profile_of(manifest: Raw) -> Iterable[Hashable]:
    model = (manifest.get("spec") or {}).get("model") or {}
    told = (each.get("profile") or {} for each in (model, *(model.get("variants") or ())))
    return {(manifest["metadata"]["namespace"], name) for each in told if (name := each.get("configMap"))}


def _endpoint_of(manifest: Raw) -> Iterable[Hashable]:
    source = ((manifest.get("spec") or {}).get("model") or {}).get("source") or {}
    name = (source.get("endpoint") or {}).get("statement")
    return (name,) if name else ()


def _replica_of(manifest: Raw) -> Iterable[Hashable]:
    """A pod of a model. Somebody else's pod may carry the model's label, but was not made by us."""
    label, _, value = MANAGED.partition("=")
    return _model_of(manifest) if manifest["metadata"].get("labels", {}).get(label) == value else ()


def _importer_of(manifest: Raw) -> Iterable[Hashable]:
    metadata = manifest["metadata"]
    labels, (label, _, value) = metadata.get("labels", {}), MANAGED.partition("=")
    name = labels.get(IMPORT_LABEL)
    return ((metadata["namespace"], name),) if name and labels.get(label) == value else ()


def _running_in(manifest: Raw) -> Iterable[Hashable]:
    return (manifest["metadata"]["namespace"],) if runs(manifest) else ()


def _running_on(manifest: Raw) -> Iterable[Hashable]:
    return (manifest["spec"]["nodeName"],) if runs(manifest) else ()


def _group_of(manifest: Raw) -> Iterable[Hashable]:
    pod = read_pod(manifest)
    return ((pod.namespace, pod.group),) if pod.group and runs(manifest) else ()


def _marked(manifest: Raw) -> Iterable[Hashable]:
    return (manifest["metadata"]["namespace"],) if quarantine.marked(manifest["metadata"]) else ()


def _in_quarantine(manifest: Raw) -> Iterable[Hashable]:
    metadata = manifest["metadata"]
    return (metadata["namespace"],) if quarantine.QUARANTINED in metadata.get("labels", {}) else ()


def _all_pods() -> Store:
    indices = {
        BY_MODEL: _replica_of,
        BY_IMPORT: _importer_of,
        BY_NAMESPACE: _running_in,
        BY_NODE: _running_on,
        BY_GROUP: _group_of,
        MARKED: _marked,
        IN_QUARANTINE: _in_quarantine,
    }
    return Store(resources.PODS, trim=trim.judged, indices=indices)


def _child(resource: Resource) -> Store:
    return Store(resource, trim=trim.child, indices={BY_MODEL: _model_of})


def _scaler(resource: Resource) -> Store:
    return Store(resource, trim=trim.scaler, indices={BY_MODEL: _model_of})


def _of_the_border(manifest: Raw) -> Raw:
    """Policies, bindings and webhooks of others are known by name alone."""
    return trim.child(manifest) if manifest["metadata"]["name"].startswith(PREFIX) else trim.labelled(manifest)


def _border(resource: Resource) -> Store:
    return Store(resource, trim=_of_the_border)


def _ours(resource: Resource) -> Store:
    return Store(resource, trim=trim.whole)


def _profile(manifest: Raw) -> Raw:
    """Anybody may write such a ConfigMap: one that can hold no profile takes no room of ours."""
    kept = trim.data(manifest)
    if sum(map(len, kept["data"].values())) > LONGEST_PROFILE:
        kept["data"] = dict.fromkeys(kept["data"], "")
    return kept


def _report(manifest: Raw) -> Raw:
    """Tenants may write into their report, or label one of their own: what is kept does not grow with that."""
    metadata = {key: manifest["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    return {"metadata": metadata, "digest": report.digest(manifest)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Everything that the loops may know."""

    policies: Store = field(default_factory=lambda: _ours(resources.RESIDENCY_POLICIES))
    jurisdictions: Store = field(default_factory=lambda: _ours(resources.JURISDICTIONS))
    authorities: Store = field(default_factory=lambda: _ours(resources.AUTHORITIES))
    statements: Store = field(default_factory=lambda: _ours(resources.NODE_STATEMENTS))
    endpoints: Store = field(default_factory=lambda: _ours(resources.ENDPOINT_STATEMENTS))
    waivers: Store = field(default_factory=lambda: _ours(resources.RESIDENCY_WAIVERS))
    approvals: Store = field(default_factory=lambda: _ours(resources.WAIVER_APPROVALS))
    classes: Store = field(default_factory=lambda: _ours(resources.ACCELERATOR_CLASSES))
    territories: Store = field(default_factory=lambda: Store(resources.TERRITORIES, trim=trim.child))
    models: Store = field(
        default_factory=lambda: Store(
            resources.SOVEREIGN_MODELS,
            trim=trim.whole,
            indices={BY_NAMESPACE: _namespace_of, BY_PROFILE: _profile_of, BY_ENDPOINT: _endpoint_of},
        )
    )
    profiles: Store = field(default_factory=lambda: Store(resources.CONFIG_MAPS, trim=_profile))
    nodes: Store = field(default_factory=lambda: Store(resources.NODES, trim=trim.node))
    namespaces: Store = field(default_factory=lambda: Store(resources.NAMESPACES, trim=trim.labelled))
    deployments: Store = field(
        default_factory=lambda: Store(resources.DEPLOYMENTS, trim=trim.workload, indices={BY_MODEL: _model_of})
    )
    jobs: Store = field(
        default_factory=lambda: Store(resources.JOBS, trim=trim.workload, indices={BY_MODEL: _model_of})
    )
    services: Store = field(default_factory=lambda: _child(resources.SERVICES))
    service_accounts: Store = field(default_factory=lambda: _child(resources.SERVICE_ACCOUNTS))
    network_policies: Store = field(default_factory=lambda: _child(resources.NETWORK_POLICIES))
    budgets: Store = field(default_factory=lambda: _child(resources.POD_DISRUPTION_BUDGETS))
    claim_templates: Store = field(default_factory=lambda: _child(resources.RESOURCE_CLAIM_TEMPLATES))
    autoscalers: Store = field(default_factory=lambda: _scaler(resources.HORIZONTAL_POD_AUTOSCALERS))
    pods: Store = field(default_factory=_all_pods)
    validating_policies: Store = field(default_factory=lambda: _border(resources.VALIDATING_POLICIES))
    mutating_policies: Store = field(default_factory=lambda: _border(resources.MUTATING_POLICIES))
    validating_bindings: Store = field(default_factory=lambda: _border(resources.VALIDATING_BINDINGS))
    mutating_bindings: Store = field(default_factory=lambda: _border(resources.MUTATING_BINDINGS))
    webhooks: Store = field(default_factory=lambda: _border(resources.VALIDATING_WEBHOOKS))

    scaled_objects: Store = field(default_factory=lambda: _scaler(resources.SCALED_OBJECTS))
    leader_worker_sets: Store = field(
        default_factory=lambda: Store(resources.LEADER_WORKER_SETS, trim=trim.workload, indices={BY_MODEL: _model_of})
    )
    routes: Store = field(default_factory=lambda: _child(resources.HTTP_ROUTES))
    pools: Store = field(default_factory=lambda: _child(resources.INFERENCE_POOLS))
    gateways: Store = field(default_factory=lambda: Store(resources.GATEWAYS, trim=trim.gateway))
    open_reports: Store = field(default_factory=lambda: Store(resources.REPORTS, trim=_report))
    policy_reports: Store = field(default_factory=lambda: Store(resources.POLICY_REPORTS, trim=_report))

    def __iter__(self) -> Iterator[Store]:
        """The stores of kinds that every cluster has."""
        every: Iterator[Store] = (getattr(self, name) for name in self.__slots__)
        return (store for store in every if not any(store is other for other in self.optional))

    @property
    def optional(self) -> tuple[Store, ...]:
        """Stores of kinds that other projects bring, or a newer Kubernetes: what pins is served from 1.36 on."""
        others = (self.scaled_objects, self.leader_worker_sets, self.routes, self.pools, self.gateways)
        return (*others, *self.reports, self.mutating_policies, self.mutating_bindings)

    @property
    def reports(self) -> tuple[Store, ...]:
        """Stores of the kinds of reports, the one to be written where both are served first."""
        return (self.open_reports, self.policy_reports)

    def of(self, resource: Resource) -> Store:
        """The store of a kind. Raises KeyError for one that the operator does not keep."""
        found: Store
        for found in (*self, *self.optional):
            if found.resource is resource:
                return found
        raise KeyError(resource.kind)

    @property
    def children(self) -> tuple[Store, ...]:
        """Stores of the objects that a model is turned into."""
        always = (self.deployments, self.services, self.service_accounts, self.network_policies, self.budgets)
        sometimes = (self.jobs, self.claim_templates, self.autoscalers)
        optional = (self.scaled_objects, self.leader_worker_sets, self.routes, self.pools)
        return (*always, *sometimes, *optional)

    @property
    def border(self) -> tuple[Store, ...]:
        """Stores of the in-tree policies and of what puts them into force."""
        return (self.validating_policies, self.mutating_policies, self.validating_bindings, self.mutating_bindings)

    def selector(self, store: Store) -> str:
        """The label selector by which a store's objects are watched; empty for all of them."""
        if store is self.profiles:
            return f"{PROFILE_LABEL}=true"  # never all ConfigMaps: others' may be large, and are none of our business
        return MANAGED if any(store is other for other in (*self.children, *self.reports)) else ""

    def relist_seconds(self, store: Store) -> float:
        """How often a store is replaced by a list."""
        waivers = (self.waivers, self.approvals)
        facts = (self.policies, self.jurisdictions, self.authorities, self.statements, self.endpoints, self.nodes)
        revocable = (*facts, *waivers, *self.border, self.webhooks)
        return OFTEN if store in revocable else SELDOM
