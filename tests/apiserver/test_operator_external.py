"""Models that are served outside the cluster, on a real API server: gates come when they may, and end when not.

The operator has the rights of the chart and no others. No kubelet runs here, so a pod with a node that is told to
end stays, and says how long it was given.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.workload.external import ENDPOINT_LABEL
from e2e.client import ApiError, eventually
from tests.apiserver.operator_process import SERVICE_ACCOUNTS, OperatorProcess
from tests.apiserver.realm import OURS, Realm, fresh, oci, stamp
from tests.unit.api.objects import CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Manifest
    from tests.apiserver.realm import Policy

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
NETWORKING = "networking.k8s.io/v1"
WAY = "chat.endpoint"


@pytest.fixture(scope="module")
def _at_work(granted: Realm) -> Iterator[None]:
    process = OperatorProcess(granted.server, "outside", SERVICE_ACCOUNTS)
    try:
        process.until_leading()
        yield
    finally:
        process.stop()


@pytest.fixture
def realm(granted: Realm, _at_work: None) -> Iterator[Realm]:
    """What a test makes there goes when the test is over; pods with a node first, which no kubelet ends."""
    yield granted
    for pod in granted.client.list("v1", "Pod"):
        metadata = pod["metadata"]
        granted.client.delete("v1", "Pod", metadata["name"], metadata["namespace"], grace_seconds=0)
    granted.clear()


@pytest.fixture
def node(realm: Realm) -> str:
    return realm.node(FRANKFURT)


@pytest.fixture
def policy(realm: Realm, node: str) -> Policy:
    """Germany is inside, and one address range is open."""
    network = {"egress": [{"cidr": "192.0.2.0/24", "ports": [{"port": 8443}]}]}
    policy = realm.policy("DE", network=network)
    policy.in_force().holds(node)
    return policy


@pytest.fixture
def namespace(realm: Realm, policy: Policy) -> str:
    name = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(name), what="the namespace is marked")
    return name


def state(realm: Realm, place: str = "DE-BE", *, seconds: float = 3600, **endpoint: Any) -> str:
    """A statement about a server at 192.0.2.7; its name."""
    name, now = fresh("mac"), datetime.now(UTC)
    server = {
        "address": "192.0.2.7", "port": 8443, "serverName": "mac-1.models.example", "certificateAuthority": CERTIFICATE,
    }  # fmt: skip
    spec = {
        "endpoint": {**server, **endpoint},
        "place": {"jurisdiction": place},
        "issuedAt": stamp(now - timedelta(hours=1)),
        "expiresAt": stamp(now + timedelta(seconds=seconds)),
    }
    realm.create({"apiVersion": OURS, "kind": "EndpointStatement", "metadata": {"name": name}, "spec": spec})
    return name


def serve(realm: Realm, namespace: str, statement: str, **spec: Any) -> None:
    model = {"name": "tiny", "source": {"endpoint": {"statement": statement}}}
    realm.model(namespace, model=model, engine={"name": "external"}, **spec)


def gates(realm: Realm, namespace: str) -> list[Manifest]:
    """The pods that were not told to end."""
    pods = realm.client.list("v1", "Pod", namespace, labels=ENDPOINT_LABEL)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def running(realm: Realm, namespace: str, node: str) -> Manifest:
    """The gate, on a node as the scheduler would put it."""
    realm.served(namespace)
    (pod,) = eventually(lambda: gates(realm, namespace), what="there is a gate")
    metadata = pod["metadata"]
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
    path = f"{realm.client.path('v1', 'Pod', namespace, metadata['name'])}/binding"
    realm.client.request("POST", path, binding)
    return pod


def way(realm: Realm, namespace: str) -> list[Any]:
    """What gates may reach; empty when nothing opens it."""
    found = realm.client.find(NETWORKING, "NetworkPolicy", WAY, namespace)
    return found["spec"]["egress"] if found else []


def ended(realm: Realm, namespace: str, gate: Manifest, reason: str, *, seconds: float = 10) -> None:
    """Wait until nothing leads outside, and look at how it ended."""
    eventually(
        lambda: not way(realm, namespace) and not gates(realm, namespace) and not _deployed(realm, namespace),
        what="nothing leads outside",
        seconds=seconds,
    )

    def at_once() -> bool:
        left = realm.client.find("v1", "Pod", gate["metadata"]["name"], namespace)
        return left is None or left["metadata"].get("deletionGracePeriodSeconds", 2) <= 1

    eventually(at_once, what="the gate gets a second and no more", seconds=10)
    eventually(lambda: realm.stated("Ready", namespace) == ("False", reason), what=f"the status says {reason}")
    shut = realm.client.get(NETWORKING, "NetworkPolicy", "chat", namespace)["spec"]
    assert ("Egress" in shut["policyTypes"], "egress" in shut) == (True, False)


def _deployed(realm: Realm, namespace: str) -> bool:
    return realm.client.find("apps/v1", "Deployment", "chat", namespace) is not None


def test_gates_lead_to_one_address_from_nodes_inside(realm: Realm, namespace: str, policy: Policy, node: str) -> None:
    serve(realm, namespace, state(realm))
    pod = running(realm, namespace, node)
    assert [each["name"] for each in pod["spec"]["containers"]] == ["gate"]
    assert pod["spec"]["nodeSelector"] == {policy.label: "resident"}
    assert way(realm, namespace) == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}], "ports": [{"protocol": "TCP", "port": 8443}]}
    ]
    planned = realm.condition("SovereignModel", "Planned", "chat", namespace)["message"]
    assert "gates lead to 192.0.2.7:8443, which stands in DE-BE (Declared by EndpointStatement mac-" in planned
    eventually(
        lambda: realm.status(namespace).get("jurisdictions") == ["DE", "DE-BE"],
        what="the status says where gates run, and where the endpoint stands",
    )
    assert realm.stated("Verified", namespace) == ("Unknown", "NotSeen")


def test_a_statement_that_is_withdrawn_ends_the_gates_at_once(realm: Realm, namespace: str, node: str) -> None:
    statement = state(realm)
    serve(realm, namespace, statement)
    gate = running(realm, namespace, node)
    realm.client.delete(OURS, "EndpointStatement", statement)
    ended(realm, namespace, gate, "EndpointUnknown")


def test_a_statement_that_ends_ends_the_gates_though_nothing_changes(realm: Realm, namespace: str, node: str) -> None:
    serve(realm, namespace, state(realm, seconds=30))
    ended(realm, namespace, running(realm, namespace, node), "StatementExpired", seconds=50)


def test_a_policy_that_is_tightened_ends_the_gates(realm: Realm, namespace: str, policy: Policy, node: str) -> None:
    serve(realm, namespace, state(realm))
    gate = running(realm, namespace, node)
    policy.patch({"place": {"deny": ["DE-BE"]}})
    ended(realm, namespace, gate, "WrongPlace")


def test_an_address_that_is_closed_again_ends_the_gates(
    realm: Realm, namespace: str, policy: Policy, node: str
) -> None:
    serve(realm, namespace, state(realm))
    gate = running(realm, namespace, node)
    policy.patch({"network": {"egress": [{"cidr": "192.0.2.128/25"}]}})
    ended(realm, namespace, gate, "EgressNotAllowed")


def test_a_statement_that_disputes_the_place_ends_the_gates(realm: Realm, namespace: str, node: str) -> None:
    serve(realm, namespace, state(realm))
    gate = running(realm, namespace, node)
    state(realm, "US")
    ended(realm, namespace, gate, "StatementsDisagree")


def test_another_server_gets_other_gates_and_none_of_the_old_ones_goes_on(
    realm: Realm, namespace: str, node: str
) -> None:
    statement = state(realm)
    serve(realm, namespace, statement)
    before = running(realm, namespace, node)
    patch = {"spec": {"endpoint": {"address": "192.0.2.8"}}}
    realm.client.patch(OURS, "EndpointStatement", statement, patch)

    def moved() -> bool:
        led = {pod["metadata"]["labels"][ENDPOINT_LABEL] for pod in gates(realm, namespace)}
        ways = [rule["to"] for rule in way(realm, namespace)]
        old = before["metadata"]["labels"][ENDPOINT_LABEL]
        return ways == [[{"ipBlock": {"cidr": "192.0.2.8/32"}}]] and len(led) == 1 and old not in led

    eventually(moved, what="gates lead to the other server alone")
    left = realm.client.find("v1", "Pod", before["metadata"]["name"], namespace)
    assert left is None or left["metadata"]["deletionGracePeriodSeconds"] <= 1


def test_a_model_that_comes_home_leaves_no_gate_behind(realm: Realm, namespace: str, node: str) -> None:
    serve(realm, namespace, state(realm))
    gate = running(realm, namespace, node)
    spec = {"engine": {"name": "vllm"}, "model": {"source": {"endpoint": None, **oci()}}}
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": spec}, namespace)

    def home() -> bool:
        found = realm.client.find("apps/v1", "Deployment", "chat", namespace)
        engines = [each["name"] for each in found["spec"]["template"]["spec"]["containers"]] if found else []
        return engines == ["engine"] and not way(realm, namespace) and not gates(realm, namespace)

    eventually(home, what="an engine serves, and nothing leads outside")

    def at_once() -> bool:
        left = realm.client.find("v1", "Pod", gate["metadata"]["name"], namespace)
        return left is None or left["metadata"].get("deletionGracePeriodSeconds", 2) <= 1

    eventually(at_once, what="the gate gets a second and no more", seconds=10)


def test_a_model_that_somebody_holds_back_while_it_is_deleted_sends_nothing(
    realm: Realm, namespace: str, node: str
) -> None:
    serve(realm, namespace, state(realm))
    gate = running(realm, namespace, node)
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    realm.client.patch(OURS, "SovereignModel", "chat", held, namespace)
    realm.client.delete(OURS, "SovereignModel", "chat", namespace)
    eventually(lambda: not way(realm, namespace) and not gates(realm, namespace), what="nothing leads outside")

    def at_once() -> bool:
        left = realm.client.find("v1", "Pod", gate["metadata"]["name"], namespace)
        return left is None or left["metadata"].get("deletionGracePeriodSeconds", 2) <= 1

    eventually(at_once, what="the gate gets a second and no more", seconds=10)
    realm.client.patch(OURS, "SovereignModel", "chat", {"metadata": {"finalizers": None}}, namespace)


def test_a_model_of_which_nothing_may_be_sent_gets_no_gate(realm: Realm, namespace: str) -> None:
    serve(realm, namespace, state(realm, "US"))
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "WrongPlace"), what="it is refused")
    assert not _deployed(realm, namespace)
    assert not way(realm, namespace)


def test_nobody_else_opens_the_way_of_gates(realm: Realm, namespace: str, node: str) -> None:
    serve(realm, namespace, state(realm))
    running(realm, namespace, node)
    everywhere: Manifest = {"spec": {"egress": [{}]}}

    def refused() -> bool:
        try:
            realm.client.patch(NETWORKING, "NetworkPolicy", WAY, everywhere, namespace, dry_run=True)
        except ApiError as error:
            return "OperatorOnly" in str(error)
        return False

    eventually(refused, what="the border of the new policy refuses it")
