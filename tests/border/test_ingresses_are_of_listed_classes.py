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
