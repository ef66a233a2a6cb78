"""What Bailiwick promises, on a real cluster: real scheduler, real kubelets, real vLLM and HAProxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.client import PROMPT
from e2e.cluster import cluster
from e2e.cluster.steps import ClusterError
from e2e.demo import scenes
from e2e.demo.attacks import ABROAD, ATTEMPTS, INNOCENT, INSIDE, LABEL, NAMESPACE, OR_TERMS, Attempt
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

pytestmark = pytest.mark.usefixtures("model")
CHILDREN = ("deployment", "service", "serviceaccount", "networkpolicy", "poddisruptionbudget")
GATE = ("exec", "-n", NAMESPACE, "deploy/assistant", "-c", "gate", "--", "bash", "-c")


def test_the_model_answers_through_its_service(
    kubectl: Kubectl, installed: Installed, model: Mapping[str, Any]
) -> None:
    assert "Paris" in scenes.ask(kubectl, model, installed.engine_image)


def test_the_status_says_where_the_model_runs_and_why_not_elsewhere(kubectl: Kubectl, model: Mapping[str, Any]) -> None:
    status = model["status"]
    placements = {(each["node"], each["jurisdiction"], each["assurance"]) for each in status["placements"]}
    assert placements == {(INSIDE, "DE", "Declared")}
    assert status["policies"] == ["health"]
    assert status["nodes"]["eligible"] == 1
    reasons = {count["reason"]: count["examples"] for count in status["nodes"]["ineligible"]}
    unknown = sorted({node["metadata"]["name"] for node in kubectl.items("nodes")} - {INSIDE, ABROAD})
    assert reasons == {"WrongPlace": [ABROAD], "PlaceUnknown": unknown}
    assert scenes.condition(model, "Resident")["status"] == "True"
    assert scenes.condition(model, "Verified")["reason"] == "DigestPinned"


@pytest.mark.parametrize("tried", ATTEMPTS, ids=lambda tried: tried.name.replace(" ", "-"))
def test_an_attempt_is_refused_by_what_should_refuse_it(kubectl: Kubectl, tried: Attempt) -> None:
    answer = scenes.attempt(kubectl, tried)
    assert scenes.is_held(tried, answer), answer.text


def test_a_kubelet_abroad_cannot_label_itself_with_its_own_credentials() -> None:
    if cluster.external():
        pytest.skip("a given cluster does not lend us its nodes")
    own = ("kubectl", "--kubeconfig=/etc/kubernetes/kubelet.conf", "label", "node", ABROAD, "--overwrite")
    with pytest.raises(ClusterError, match="is not allowed to modify labels"):
        cluster.engine().inside(ABROAD, *own, f"{LABEL}=resident")
    allowed = cluster.engine().inside(ABROAD, *own, "topology.kubernetes.io/region=eu-central-1")
    assert "label" in allowed, "the control: topology labels are the kubelet's to write, so nobody may believe them"


@pytest.mark.parametrize("workload", INNOCENT, ids=lambda workload: workload["kind"])
def test_a_workload_of_a_stranger_runs_inside(kubectl: Kubectl, workload: Mapping[str, Any]) -> None:
    assert set(scenes.start_again(kubectl, workload).values()) == {INSIDE}


def test_ored_affinity_terms_that_prefer_abroad_lead_inside(kubectl: Kubectl) -> None:
    kubectl.apply(OR_TERMS)
    assert scenes.node_of(kubectl, OR_TERMS) == INSIDE


@pytest.fixture(scope="class")
def bailiwick_dead(kubectl: Kubectl, model: Mapping[str, Any]) -> Iterator[None]:
    """Not one pod of ours, while the class runs."""
    scenes.kill_bailiwick(kubectl)
    yield
    scenes.revive_bailiwick(kubectl)


@pytest.mark.usefixtures("bailiwick_dead")
class TestEveryBailiwickPodDead:
    @pytest.mark.parametrize("tried", ATTEMPTS, ids=lambda tried: tried.name.replace(" ", "-"))
    def test_the_refusals_stay(self, kubectl: Kubectl, tried: Attempt) -> None:
        answer = scenes.attempt(kubectl, tried)
        assert scenes.is_held(tried, answer), answer.text

    def test_compliant_pods_still_start(self, kubectl: Kubectl) -> None:
        assert set(scenes.start_again(kubectl).values()) == {INSIDE}


def test_the_engine_cannot_be_reached_around_the_gate(kubectl: Kubectl) -> None:
    around = kubectl.run([*GATE, 'exec 3<>"/dev/tcp/$HOSTNAME/8000" && echo open'])
    assert "Connection refused" in around.text, around.text
    through = kubectl.run([*GATE, 'exec 3<>"/dev/tcp/$HOSTNAME/8080" && echo open'])
    assert through.text == "open", "the control: the gate listens on the pod's address"


def test_the_gate_refuses_the_engines_unguarded_paths(kubectl: Kubectl) -> None:
    request = (
        'exec 3<>/dev/tcp/127.0.0.1/8080; printf "{} {} HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n'
        'Connection: close\\r\\n\\r\\n" >&3; read -r first <&3; echo $first'
    )
    assert " 404 " in kubectl.must(*GATE, request.format("POST", "/invocations"))
    assert " 200 " in kubectl.must(*GATE, request.format("GET", "/v1/models"))


def test_nothing_leaves_a_pod_of_the_model(kubectl: Kubectl) -> None:
    reach = "exec 3<>/dev/tcp/$KUBERNETES_SERVICE_HOST/$KUBERNETES_SERVICE_PORT && echo open"
    blocked = kubectl.run([*GATE, reach], timeout=200)
    assert not blocked.accepted
    assert "refused" in blocked.text or "timed out" in blocked.text, blocked.text


@pytest.mark.parametrize("kind_of_child", [kind for kind in CHILDREN if kind != "networkpolicy"])
def test_a_child_that_somebody_deletes_comes_back(kubectl: Kubectl, kind_of_child: str) -> None:
    before = kubectl.get(kind_of_child, "assistant", "-n", NAMESPACE)["metadata"]["uid"]
    if kind_of_child == "deployment":  # its pods stay: the new Deployment adopts them
        kubectl.must("delete", kind_of_child, "assistant", "-n", NAMESPACE, "--cascade=orphan")
    else:
        kubectl.must("delete", kind_of_child, "assistant", "-n", NAMESPACE)
    wait_until(
        lambda: (
            kubectl.get(kind_of_child, "assistant", "-n", NAMESPACE).get("metadata", {}).get("uid", before) != before
        ),
        what=f"{kind_of_child} is back",
        seconds=PROMPT,
    )


def test_what_closes_the_engine_cannot_even_be_deleted(kubectl: Kubectl) -> None:
    answer = kubectl.run(["delete", "networkpolicy", "assistant", "-n", NAMESPACE])
    assert not answer.accepted
    assert "bailiwick-networks" in answer.text
    assert "OperatorOnly" in answer.text


def test_what_a_hand_adds_to_a_child_is_taken_away(kubectl: Kubectl) -> None:
    kubectl.must("patch", "service", "assistant", "-n", NAMESPACE, "-p", '{"spec":{"externalIPs":["192.0.2.1"]}}')
    wait_until(
        lambda: "externalIPs" not in kubectl.get("service", "assistant", "-n", NAMESPACE)["spec"],
        what="the external IP is gone",
        seconds=PROMPT,
    )


def test_the_children_of_a_deleted_model_go(kubectl: Kubectl, installed: Installed) -> None:
    brief = dict(kubectl.get("smodel", "assistant", "-n", NAMESPACE))
    brief = {
        "apiVersion": brief["apiVersion"],
        "kind": brief["kind"],
        "metadata": {"name": "brief", "namespace": NAMESPACE},
        "spec": {**brief["spec"], "replicas": 0},
    }
    kubectl.apply(brief)
    wait_until(lambda: all(_there(kubectl, child) for child in CHILDREN), what="all children are there")
    kubectl.must("delete", "smodel", "brief", "-n", NAMESPACE)
    wait_until(lambda: not any(_there(kubectl, child) for child in CHILDREN), what="all children are gone")


def _there(kubectl: Kubectl, child: str) -> bool:
    return bool(kubectl.get(child, "brief", "-n", NAMESPACE))
