"""What somebody tries who may do nearly everything: one deed for each in-tree policy, which it alone refuses.

All of it by dry run, or about what does not exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.residency.quarantine import SINCE
from bailiwick.residency.territories import GOVERNED_LABEL
from e2e.client import ApiError, Manifest, documents
from e2e.cluster.places import ROOT
from tests.apiserver.operator_process import DIGEST, SYSTEM
from tests.apiserver.realm import ADMISSION, OURS, Policy, Realm, fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from e2e.client import Client

DENIED = re.compile(
    r"ValidatingAdmissionPolicy '(?P<policy>[^']+)' with binding '[^']+' denied request: (?P<reason>\w*)"
)
EVERYTHING_ASKED: Mapping[str, Any] = {
    "models": {"sources": ["oci://registry.example/models/"]},
    "network": {"services": ["ClusterIP"]},
    "storage": {"classes": ["inside"]},
    "access": {"exec": "Deny"},
}
"""A policy with these has every guard bound."""
FORGED: Manifest = {"status": {"lastProof": "2026-01-01T00:00:00Z"}}
ADMIN_ACCESS = "resource.kubernetes.io/admin-access"
"""A label without which Kubernetes itself refuses adminAccess, before any policy is asked."""
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Scene:
    """A policy with every guard, a namespace that it governs and one that is free, a node inside and one abroad."""

    realm: Realm
    policy: Policy
    governed: str
    free: str
    inside: str
    abroad: str
    somebody: Client
    """Has every ordinary verb on every resource, but is not cluster-admin."""
    canary: Client
    running: str
    """A pod in the free namespace."""

    @classmethod
    def set(cls, realm: Realm, inside: str, abroad: str, canary: Client) -> Scene:
        """Make all of it; the border need not stand yet."""
        for right in documents(ROOT / "tests/border/people.yaml"):
            realm.client.apply(right)
        policy = realm.policy("DE", **EVERYTHING_ASKED)
        free, running = realm.namespace(), fresh("pod")
        container = {"name": "main", "image": "registry.example/main"}
        metadata = {"name": running, "namespace": free}
        realm.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
        return cls(
            realm=realm,
            policy=policy,
            governed=realm.namespace({**policy.selects, ADMIN_ACCESS: "true"}),
            free=free,
            inside=inside,
            abroad=abroad,
            somebody=realm.client.impersonate("admin-lite", ("system:authenticated",)),
            canary=canary,
            running=running,
        )

    def deeds(self) -> Mapping[str, Callable[[], object]]:
        """By the policy that refuses it."""
        create = self._create
        return {
            "bailiwick-pods": lambda: create(self.pod(nodeName=self.abroad)),
            "bailiwick-bindings": lambda: create(self._binding(), subresource="binding"),
            "bailiwick-models": lambda: create(self._model(self.governed, "registry.foreign/tiny")),
            "bailiwick-models-governed": lambda: create(self._model(self.free, "registry.example/models/tiny")),
            "bailiwick-propagation": lambda: create(self._job()),
            "bailiwick-claims": lambda: create(self._claim()),
            "bailiwick-storage": lambda: create(self._volume()),
            "bailiwick-services": lambda: create(self._thing("v1", "Service", type="NodePort", ports=[{"port": 80}])),
            "bailiwick-endpoints": lambda: create(self._slice()),
            "bailiwick-ingresses": lambda: create(self._ingress()),
            "bailiwick-networks": lambda: create(self._way_out()),
            "bailiwick-access": self._exec,
            "bailiwick-nodes": lambda: self._label("Node", self.abroad, self.policy.label, "resident"),
            "bailiwick-namespaces": lambda: self._label("Namespace", self.governed, "data", None),
            "bailiwick-namespaces-governed": lambda: self._label("Namespace", self.free, GOVERNED_LABEL, "true"),
            "bailiwick-territories": lambda: self._patch(OURS, "Territory", {"spec": {"nodes": {self.abroad: "DE"}}}),
            "bailiwick-objects": lambda: self._patch(OURS, "ResidencyPolicy", FORGED, subresource="status"),
            "bailiwick-tokens": lambda: create(self._operators_pod()),
            "bailiwick-waivers": lambda: create(self._approval()),
            "bailiwick-webhooks": lambda: create(self._listener()),
            "bailiwick-quarantine": self._turn_back_the_clock,
            # For real, and without content: that it is no dry run is what must not be.
            "bailiwick-canary": lambda: self.canary.patch("v1", "Namespace", self.governed, {}),
        }

    def refusals(self) -> dict[str, str | None]:
        """Who refuses each deed, and why; None where it is admitted."""
        return {guard: refusal(deed) for guard, deed in self.deeds().items()}

    def pod(self, **spec: Any) -> Manifest:
        """A pod that keeps every rule, but for what is given."""
        containers = [{"name": "main", "image": f"registry.example/main@{DIGEST}"}]
        return self._thing("v1", "Pod", containers=containers, **{**self.policy.brought, **spec})

    def _create(self, manifest: Manifest, subresource: str = "") -> Manifest:
        return self.somebody.create(manifest, subresource=subresource, dry_run=True)

    def _label(self, kind: str, name: str, label: str, value: str | None) -> Manifest:
        return self.somebody.patch("v1", kind, name, {"metadata": {"labels": {label: value}}}, dry_run=True)

    def _patch(self, version: str, kind: str, patch: Manifest, subresource: str = "") -> Manifest:
        return self.somebody.patch(version, kind, self.policy.name, patch, subresource=subresource, dry_run=True)

    def _thing(self, version: str, kind: str, **spec: Any) -> Manifest:
        metadata = {"name": fresh("deed"), "namespace": self.governed}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}

    def _binding(self) -> Manifest:
        target = {"apiVersion": "v1", "kind": "Node", "name": self.abroad}
        metadata = {"name": "no-such-pod", "namespace": self.governed}
        return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}

    def _model(self, namespace: str, image: str) -> Manifest:
        model = {"name": "tiny", "source": {"oci": {"image": f"{image}@{DIGEST}"}}}
        metadata = {"name": "chat", "namespace": namespace}
        return {"apiVersion": OURS, "kind": "SovereignModel", "metadata": metadata, "spec": {"model": model}}

    def _job(self) -> Manifest:
        template = {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example/main"}]}
        }
        return self._thing("batch/v1", "Job", managedBy="kueue.x-k8s.io/multikueue", template=template)

    def _claim(self) -> Manifest:
        exactly = {"deviceClassName": "gpu.example", "adminAccess": True}
        return self._thing(
            "resource.k8s.io/v1", "ResourceClaim", devices={"requests": [{"name": "g", "exactly": exactly}]}
        )

    def _volume(self) -> Manifest:
        size = {"requests": {"storage": "1Gi"}}
        wish = {"storageClassName": "abroad", "accessModes": ["ReadWriteOnce"], "resources": size}
        return self._thing("v1", "PersistentVolumeClaim", **wish)

    def _slice(self) -> Manifest:
        made = self._thing("discovery.k8s.io/v1", "EndpointSlice")
        del made["spec"]
        return {**made, "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"port": 80}]}

    def _ingress(self) -> Manifest:
        backend = {"service": {"name": "chat", "port": {"number": 80}}}
        return self._thing("networking.k8s.io/v1", "Ingress", ingressClassName="abroad", defaultBackend=backend)

    def _way_out(self) -> Manifest:
        anywhere = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
        return self._thing(
            "networking.k8s.io/v1", "NetworkPolicy", podSelector={}, policyTypes=["Egress"], egress=anywhere
        )

    def _operators_pod(self) -> Manifest:
        made = self.pod(serviceAccountName="bailiwick-operator")
        return {**made, "metadata": {**made["metadata"], "namespace": SYSTEM}}

    def _approval(self) -> Manifest:
        approved = {"waiver": "any", "waiverUID": "any", "requester": "ida", "approver": "olaf"}
        return {"apiVersion": OURS, "kind": "WaiverApproval", "metadata": {"name": fresh("deed")}, "spec": approved}

    def _listener(self) -> Manifest:
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
        webhook = {
            "name": "listener.abroad.example", "clientConfig": {"url": "https://abroad.example/"}, "rules": [rule],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }  # fmt: skip
        made = {"apiVersion": ADMISSION, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": fresh("deed")}}
        return {**made, "webhooks": [webhook]}

    def _turn_back_the_clock(self) -> Manifest:
        patch = {"metadata": {"annotations": {SINCE: "2026-01-01T00:00:00Z"}}}
        return self.somebody.patch("v1", "Pod", self.running, patch, self.free, dry_run=True)

    def _exec(self) -> None:
        path = f"/api/v1/namespaces/{self.governed}/pods/no-such-pod/exec"
        self.somebody.request("POST", path, params={"command": "ls", "stdout": "true"})


def refusal(deed: Callable[[], object]) -> str | None:
    """Policy and reason by which a deed is refused, or another refusal; None where it is admitted."""
    try:
        deed()
    except ApiError as error:
        if denied := DENIED.search(error.message):
            return f"{denied['policy']} {denied['reason']}"
        return None if error.code == NOT_FOUND and "no-such-pod" in error.message else error.message
    return None
