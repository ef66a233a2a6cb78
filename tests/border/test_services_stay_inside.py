"""To whom a Service opens, and where its name leads (charts/bailiwick/policies/services.yaml)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.border.ground import Governed, Ground, refused

SERVICES = "bailiwick-services"
NETWORK = {"egress": [], "services": ["ClusterIP"], "ingressClasses": [], "gatewayClasses": []}


@pytest.fixture(scope="module")
def closed(ground: Ground) -> Governed:
    return ground.govern(network=NETWORK)


@pytest.fixture(scope="module")
def opened(ground: Ground) -> Governed:
    return ground.govern(network=NETWORK | {"services": ["ClusterIP", "LoadBalancer", "ExternalName"]})


def service(namespace: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "chat", "namespace": namespace, "annotations": annotations or {}}
    base: dict[str, Any] = {"selector": {"app": "chat"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": base | spec}


def by(governed: Governed) -> tuple[str, str, str]:
    return SERVICES, "ServiceNotAllowed", f"{SERVICES}.{governed.policy}"


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "NodePort"},
        {"type": "LoadBalancer"},
        {"type": "ExternalName", "externalName": "abroad.example"},
        {"externalIPs": ["192.0.2.1"]},
    ],
    ids=["NodePort", "LoadBalancer", "ExternalName", "externalIPs"],
)
def test_a_service_that_opens_or_leads_out_is_refused(
    ground: Ground, closed: Governed, free: str, spec: dict[str, Any]
) -> None:
    with refused(*by(closed)):
        ground.editor.create(service(closed.namespace, **spec), dry_run=True)
    ground.editor.create(service(free, **spec), dry_run=True)


@pytest.mark.parametrize("spec", [{}, {"type": "ClusterIP"}, {"clusterIP": "None"}], ids=["plain", "named", "headless"])
def test_an_ordinary_service_passes(ground: Ground, closed: Governed, spec: dict[str, Any]) -> None:
    gke = {"cloud.google.com/neg": '{"ingress":true}', "prometheus.io/scrape": "true"}
    ground.editor.create(service(closed.namespace, gke, **spec), dry_run=True)


@pytest.mark.parametrize(
    "annotation",
    [
        "service.cilium.io/global",
        "external-dns.alpha.kubernetes.io/hostname",
        "service.beta.kubernetes.io/aws-load-balancer-type",
        "tailscale.com/expose",
        "skupper.io/proxy",
        "mirror.linkerd.io/exported",
    ],
)
def test_an_annotation_that_publishes_elsewhere_is_refused(
    ground: Ground, closed: Governed, opened: Governed, annotation: str
) -> None:
    with refused(*by(closed)) as refusal:
        ground.editor.create(service(closed.namespace, {annotation: "x"}), dry_run=True)
    assert annotation in refusal.message
    ground.editor.create(service(opened.namespace, {annotation: "x"}), dry_run=True)


def test_a_neg_with_exposed_ports_is_refused(ground: Ground, closed: Governed) -> None:
    with refused(*by(closed)):
        annotations = {"cloud.google.com/neg": '{"exposed_ports":{"80":{}}}'}
        ground.editor.create(service(closed.namespace, annotations), dry_run=True)


def test_listed_types_pass_but_external_addresses_never(ground: Ground, opened: Governed) -> None:
    ground.editor.create(service(opened.namespace, type="LoadBalancer"), dry_run=True)
    ground.editor.create(service(opened.namespace, type="ExternalName", externalName="b.example"), dry_run=True)
    with refused(*by(opened)):
        ground.editor.create(service(opened.namespace, externalIPs=["192.0.2.1"]), dry_run=True)


def test_a_service_cannot_be_opened_later(ground: Ground, closed: Governed) -> None:
    ground.editor.create(service(closed.namespace))
    change: dict[str, Any]
    for url, change in (
        ("", {"spec": {"type": "NodePort"}}),
        ("", {"spec": {"externalIPs": ["192.0.2.1"]}}),
        ("", {"metadata": {"annotations": {"tailscale.com/expose": "true"}}}),
        ("status", {"metadata": {"labels": {"mirror.linkerd.io/exported": "true"}}}),
    ):
        with refused(*by(closed)):
            ground.lite.patch("v1", "Service", "chat", change, closed.namespace, subresource=url, dry_run=True)
    harmless = {"metadata": {"labels": {"team": "a"}}, "spec": {"ports": [{"port": 81}]}}
    ground.editor.patch("v1", "Service", "chat", harmless, closed.namespace, dry_run=True)


def test_an_open_service_from_before_the_policy_can_be_closed_and_go(ground: Ground) -> None:
    namespace = ground.namespace()
    before = service(namespace, {"tailscale.com/expose": "true"}, type="NodePort")
    before["metadata"]["finalizers"] = ["example.com/clean"]
    ground.editor.create(before)
    governed = ground.govern(namespace=namespace, network=NETWORK)
    with refused(*by(governed)):
        grow = {"spec": {"ports": [{"port": 81}]}}
        ground.editor.patch("v1", "Service", "chat", grow, namespace, dry_run=True)
    ground.editor.patch("v1", "Service", "chat", {"metadata": {"finalizers": []}}, namespace)
    ground.editor.patch("v1", "Service", "chat", {"spec": {"type": "ClusterIP"}}, namespace)


def test_a_load_balancer_from_before_the_policy_gets_no_address(ground: Ground, opened: Governed) -> None:
    namespace = ground.namespace()
    given = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    for where in (namespace, opened.namespace):
        ground.editor.create(service(where, type="LoadBalancer"))
    governed = ground.govern(namespace=namespace, network=NETWORK)
    with refused(*by(governed)) as refusal:
        ground.lite.patch("v1", "Service", "chat", given, namespace, subresource="status", dry_run=True)
    assert "status.loadBalancer" in refusal.message
    ground.lite.patch("v1", "Service", "chat", given, opened.namespace, subresource="status", dry_run=True)
