"""`bailiwick explain` on a real API server: the same reasons as admission and the operator, for whoever may look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.client import ApiError, eventually
from tests.apiserver.realm import OURS
from tests.apiserver.terminal import bailiwick
from tests.apiserver.worlds import served_team

if TYPE_CHECKING:
    from tests.apiserver.realm import Policy, Realm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"


@pytest.fixture(scope="module")
def nodes(world: Realm) -> dict[str, str]:
    """One node inside, one abroad, and one of which nobody says anything, by what they are."""
    return {"inside": world.node(FRANKFURT), "abroad": world.node(VIRGINIA), "attic": world.node()}


@pytest.fixture(scope="module")
def policy(world: Realm, nodes: dict[str, str]) -> Policy:
    """A policy that allows Germany."""
    policy = world.policy("DE")
    policy.in_force().holds(nodes["inside"])
    return policy


@pytest.fixture(scope="module")
def team(world: Realm, policy: Policy) -> str:
    """A namespace that the policy governs, with a model."""
    return served_team(world, policy)


def explained(world: Realm, *arguments: str, code: int = 0) -> Any:
    done = bailiwick(world.server.kubeconfig(), "explain", *arguments, "-o", "json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def verdicts(told: Any) -> dict[str, str]:
    return {each["name"]: each["reason"] for each in told["nodes"]}


def test_a_model_is_told_what_the_operator_counted(world: Realm, team: str, nodes: dict[str, str]) -> None:
    told = explained(world, "model/chat", "-n", team)
    found = verdicts(told)
    assert [found[nodes[each]] for each in ("inside", "abroad", "attic")] == ["Allowed", "WrongPlace", "PlaceUnknown"]
    counted = world.client.get(OURS, "SovereignModel", "chat", team)["status"]["nodes"]
    assert counted["eligible"] == sum(each == "Allowed" for each in found.values())
    assert {(each["reason"], each["message"]) for each in counted["ineligible"]} == {
        (each["reason"], each["message"]) for each in told["nodes"] if not each["allowed"]
    }
    assert told["notes"] == []


@pytest.mark.parametrize("where", ["abroad", "attic"])
def test_a_pod_that_admission_refuses_there_is_told_so(
    world: Realm, team: str, policy: Policy, nodes: dict[str, str], where: str
) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "here", "namespace": team},
        "spec": {"nodeName": nodes[where], "containers": [{"name": "a", "image": "registry.example/a:1"}]},
    }  # fmt: skip
    with pytest.raises(ApiError) as refused:
        world.client.create(pod, dry_run=True)
    assert "WrongPlace: " in refused.value.message
    (waiting, *_) = eventually(lambda: world.client.list("v1", "Pod", team), what="the model has a pod")
    told = explained(world, f"pod/{waiting['metadata']['name']}", "-n", team)
    (verdict,) = [each for each in told["nodes"] if each["name"] == nodes[where]]
    assert verdict["allowed"] is False
    assert policy.name in verdict["message"]
    assert told["allowed"] is None


def test_a_pod_on_its_node_is_where_it_may_be_until_the_policy_moves(world: Realm, nodes: dict[str, str]) -> None:
    policy = world.policy("DE")
    policy.in_force().holds(nodes["inside"])
    space = world.namespace(policy.selects)
    eventually(lambda: world.marked(space), what="the namespace is marked")
    world.client.create(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job", "namespace": space},
            "spec": {
                "nodeName": nodes["inside"], "nodeSelector": {policy.label: "resident"},
                "automountServiceAccountToken": False,
                "containers": [{"name": "a", "image": "registry.example/a:1"}],
            },
        }
    )  # fmt: skip
    done = bailiwick(world.server.kubeconfig(), "explain", "pod/job", "-n", space)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"pod {space}/job runs on node {nodes['inside']} (DE), where it may\n")
    assert "MAY RUN ON (1)" in done.stdout
    place = {"allow": ["FR"], "assurance": "Declared"}
    world.client.patch(OURS, "ResidencyPolicy", policy.name, {"spec": {"place": place}})
    moved = bailiwick(world.server.kubeconfig(), "explain", "po/job", "-n", space)
    assert moved.returncode == 3
    assert "where it may not: WrongPlace: " in moved.stdout
    world.client.delete("v1", "Pod", "job", space, grace_seconds=0)  # there is no kubelet to end it


def test_a_node_is_told_for_every_policy(world: Realm, team: str, policy: Policy, nodes: dict[str, str]) -> None:
    told = yaml.safe_load(
        bailiwick(world.server.kubeconfig(), "explain", f"node/{nodes['abroad']}", "-o", "yaml").stdout
    )
    (verdict,) = [each for each in told["policies"] if each["name"] == policy.name]
    assert (verdict["reason"], verdict["place"]) == ("WrongPlace", "US")
    assert told["facts"]["place"].startswith("US, Asserted by providerID: ")


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("model/none", "there is no SovereignModel none in namespace default; another is chosen by -n"),
        ("node/none", "there is no Node none"),
        ("chat", "chat says no kind and name; write pod/NAME, model/NAME or node/NAME"),
        ("service/chat", "service/chat says no kind and name; write pod/NAME, model/NAME or node/NAME"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(world: Realm, subject: str, told: str) -> None:
    done = bailiwick(world.server.kubeconfig(), "explain", subject)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"bailiwick explain: {told}\n")


def test_who_may_not_look_is_told_what_to_ask_for(world: Realm, team: str) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-models"}
    rbac = "rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["bailiwick.dev"], "resources": ["*"], "verbs": ["get", "list"]}]
    world.create({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "reads-models"}, "rules": rules})
    subjects = [{"apiGroup": role["apiGroup"], "kind": "User", "name": "rosa"}]
    bound = {"metadata": {"name": "reads-models"}, "roleRef": role, "subjects": subjects}
    world.create({"apiVersion": rbac, "kind": "ClusterRoleBinding", **bound})
    rosa = world.server.kubeconfig("rosa", ())

    def error() -> str:
        done = bailiwick(rosa, "explain", "model/chat", "-n", team)
        assert done.returncode == 1
        return done.stderr

    eventually(lambda: "ask for the ClusterRole bailiwick-auditor" in error(), what="the role counts")
    assert "you may not list n" in error()
