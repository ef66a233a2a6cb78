"""The way in from outside: the real operator, the real kinds of the Gateway API, and the border."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError, eventually
from e2e.cluster.binaries import other_kinds
from tests.apiserver.realm import OURS
from tests.apiserver.worlds import granted_realm, looking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Policy, Realm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
NETWORKING = "gateway.networking.k8s.io/v1"
ROUTE, POOL = (NETWORKING, "HTTPRoute", "chat"), ("inference.networking.k8s.io/v1", "InferencePool", "chat")
_GATEWAYS = "sigs.k8s.io/gateway-api/config/crd/standard/gateway.networking.k8s.io"
_POOLS = "sigs.k8s.io/gateway-api-inference-extension/config/crd/bases/inference.networking.k8s.io"
KINDS = (f"{_GATEWAYS}_gateways.yaml", f"{_GATEWAYS}_httproutes.yaml", f"{_POOLS}_inferencepools.yaml")


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A server without the Gateway API at first."""
    with granted_realm(tmp_path_factory.mktemp("helm")) as realm:
        yield realm


@pytest.fixture(scope="module")
def operator(routed: Realm) -> Iterator[OperatorProcess]:
    with looking(routed, "gateway") as process:
        yield process


@pytest.fixture
def realm(routed: Realm, operator: OperatorProcess) -> Iterator[Realm]:
    """What a test makes there goes when the test is over."""
    assert operator.ready()
    yield routed
    routed.clear()


@pytest.fixture
def policy(realm: Realm) -> Policy:
    """A policy that allows Gateways of class national."""
    node = realm.node(FRANKFURT)
    policy = realm.policy("DE", network={"gatewayClasses": ["national"]})
    policy.in_force().holds(node)
    return policy


@pytest.fixture
def namespace(realm: Realm, policy: Policy) -> str:
    """A namespace that the policy governs."""
    name = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(name), what="the namespace is marked")
    return name


def gateway(realm: Realm, namespace: str, gateway_class: str) -> None:
    """A Gateway of a class, as its owner makes it."""
    listener = {"name": "web", "port": 80, "protocol": "HTTP"}
    realm.client.create(
        {
            "apiVersion": NETWORKING, "kind": "Gateway", "metadata": {"name": "edge", "namespace": namespace},
            "spec": {"gatewayClassName": gateway_class, "listeners": [listener]},
        }
    )  # fmt: skip


def change(realm: Realm, namespace: str, asked: Any) -> None:
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"serving": {"gateway": asked}}}, namespace)


def test_a_model_is_let_in_through_a_gateway_of_an_allowed_class_alone(realm: Realm, namespace: str) -> None:
    realm.model(namespace, serving={"gateway": {"name": "edge", "hostnames": ["chat.example"]}})
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "NotInstalled"), what="there is no Gateway API")
    realm.server.install_crds(other_kinds(*KINDS))
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "ClassNotAllowed"), what="there is no Gateway")
    assert "there is no Gateway edge" in realm.condition("SovereignModel", "Planned", "chat", namespace)["message"]
    assert realm.children(namespace) == {}
    # A Gateway of another class is refused where it is made, with the same reason.
    with pytest.raises(ApiError, match="ClassNotAllowed"):
        gateway(realm, namespace, "cloud")
    gateway(realm, namespace, "national")
    realm.served(namespace)
    route = eventually(lambda: realm.client.find(*ROUTE, namespace) or {}, what="there is a route")
    assert route["spec"]["hostnames"] == ["chat.example"]
    assert route["spec"]["rules"][0]["backendRefs"][0]["name"] == "chat"
    # A program that picks replicas takes a pool, and gives way to the Service again.
    change(realm, namespace, {"endpointPicker": {"service": "picker"}})
    pool = eventually(lambda: realm.client.find(*POOL, namespace) or {}, what="there is a pool")
    assert pool["spec"]["selector"]["matchLabels"] == {"bailiwick.dev/model": "chat"}
    eventually(
        lambda: realm.client.get(*ROUTE, namespace)["spec"]["rules"][0]["backendRefs"][0]["kind"] == "InferencePool",
        what="the route goes there",
    )
    before = [realm.client.get(*each, namespace)["metadata"]["resourceVersion"] for each in (ROUTE, POOL)]
    realm.settled()
    assert [realm.client.get(*each, namespace)["metadata"]["resourceVersion"] for each in (ROUTE, POOL)] == before
    change(realm, namespace, {"endpointPicker": None})
    eventually(lambda: realm.client.find(*POOL, namespace) is None, what="the pool goes")
    # A Gateway of another namespace is refused beforehand, and by the border.
    change(realm, namespace, {"namespace": "kube-system"})
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "ClassNotAllowed"), what="the status refuses")
    abroad = {"spec": {"parentRefs": [{"name": "edge", "namespace": "kube-system"}]}}
    with pytest.raises(ApiError, match="ClassNotAllowed"):
        realm.client.patch(*ROUTE, abroad, namespace)
    # Without a gateway nothing lets anybody in.
    change(realm, namespace, None)
    eventually(lambda: realm.client.find(*ROUTE, namespace) is None, what="the route goes")
    realm.served(namespace)
