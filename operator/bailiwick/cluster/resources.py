"""The resources that Bailiwick reads or writes, and how their URLs are made."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API serves it. ``group`` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """As manifests spell it: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection, an object or a subresource, percent-encoded.

        Without a namespace the collection of a namespaced kind spans all of them. Raises ValueError for an object of
        a namespaced kind without its namespace, and for a namespace on a cluster-scoped kind.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.kind} is cluster-scoped, but namespace {namespace!r} was given")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.kind} {name!r} needs a namespace")
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


class _Release(Resource):
    """What the API server says of itself, which is no kind."""

    __slots__ = ()

    def path(self, *_: str | None) -> str:
        """The URL path."""
        return "/version"


RELEASE = _Release("", "", "version", "Info", namespaced=False)


class _Kinds(Resource):
    """Which kinds a version of a group has, which is no kind either."""

    __slots__ = ()

    def path(self, *_: str | None) -> str:
        """The URL path."""
        return Resource.path(self).rpartition("/")[0]


def kinds_of(api_version: str) -> Resource:
    """What a group and version, such as ``apps/v1``, offers."""
    group, _, version = api_version.rpartition("/")
    return _Kinds(group, version, "kinds", "APIResourceList", namespaced=False)


def _bailiwick(plural: str, kind: str, *, namespaced: bool = False) -> Resource:
    return Resource("bailiwick.dev", "v1alpha1", plural, kind, namespaced)


def _admission(plural: str, kind: str) -> Resource:
    return Resource("admissionregistration.k8s.io", "v1", plural, kind, namespaced=False)


RESIDENCY_POLICIES = _bailiwick("residencypolicies", "ResidencyPolicy")
SOVEREIGN_MODELS = _bailiwick("sovereignmodels", "SovereignModel", namespaced=True)
JURISDICTIONS = _bailiwick("jurisdictions", "Jurisdiction")
TERRITORIES = _bailiwick("territories", "Territory")
ACCELERATOR_CLASSES = _bailiwick("acceleratorclasses", "AcceleratorClass")
AUTHORITIES = _bailiwick("authorities", "Authority")
ENDPOINT_STATEMENTS = _bailiwick("endpointstatements", "EndpointStatement")
NODE_STATEMENTS = _bailiwick("nodestatements", "NodeStatement")
RESIDENCY_WAIVERS = _bailiwick("residencywaivers", "ResidencyWaiver")
WAIVER_APPROVALS = _bailiwick("waiverapprovals", "WaiverApproval")

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
BINDINGS = Resource("", "v1", "bindings", "Binding", namespaced=True)
SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced=True)
PERSISTENT_VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
JOBS = Resource("batch", "v1", "jobs", "Job", namespaced=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", namespaced=True)
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", namespaced=True)
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True)
RESOURCE_CLAIM_TEMPLATES = Resource(
    "resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate", namespaced=True
)
HORIZONTAL_POD_AUTOSCALERS = Resource(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", namespaced=True
)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", namespaced=True)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
# Of other projects: a cluster has them, or has not.
LEADER_WORKER_SETS = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet", namespaced=True)
GATEWAYS = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway", namespaced=True)
HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", namespaced=True)
INFERENCE_POOLS = Resource("inference.networking.k8s.io", "v1", "inferencepools", "InferencePool", namespaced=True)
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", namespaced=True)
REPORTS = Resource("openreports.io", "v1alpha1", "reports", "Report", namespaced=True)
POLICY_REPORTS = Resource("wgpolicyk8s.io", "v1alpha2", "policyreports", "PolicyReport", namespaced=True)
VALIDATING_POLICIES = _admission("validatingadmissionpolicies", "ValidatingAdmissionPolicy")
VALIDATING_BINDINGS = _admission("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding")
MUTATING_POLICIES = _admission("mutatingadmissionpolicies", "MutatingAdmissionPolicy")
VALIDATING_WEBHOOKS = _admission("validatingwebhookconfigurations", "ValidatingWebhookConfiguration")
MUTATING_BINDINGS = _admission("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding")

RESOURCES = tuple(value for value in list(globals().values()) if isinstance(value, Resource))
"""All of the above."""


def of_kind(kind: str) -> Resource:
    """The resource that a manifest's kind names. Raises KeyError with the kind when Bailiwick does not use it."""
    return _BY_KIND[kind]


_BY_KIND = {resource.kind: resource for resource in RESOURCES}
