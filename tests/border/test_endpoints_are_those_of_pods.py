"""To which addresses a Service leads (charts/bailiwick/policies/endpoints.yaml)."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.client import eventually
from tests.border.ground import Governed, Ground, authored, pod, refused
from tests.border.stubs import serve, thing

ENDPOINTS = "bailiwick-endpoints"
NETWORK = {"egress": [], "services": ["ClusterIP"], "ingressClasses": [], "gatewayClasses": []}
SLICES = ("discovery.k8s.io/v1", "EndpointSlice")


@pytest.fixture(scope="module")
def closed(ground: Ground) -> Governed:
    return ground.govern(network=NETWORK)


def piece(namespace: str, *addresses: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "chat", "namespace": namespace, "labels": {"kubernetes.io/service-name": "chat"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"port": 80}],
    }


def endpoints(namespace: str, *addresses: str) -> dict[str, Any]:
    subsets = [{"addresses": [{"ip": address} for address in addresses], "ports": [{"port": 80}]}] if addresses else []
    metadata = {"name": "chat", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


@pytest.mark.parametrize("made", [piece, endpoints])
def test_addresses_by_hand_are_refused(ground: Ground, closed: Governed, free: str, made: Any) -> None:
    with refused(ENDPOINTS, "EndpointNotAllowed", f"{ENDPOINTS}.{closed.policy}"):
        ground.lite.create(made(closed.namespace, "192.0.2.1"), dry_run=True)
    ground.lite.create(made(closed.namespace), dry_run=True)  # without addresses it leads nowhere
    ground.lite.create(made(free, "192.0.2.1"), dry_run=True)


def test_who_claims_to_be_a_service_account_of_his_own_is_refused(ground: Ground, closed: Governed) -> None:
    pretender = ground.person("system:serviceaccount:default:endpointslice-controller", ["system:masters"])
    with refused(ENDPOINTS, "EndpointNotAllowed", f"{ENDPOINTS}.{closed.policy}"):
        pretender.create(piece(closed.namespace, "192.0.2.1"), dry_run=True)


def test_kubernetes_keeps_the_endpoints_and_nobody_turns_them(ground: Ground, closed: Governed) -> None:
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat", "namespace": closed.namespace},
        "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80}]},
    }  # fmt: skip
    ground.editor.create(service)
    (made,) = eventually(
        lambda: ground.admin.list(*SLICES, closed.namespace, labels="kubernetes.io/service-name=chat"),
        what="the controller makes a slice",
    )
    name = made["metadata"]["name"]
    turned = {"endpoints": [{"addresses": ["192.0.2.1"]}]}
    with refused(ENDPOINTS, "EndpointNotAllowed", f"{ENDPOINTS}.{closed.policy}"):
        ground.lite.patch(*SLICES, name, turned, closed.namespace, dry_run=True)
    ground.lite.patch(*SLICES, name, {"metadata": {"labels": {"team": "a"}}}, closed.namespace, dry_run=True)
    controller = ground.person("system:serviceaccount:kube-system:endpointslice-controller", ["system:masters"])
    controller.patch(*SLICES, name, turned, closed.namespace, dry_run=True)


def test_a_slice_from_before_the_policy_can_go_but_not_move(ground: Ground) -> None:
    namespace = ground.namespace()
    ground.lite.create(piece(namespace, "192.0.2.1"))
    governed = ground.govern(namespace=namespace, network=NETWORK)
    ground.lite.patch(*SLICES, "chat", {"metadata": {"finalizers": ["example.com/x"]}}, namespace, dry_run=True)
    with refused(ENDPOINTS, "EndpointNotAllowed", f"{ENDPOINTS}.{governed.policy}"):
        moved = {"metadata": {"labels": {"kubernetes.io/service-name": "other"}}}
        ground.lite.patch(*SLICES, "chat", moved, namespace, dry_run=True)


def test_a_pod_does_not_claim_an_address(ground: Ground, closed: Governed, free: str) -> None:
    """The controller would make an endpoint of it, in a slice that everybody trusts."""
    claimed = {"status": {"phase": "Running", "podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}]}}
    for namespace in (closed.namespace, free):
        ground.editor.create(authored(pod(namespace, "claimant", nodeName=closed.inside), closed))
    where = ("v1", "Pod", "claimant")
    with refused(ENDPOINTS, "EndpointNotAllowed", f"{ENDPOINTS}.{closed.policy}") as refusal:
        ground.lite.patch(*where, claimed, closed.namespace, subresource="status", dry_run=True)
    assert "leave the addresses of pods to their kubelets" in refusal.message
    ground.lite.patch(*where, claimed, free, subresource="status", dry_run=True)
    ground.kubelet(closed.inside).patch(*where, claimed, closed.namespace, subresource="status")
    failed = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    ground.lite.patch(*where, failed, closed.namespace, subresource="status", dry_run=True)
    with refused(ENDPOINTS, "EndpointNotAllowed", f"{ENDPOINTS}.{closed.policy}"):
        moved = {"status": {"podIP": "192.0.2.2", "podIPs": [{"ip": "192.0.2.2"}]}}
        ground.lite.patch(*where, moved, closed.namespace, subresource="status", dry_run=True)


@pytest.mark.parametrize(
    "adder",
    [
        ("networking.istio.io", "WorkloadEntry", "workloadentries"),
        ("networking.istio.io", "ServiceEntry", "serviceentries"),
        ("workload.linkerd.io", "ExternalWorkload", "externalworkloads"),
        ("consul.hashicorp.com", "ServiceResolver", "serviceresolvers"),
        ("cilium.io", "CiliumEnvoyConfig", "ciliumenvoyconfigs"),
    ],
    ids="/".join,
)
def test_a_mesh_adds_no_endpoints(ground: Ground, closed: Governed, free: str, adder: tuple[str, str, str]) -> None:
    group, kind, plural = adder
    serve(ground, group, kind, plural)
    with refused(ENDPOINTS, "EndpointNotAllowed", f"{ENDPOINTS}.{closed.policy}"):
        ground.lite.create(thing(f"{group}/v1", kind, closed.namespace, spec={"address": "192.0.2.1"}), dry_run=True)
    ground.lite.create(thing(f"{group}/v1", kind, free, spec={"address": "192.0.2.1"}), dry_run=True)
