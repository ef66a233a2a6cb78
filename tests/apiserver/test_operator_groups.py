"""Replicas of several nodes: the real operator, the real controller of LeaderWorkerSets, and the border between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError, eventually
from tests.apiserver.groups import GroupController
from tests.apiserver.operator_process import DIGEST
from tests.apiserver.realm import CONTROLLERS, OURS
from tests.apiserver.worlds import granted_realm, looking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Manifest
    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Policy, Realm

pytestmark = pytest.mark.apiserver

GPU = "vendor.example/gpu"
FRANKFURT, PARIS = "aws:///eu-central-1a/i-0123456789abcdef{}", "aws:///eu-west-3a/i-0123456789abcdef{}"
SET = ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "chat-group")
MEMBER = "leaderworkerset.sigs.k8s.io/worker-index"
GROUP = "leaderworkerset.sigs.k8s.io/group-index"
KEY = "leaderworkerset.sigs.k8s.io/group-key"
LARGE: dict[str, Any] = {"accelerators": {"classes": ["gpu"]}, "parallelism": {"tensor": 8, "pipeline": 2}}


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A server with StatefulSets, and a class of eight devices per node; LeaderWorkerSet is not there yet."""
    folder = tmp_path_factory.mktemp("helm")
    with granted_realm(folder, controllers=f"{CONTROLLERS},statefulset-controller") as realm:
        offer = {"name": "vllm", "image": f"registry.example/vllm@{DIGEST}"}
        spec = {"resources": [GPU], "devicesPerNode": 8, "engines": [offer]}
        realm.client.create({"apiVersion": OURS, "kind": "AcceleratorClass", "metadata": {"name": "gpu"}, "spec": spec})
        yield realm


@pytest.fixture(scope="module")
def operator(grouped: Realm) -> Iterator[OperatorProcess]:
    with looking(grouped, "groups") as process:
        yield process


@pytest.fixture
def realm(grouped: Realm, operator: OperatorProcess) -> Iterator[Realm]:
    """What a test makes there goes when the test is over."""
    assert operator.ready()
    yield grouped
    grouped.clear()


@pytest.fixture(scope="module")
def controller(grouped: Realm) -> Iterator[GroupController]:
    """The controller of groups, from the first test on that wants it."""
    process = GroupController(grouped.server)
    try:
        yield process.until_ready()
    finally:
        process.stop()


def gpus(realm: Realm, provider: str) -> str:
    """A node of eight devices."""
    name = realm.node(provider)
    realm.client.patch("v1", "Node", name, {"status": {"allocatable": {GPU: "8"}}}, subresource="status")
    return name


@pytest.fixture
def nodes(realm: Realm) -> dict[str, list[str]]:
    """Two nodes in Germany and one in France."""
    return {
        "DE": [gpus(realm, FRANKFURT.format(1)), gpus(realm, FRANKFURT.format(2))],
        "FR": [gpus(realm, PARIS.format(3))],
    }


@pytest.fixture
def policy(realm: Realm, nodes: dict[str, list[str]]) -> Policy:
    """Germany and France are inside."""
    policy = realm.policy("DE", "FR")
    policy.in_force().holds(*nodes["DE"], *nodes["FR"])
    return policy


@pytest.fixture
def namespace(realm: Realm, policy: Policy) -> str:
    """A namespace that the policy governs."""
    name = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(name), what="the namespace is marked")
    return name


def pods(realm: Realm, namespace: str) -> dict[tuple[str, str], Manifest]:
    """The members that are there to stay, by group and place in it."""
    found = realm.client.list("v1", "Pod", namespace)
    return {
        (each["metadata"]["labels"][GROUP], each["metadata"]["labels"][MEMBER]): each
        for each in found
        if not each["metadata"].get("deletionTimestamp")
    }


def bind(realm: Realm, pod: Manifest, node: str) -> None:
    """Whether a scheduler may put a pod on a node; nothing is put there."""
    metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
    realm.client.create(binding, subresource="binding", dry_run=True)


