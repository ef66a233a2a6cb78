"""What the demo and the real-cluster suites stand on: the cluster, the chart, and the quickstart's objects."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.demo.attacks import NAMESPACE
from e2e.kubectl import Kubectl, wait_until

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "samples" / "quickstart"
SYSTEM = "bailiwick-system"


def condition(thing: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition of an object; empty when it is not there."""
    conditions = thing.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Whether the object's summary is True and belongs to what was applied."""
    ready = condition(thing, "Ready")
    return ready.get("status") == "True" and ready.get("observedGeneration") == thing["metadata"].get("generation")


def quickstart(kubectl: Kubectl, *, model_image: str) -> None:
    """Apply the quickstart's objects, in the order a person would."""
    for statement in _objects("2-statements.yaml"):
        kubectl.apply(statement)
    namespace, policy = _objects("1-policy.yaml")
    kubectl.apply(namespace)
    kubectl.apply(policy)
    wait_until(
        lambda: is_ready(kubectl.get("respol", policy["metadata"]["name"])), what="policy health is ready", seconds=60
    )
    (model,) = _objects("3-model.yaml")
    model["spec"]["model"]["source"]["oci"]["image"] = model_image
    wait_until(
        lambda: kubectl.get("ns", NAMESPACE)["metadata"]["labels"].get("bailiwick.dev/governed") == "true",
        what=f"namespace {NAMESPACE} is governed",
        seconds=30,
    )
    kubectl.apply(model)


def _objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((QUICKSTART / name).read_text()))


def pods_by_node(kubectl: Kubectl, selector: str) -> dict[str, str]:
    """Names of pods with the node that each runs on; empty where it waits."""
    pods = kubectl.items("pods", "-n", NAMESPACE, "-l", selector)
    return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods}


def refused_by(text: str) -> str:
    """The refusing policy in an API server's message, or the start of the message."""
    found = re.search(r"ValidatingAdmissionPolicy '([^']+)'", text)
    return found.group(1) if found else text.split(":")[0]


