"""Through which proxies the world comes in (charts/bailiwick/policies/ingresses.yaml)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.border.ground import Governed, Ground, refused
from tests.border.stubs import serve, thing

INGRESSES = "bailiwick-ingresses"
GATEWAY = "gateway.networking.k8s.io"
NETWORK = {"egress": [], "services": ["ClusterIP"], "ingressClasses": ["inside"], "gatewayClasses": ["gate"]}
BACKEND = {"defaultBackend": {"service": {"name": "chat", "port": {"number": 80}}}}
EDGES = [
    ("traefik.io", "IngressRoute", "ingressroutes"),
    ("networking.istio.io", "Gateway", "gateways"),
    ("projectcontour.io", "HTTPProxy", "httpproxies"),
    (GATEWAY, "ReferenceGrant", "referencegrants"),
]


@pytest.fixture(scope="module")
def closed(ground: Ground) -> Governed:
    governed = ground.govern(network=NETWORK)
    serve(ground, GATEWAY, "Gateway", "gateways")  # later than the policy
    serve(ground, GATEWAY, "HTTPRoute", "httproutes")
    for group, kind, plural in EDGES:
        serve(ground, group, kind, plural)
    serve(ground, "networking.istio.io", "VirtualService", "virtualservices")
    return governed


def by(governed: Governed) -> tuple[str, str, str]:
    return INGRESSES, "ClassNotAllowed", f"{INGRESSES}.{governed.policy}"


def ingress(namespace: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    manifest = thing("networking.k8s.io/v1", "Ingress", namespace, spec=BACKEND | spec)
    manifest["metadata"]["annotations"] = annotations or {}
    return manifest


@pytest.mark.parametrize(
    "made",
    [{}, {"ingressClassName": "abroad"}, {"annotations": {"kubernetes.io/ingress.class": "abroad"}}],
    ids=["no class", "another class", "by annotation"],
)
def test_an_ingress_of_another_class_is_refused(
    ground: Ground, closed: Governed, free: str, made: dict[str, Any]
) -> None:
    with refused(*by(closed)):
        ground.editor.create(ingress(closed.namespace, **made), dry_run=True)
    ground.editor.create(ingress(free, **made), dry_run=True)


def test_an_ingress_of_a_listed_class_passes_and_stays(ground: Ground, closed: Governed) -> None:
    ground.editor.create(ingress(closed.namespace, ingressClassName="inside"))
    by_annotation = ingress(closed.namespace, {"kubernetes.io/ingress.class": "inside"})
    by_annotation["metadata"]["name"] = "other"
    ground.editor.create(by_annotation, dry_run=True)
    overridden: dict[str, Any] = {"metadata": {"annotations": {"kubernetes.io/ingress.class": "abroad"}}}
    for change in (overridden, {"spec": {"ingressClassName": "abroad"}}, {"spec": {"ingressClassName": None}}):
        with refused(*by(closed)):
            ground.editor.patch(
                "networking.k8s.io/v1", "Ingress", "probe", change, closed.namespace, how="merge", dry_run=True
            )


def test_a_status_carries_no_other_class(ground: Ground, closed: Governed) -> None:
    ground.editor.apply(ingress(closed.namespace, ingressClassName="inside"))
    overridden = {"metadata": {"annotations": {"kubernetes.io/ingress.class": "abroad"}}}
    where = ("networking.k8s.io/v1", "Ingress", "probe")
    with refused(*by(closed)):
        ground.lite.patch(*where, overridden, closed.namespace, subresource="status", how="merge", dry_run=True)
    given = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    ground.lite.patch(*where, given, closed.namespace, subresource="status", how="merge", dry_run=True)


def test_a_gateway_of_another_class_is_refused(ground: Ground, closed: Governed) -> None:
    for spec in ({}, {"gatewayClassName": "abroad"}, {"gatewayClassName": "inside"}):
        with refused(*by(closed)):
            ground.lite.create(thing(f"{GATEWAY}/v1", "Gateway", closed.namespace, spec=spec), dry_run=True)
    listed = thing(f"{GATEWAY}/v1", "Gateway", closed.namespace, spec={"gatewayClassName": "gate"})
    ground.lite.create(listed, dry_run=True)


def test_a_route_keeps_to_gateways_and_backends_of_its_namespace(ground: Ground, closed: Governed, free: str) -> None:
    here: dict[str, Any] = {"parentRefs": [{"name": "gate"}], "rules": [{"backendRefs": [{"name": "chat"}]}, {}]}
    elsewhere = {"name": "x", "namespace": "elsewhere"}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": elsewhere}}
    for spec in (
        here | {"parentRefs": [{"name": "gate"}, elsewhere]},
        here | {"rules": [{"backendRefs": [elsewhere]}]},
        here | {"rules": [{"filters": [mirror]}]},
        here | {"rules": [{"backendRefs": [{"name": "chat", "filters": [mirror]}]}]},
    ):
        with refused(*by(closed)):
            ground.lite.create(thing(f"{GATEWAY}/v1", "HTTPRoute", closed.namespace, spec=spec), dry_run=True)
        ground.lite.create(thing(f"{GATEWAY}/v1", "HTTPRoute", free, spec=spec), dry_run=True)
    for spec in (here, here | {"parentRefs": [{"name": "gate", "namespace": closed.namespace}]}, {}):
        ground.lite.create(thing(f"{GATEWAY}/v1", "HTTPRoute", closed.namespace, spec=spec), dry_run=True)


@pytest.mark.parametrize("edge", EDGES, ids="/".join)
def test_a_kind_without_a_class_is_refused(
    ground: Ground, closed: Governed, free: str, edge: tuple[str, str, str]
) -> None:
    group, kind, plural = edge
    with refused(*by(closed)) as refusal:
        ground.lite.create(thing(f"{group}/v1", kind, closed.namespace, spec={"any": "thing"}), dry_run=True)
    assert f"{plural}.{group}" in refusal.message
    ground.lite.create(thing(f"{group}/v1", kind, free, spec={"any": "thing"}), dry_run=True)


def test_a_virtual_service_of_the_mesh_passes_that_of_a_foreign_gateway_does_not(
    ground: Ground, closed: Governed
) -> None:
    version = "networking.istio.io/v1"
    for gateways in ([], ["mesh"], ["own"], [f"{closed.namespace}/own"]):
        made = thing(version, "VirtualService", closed.namespace, spec={"gateways": gateways})
        ground.lite.create(made, dry_run=True)
    with refused(*by(closed)):
        foreign = {"gateways": ["mesh", "istio-system/public"]}
        ground.lite.create(thing(version, "VirtualService", closed.namespace, spec=foreign), dry_run=True)


@pytest.mark.parametrize(
    "backend",
    [
        {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "abroad"},
        {"group": "networking.istio.io", "kind": "Hostname", "name": "llm.example"},
        {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "chat"},
        {"group": "inference.networking.x-k8s.io", "kind": "InferencePoolImport", "name": "chat"},
    ],
    ids=lambda backend: backend["kind"],
)
def test_a_route_leads_to_services_only(ground: Ground, closed: Governed, free: str, backend: dict[str, Any]) -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend}}
    asked = {"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "backendRef": backend}}
    for rules in (
        [{}, {"backendRefs": [{"name": "chat"}, backend]}],
        [{"filters": [mirror]}],
        [{"filters": [asked]}],
        [{"backendRefs": [{"name": "chat"}, {"name": "chat", "filters": [mirror]}]}],
    ):
        with refused(*by(closed)) as refusal:
            ground.lite.create(
                thing(f"{GATEWAY}/v1", "HTTPRoute", closed.namespace, spec={"rules": rules}), dry_run=True
            )
        assert "sends them to a backend of another kind" in refusal.message
        ground.lite.create(thing(f"{GATEWAY}/v1", "HTTPRoute", free, spec={"rules": rules}), dry_run=True)


def test_a_route_leads_to_services_and_pools_here(ground: Ground, closed: Governed) -> None:
    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "chat"}
    service = {"group": "", "kind": "Service", "name": "chat", "port": 80, "namespace": closed.namespace}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": service}}
    rules = [{"backendRefs": [pool, service | {"filters": [mirror]}], "filters": [mirror, {"type": "URLRewrite"}]}]
    ground.lite.create(thing(f"{GATEWAY}/v1", "HTTPRoute", closed.namespace, spec={"rules": rules}), dry_run=True)
    elsewhere = {"type": "ExternalAuth", "externalAuth": {"backendRef": {"name": "x", "namespace": "elsewhere"}}}
    with refused(*by(closed)):
        abroad = {"rules": [{"filters": [elsewhere]}]}
        ground.lite.create(thing(f"{GATEWAY}/v1", "HTTPRoute", closed.namespace, spec=abroad), dry_run=True)


def test_an_ingress_leads_to_services_only(ground: Ground, closed: Governed) -> None:
    backend = {"resource": {"apiGroup": "gateway.envoyproxy.io", "kind": "Backend", "name": "abroad"}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    for spec in ({"defaultBackend": backend}, {"rules": [{"http": {"paths": paths}}]}):
        with refused(*by(closed)):
            ground.editor.create(ingress(closed.namespace, ingressClassName="inside", **spec), dry_run=True)
    paths = [{"path": "/", "pathType": "Prefix", "backend": BACKEND["defaultBackend"]}]
    rules = [{"host": "chat.example"}, {"http": {"paths": paths}}]
    ground.editor.apply(ingress(closed.namespace, ingressClassName="inside", rules=rules), dry_run=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nginx.ingress.kubernetes.io/mirror-target", "https://llm.example$request_uri"),
        ("nginx.ingress.kubernetes.io/auth-url", "https://llm.example"),
        ("nginx.ingress.kubernetes.io/auth-url", "https://chat.svc.llm.example"),
        ("nginx.ingress.kubernetes.io/configuration-snippet", "proxy_pass https://llm.example;"),
        ("nginx.org/location-snippets", "mirror /abroad;"),
        ("alb.ingress.kubernetes.io/actions.chat", "{}"),
        ("external-dns.alpha.kubernetes.io/target", "192.0.2.1"),
    ],
)
def test_an_annotation_does_not_lead_elsewhere(
    ground: Ground, closed: Governed, free: str, key: str, value: str
) -> None:
    with refused(*by(closed)) as refusal:
        ground.editor.create(ingress(closed.namespace, {key: value}, ingressClassName="inside"), dry_run=True)
    assert key in refusal.message
    ground.editor.create(ingress(free, {key: value}, ingressClassName="inside"), dry_run=True)


def test_other_annotations_pass(ground: Ground, closed: Governed) -> None:
    usual = {
        "nginx.ingress.kubernetes.io/auth-url": "https://$host/oauth2/auth",
        "nginx.ingress.kubernetes.io/proxy-body-size": "8m",
        "cert-manager.io/cluster-issuer": "letsencrypt",
        "external-dns.alpha.kubernetes.io/hostname": "chat.example",
    }
    ground.editor.apply(ingress(closed.namespace, usual, ingressClassName="inside"), dry_run=True)
    asked = {"nginx.ingress.kubernetes.io/auth-url": "http://proxy.auth.svc.cluster.local:4180/oauth2/auth"}
    ground.editor.apply(ingress(closed.namespace, asked, ingressClassName="inside"), dry_run=True)