def test_a_large_model_waits_for_the_controller_of_groups_and_then_comes_up(
    realm: Realm, namespace: str, policy: Policy, nodes: dict[str, list[str]], request: pytest.FixtureRequest
) -> None:
    realm.model(namespace, replicas=2, **LARGE)
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "NotInstalled"), what="the status refuses")
    assert "install LeaderWorkerSet" in realm.condition("SovereignModel", "Planned", "chat", namespace)["message"]
    assert realm.children(namespace) == {}
    request.getfixturevalue("controller")
    members = eventually(
        lambda: found if len(found := pods(realm, namespace)) == 4 else {}, what="two groups of two come up"
    )
    assert sorted(members) == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    keys = {place: pod["metadata"]["labels"][KEY] for place, pod in members.items()}
    assert keys["0", "0"] == keys["0", "1"] != keys["1", "0"] == keys["1", "1"], "the audit knows who belongs together"
    outside = realm.node("aws:///us-east-1a/i-0123456789abcdef9")
    for place, pod in members.items():
        spec = pod["spec"]
        assert spec["nodeSelector"] == {policy.label: "resident"}, place
        terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert sorted(each["matchFields"][0]["values"][0] for each in terms) == sorted(nodes["DE"]), "one country"
        assert spec["initContainers"][0]["name"] == "seal"
        environment = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
        assert environment["LWS_LEADER_ADDRESS"] == f"chat-group-{place[0]}.chat-group.{namespace}"
        assert environment["LWS_WORKER_INDEX"] == place[1]
        bind(realm, pod, nodes["DE"][0])
        with pytest.raises(ApiError, match=f"WrongPlace.*{outside}"):
            bind(realm, pod, outside)
    service = realm.client.get("v1", "Service", "chat", namespace)["spec"]["selector"]
    chosen = realm.client.list(
        "v1", "Pod", namespace, labels=",".join(f"{key}={value}" for key, value in service.items())
    )
    assert sorted(each["metadata"]["name"] for each in chosen) == ["chat-group-0", "chat-group-1"]
    shielded = {
        each["metadata"]["name"] for each in realm.client.list("networking.k8s.io/v1", "NetworkPolicy", namespace)
    }
    assert {"chat", "chat-group-0", "chat-group-1"} <= shielded
    plan = realm.status(namespace)["plan"]
    assert (plan["nodesPerReplica"], plan["devicesPerReplica"]) == (2, 16)


def test_a_member_that_fails_restarts_its_group_and_no_other(
    realm: Realm, namespace: str, controller: GroupController
) -> None:
    assert controller.process.poll() is None
    realm.model(namespace, replicas=2, **LARGE)
    before = eventually(lambda: found if len(found := pods(realm, namespace)) == 4 else {}, what="two groups")
    failed = {
        "containerStatuses": [
            {"name": "engine", "ready": False, "restartCount": 1, "image": "", "imageID": "", "state": {"running": {}}}
        ]
    }
    name = before["1", "1"]["metadata"]["name"]
    realm.client.patch("v1", "Pod", name, {"status": failed}, namespace, subresource="status")

    def anew() -> set[tuple[str, str]]:
        now = pods(realm, namespace)
        assert len(now) == 4
        return {place for place, pod in now.items() if pod["metadata"]["uid"] != before[place]["metadata"]["uid"]}

    eventually(lambda: anew() == {("1", "0"), ("1", "1")}, what="the group is made anew")


def test_groups_are_scaled_counted_by_leaders_and_given_up(
    realm: Realm, namespace: str, controller: GroupController
) -> None:
    assert controller.process.poll() is None
    realm.model(namespace, **LARGE)
    eventually(lambda: len(pods(realm, namespace)) == 2, what="one group")
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"replicas": 2}}, namespace, subresource="scale")
    eventually(lambda: len(pods(realm, namespace)) == 4, what="two groups")

    def scale() -> Any:
        return realm.client.get(OURS, "SovereignModel", "chat", namespace, subresource="scale")["status"]

    eventually(lambda: scale()["replicas"] == 2, what="groups are counted, not pods")
    chosen = realm.client.list("v1", "Pod", namespace, labels=scale()["selector"])
    assert sorted(each["metadata"]["name"] for each in chosen) == ["chat-group-0", "chat-group-1"]
    # One write was enough: what the controller fills in is no difference.
    version = realm.client.get(*SET, namespace)["metadata"]["generation"]
    realm.settled()
    assert realm.client.get(*SET, namespace)["metadata"]["generation"] == version
    # A replica that one node can hold is a pod of a Deployment again, and the groups go.
    realm.client.patch(
        OURS, "SovereignModel", "chat", {"spec": {"parallelism": {"tensor": 8, "pipeline": 1}}}, namespace
    )
    eventually(lambda: realm.client.find(*SET, namespace) is None, what="the groups go")
    realm.served(namespace)
    names = {each["metadata"]["name"] for each in realm.client.list("networking.k8s.io/v1", "NetworkPolicy", namespace)}
    assert not {name for name in names if name.startswith("chat-group")}
