"""Installed, imported, served and scaled on nodes without a route out, and a look at every packet that pods began."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.airgap.gap import Capture, mirrored, no_route_out
from e2e.cluster import cluster, kind
from e2e.cluster.binaries import binary
from e2e.cluster.services import NAMESPACE as SERVICES
from e2e.cluster.services import REGISTRY, push
from e2e.demo.attacks import ABROAD, INSIDE
from e2e.demo.install import SYSTEM, install_chart
from e2e.demo.scenes import govern, is_ready
from e2e.kubectl import Kubectl, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.skipif(bool(cluster.external()), reason="a given cluster keeps its routes")

GROUND = Path(__file__).with_name("ground.yaml")
NAMESPACE = MODEL = "airgap"
NAME = "registry.airgap.example"
IMAGES = ("operator", "gate", "llama-cpp", "smollm2-135m-instruct-gguf")
ELSEWHERE = "192.0.2.1"  # of no network (RFC 5737)
_LEAVE = f"import socket; socket.create_connection(('{ELSEWHERE}', 443), 2)"
_ASK = """
import json, sys, time, urllib.error, urllib.request
url, model = sys.argv[1:]
body = {"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
for left in range(30, -1, -1):  # the network learns of a new pod a moment after it starts
    try:
        print(json.load(urllib.request.urlopen(asked, timeout=60))["choices"][0]["message"]["content"])
        break
    except urllib.error.URLError:
        if not left:
            raise
        time.sleep(1)
"""


@pytest.fixture(scope="module")
def kubectl() -> Kubectl:
    """Cluster-admin of the cluster, with or without Bailiwick."""
    return Kubectl(binary("kubectl"), cluster.up())


@pytest.fixture(scope="module")
def mirror(kubectl: Kubectl) -> Iterator[Mapping[str, str]]:
    """The images by digest as the registry inside the cluster has them, and the nodes cut off from all others."""
    with REGISTRY.running(kubectl) as registry:
        with REGISTRY.reached(kubectl) as address:
            pushed = {name: f"{NAME}/{push(name, address, 'bailiwick')}" for name in IMAGES}
        with mirrored(NAME, registry), no_route_out():
            yield pushed


@pytest.fixture(scope="module")
def captures(mirror: Mapping[str, str]) -> Iterator[Mapping[str, Capture]]:
    """What pods begin to send, by node."""
    with Capture(INSIDE) as inside, Capture(ABROAD) as abroad:
        yield {INSIDE: inside, ABROAD: abroad}


@pytest.fixture(scope="module")
def served(kubectl: Kubectl, mirror: Mapping[str, str], captures: Mapping[str, Capture]) -> Iterator[Mapping[str, Any]]:
    """The chart installed, a policy, and a model that answers: all after the last route was gone."""
    install_chart(
        kubectl.kubeconfig,
        operator=mirror["operator"],
        gate=mirror["gate"],
        engines={"cpu.llamaCpp.image": mirror["llama-cpp"]},
    )
    govern(kubectl)
    kubectl.must("apply", "--server-side", "-f", str(GROUND))
    model = json.dumps(_model(mirror))
    wait_until(
        lambda: kubectl.run(["apply", "--server-side", "-f", "-"], standard_input=model).accepted,
        what="the model is admitted",
    )
    yield ready(kubectl, 1)
    kubectl.must("delete", "smodel", MODEL, "-n", NAMESPACE)
    kubectl.must("delete", "pod", "--all", "-n", NAMESPACE, "--force")  # nobody asks any more
    kubectl.must("delete", "-f", str(GROUND), "--wait=true", timeout=180)


def _model(mirror: Mapping[str, str]) -> Mapping[str, Any]:
    source = {"oci": {"image": mirror["smollm2-135m-instruct-gguf"]}}
    return {
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "SovereignModel",
        "metadata": {"name": MODEL, "namespace": NAMESPACE},
        "spec": {
            "model": {"name": MODEL, "source": source},
            "engine": {"name": "llama.cpp"},
            "accelerators": {"classes": ["cpu"]},
            "context": {"maxLength": 1024, "maxSequences": 2},
        },
    }


def ready(kubectl: Kubectl, replicas: int) -> Mapping[str, Any]:
    """The model, once so many replicas serve."""

    def look() -> Mapping[str, Any] | None:
        seen = kubectl.get("smodel", MODEL, "-n", NAMESPACE)
        return seen if is_ready(seen) and len(seen["status"].get("placements", [])) == replicas else None

    return wait_until(look, what=f"{replicas} replicas serve (kubectl describe smodel -n {NAMESPACE})", seconds=180)


def run(kubectl: Kubectl, name: str, namespace: str, image: str, *command: str) -> tuple[str, str]:
    """Run a pod to its end; its phase, and its log."""
    container = {
        "name": name, "image": image, "command": ["python3", "-c", *command],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    secure = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "securityContext": secure,
        "nodeSelector": {"kubernetes.io/hostname": INSIDE}, "containers": [container],
    }  # fmt: skip
    metadata = {"name": name, "namespace": namespace}
    kubectl.run(["delete", "pod", name, "-n", namespace, "--ignore-not-found", "--wait=true"])
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    over = ("Succeeded", "Failed")
    phase = wait_until(
        lambda: seen if (seen := kubectl.get("pod", name, "-n", namespace)["status"]["phase"]) in over else None,
        what=f"pod {name} ends",
    )
    return phase, kubectl.must("logs", name, "-n", namespace)


def ask(kubectl: Kubectl, image: str, url: str) -> None:
    """Have a pod of the namespace ask the model, which answers."""
    phase, text = run(kubectl, "asker", NAMESPACE, image, _ASK, url, MODEL)
    assert phase == "Succeeded", text
    assert text.strip()


def pods(kubectl: Kubectl, namespace: str, labels: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Node, address and manifest of each."""
    found = kubectl.items("pods", "-n", namespace, "-l", labels)
    assert found, f"namespace {namespace} has no pod with {labels}"
    return [(each["spec"]["nodeName"], each["status"]["podIP"], each) for each in found]


def test_the_capture_sees_who_tries_to_leave(
    kubectl: Kubectl, mirror: Mapping[str, str], captures: Mapping[str, Capture]
) -> None:
    """The control: without it an empty capture would prove nothing."""
    phase, _ = run(kubectl, "leaver", SERVICES, mirror["operator"], _LEAVE)
    assert phase == "Failed", "there is a way out"
    address, capture = kubectl.get("pod", "leaver", "-n", SERVICES)["status"]["podIP"], captures[INSIDE]
    wait_until(lambda: capture.begun_by(address), what="the attempt is in the capture")
    assert all(ELSEWHERE in line for line in capture.begun_by(address))


def test_it_serves_and_scales(kubectl: Kubectl, mirror: Mapping[str, str], served: Mapping[str, Any]) -> None:
    url = f"{served['status']['endpoint']}/chat/completions"
    ask(kubectl, mirror["operator"], url)
    kubectl.must("scale", "smodel", MODEL, "-n", NAMESPACE, "--replicas=2")
    ready(kubectl, 2)
    ask(kubectl, mirror["operator"], url)


def test_every_image_came_from_the_registry_inside(kubectl: Kubectl, served: Mapping[str, Any]) -> None:
    (_, _, pod), *_ = pods(kubectl, NAMESPACE, f"bailiwick.dev/model={MODEL}")
    pulled = {
        each["message"].split('"')[1]
        for each in kubectl.items("events", "-n", NAMESPACE)
        if each["reason"] == "Pulled" and each["involvedObject"]["name"] == pod["metadata"]["name"]
    }
    assert pulled
    assert all(image.startswith(f"{NAME}/") for image in pulled)
    assert served["status"]["plan"]["image"].startswith(f"{NAME}/")


@pytest.mark.usefixtures("served")
def test_the_models_pods_began_nothing(kubectl: Kubectl, captures: Mapping[str, Capture]) -> None:
    """But what the seal tries before the engine starts: connections to the API server, until they are refused."""
    api = kubectl.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    for node, address, pod in pods(kubectl, NAMESPACE, f"bailiwick.dev/model={MODEL}"):
        (engine,) = (each for each in pod["status"]["containerStatuses"] if each["name"] == "engine")
        started = datetime.fromisoformat(engine["state"]["running"]["startedAt"]).timestamp()
        tried = captures[node].begun_by(address)
        assert tried, "the seal tries"
        assert [line for line in tried if f"> {api}.443" not in line and ".6443:" not in line] == []
        assert [line for line in tried if float(line.split()[0]) > started + 1] == []


@pytest.mark.usefixtures("served")
def test_bailiwicks_own_pods_stayed_in_the_cluster(kubectl: Kubectl, captures: Mapping[str, Capture]) -> None:
    """They ask the API server and the name service, and nobody else."""
    nodes = [
        address["address"]
        for node in kubectl.items("nodes")
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP"
    ]
    networks = [
        *(f"dst net {each}" for each in (kind.POD_SUBNET, kind.SERVICE_SUBNET)),
        *(f"dst host {each}" for each in nodes),
    ]
    for node, address, _ in pods(kubectl, SYSTEM, "app.kubernetes.io/name=bailiwick"):
        assert captures[node].begun_by(address), "it asks the API server"
        assert captures[node].begun_by(address, but=" or ".join(networks)) == []


def test_no_packet_escaped_the_captures(captures: Mapping[str, Capture]) -> None:
    for capture in captures.values():
        assert capture.end().startswith("0 packets dropped")
