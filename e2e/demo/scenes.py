"""What the demo shows and the real-cluster suites check: the same scenes, played on the same cluster."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.demo import terminal
from e2e.demo.attacks import ABROAD, INNOCENT, INSIDE, NAMESPACE, Attempt, Manifest
from e2e.demo.install import SYSTEM, Installed
from e2e.demo.question import asking
from e2e.kubectl import Answer, Kubectl, wait_until

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "samples" / "quickstart"
DEPLOYMENTS = ("bailiwick-operator", "bailiwick-admission")
PODS_OF_A_KIND = {"Job": 1, "StatefulSet": 2, "DaemonSet": 1}


def condition(thing: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition of an object; empty when it is not there."""
    conditions = thing.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Whether the object's summary is True and belongs to what was applied last."""
    ready = condition(thing, "Ready")
    return ready.get("status") == "True" and ready.get("observedGeneration") == thing["metadata"].get("generation")


def clear(kubectl: Kubectl) -> None:
    """Remove what an earlier run left in the tenant's namespace, except the model."""
    namespace, _ = _objects("1-policy.yaml")
    kubectl.apply(namespace)
    everything = ("job,statefulset,daemonset,pod", "-n", NAMESPACE, "-l", "!bailiwick.dev/model", "--ignore-not-found")
    kubectl.run(["delete", *everything, "--wait=true"], timeout=120)
    kubectl.must("apply", "--server-side", "-f", str(Path(__file__).with_name("attackers.yaml")))


def govern(kubectl: Kubectl) -> None:
    """Statements and the policy; returns when the namespace is governed and the border active."""
    for statement, node in zip(_objects("2-statements.yaml"), (INSIDE, ABROAD), strict=True):
        statement["metadata"]["name"] = statement["spec"]["node"]["name"] = node
        kubectl.apply(statement)
    namespace, policy = _objects("1-policy.yaml")
    kubectl.apply(namespace, policy)
    wait_until(lambda: is_ready(kubectl.get("respol", policy["metadata"]["name"])), what="policy is ready")
    wait_until(
        lambda: kubectl.get("ns", NAMESPACE)["metadata"]["labels"].get("bailiwick.dev/governed") == "true",
        what=f"namespace {NAMESPACE} is governed",
    )


def serve(kubectl: Kubectl, installed: Installed) -> Mapping[str, Any]:
    """Apply the quickstart's model with the digest that the nodes know, and wait until it answers."""
    (model,) = _objects("3-model.yaml")
    model["spec"]["model"]["source"]["oci"]["image"] = installed.model_image
    wait_until(lambda: _accepted(kubectl, model), what="the model is admitted")
    return serving(kubectl)


def serving(kubectl: Kubectl) -> Mapping[str, Any]:
    """The model, once it answers."""
    return wait_until(
        lambda: seen if is_ready(seen := kubectl.get("smodel", "assistant", "-n", NAMESPACE)) else None,
        what=f"model assistant is ready (kubectl describe smodel assistant -n {NAMESPACE})",
        seconds=300,
    )


def _accepted(kubectl: Kubectl, model: Manifest) -> bool:
    """A namespace that became governed just now needs a moment until the API server knows."""
    return kubectl.run(["apply", "--server-side", "-f", "-"], standard_input=yaml.safe_dump(dict(model))).accepted


def ask(kubectl: Kubectl, model: Mapping[str, Any], image: str) -> str:
    """The model's answer to the question, asked by a pod of the tenant."""
    kubectl.run(["delete", "job", "ask", "-n", NAMESPACE, "--ignore-not-found", "--wait=true"])
    kubectl.apply(asking(endpoint=model["status"]["endpoint"], model=model["spec"]["model"]["name"], image=image))
    kubectl.must("wait", "job/ask", "-n", NAMESPACE, "--for=condition=Complete", "--timeout=120s", timeout=130)
    return kubectl.must("logs", "job/ask", "-n", NAMESPACE).strip()


def attempt(kubectl: Kubectl, tried: Attempt) -> Answer:
    """Try it, as who would try it."""
    for manifest in tried.prepare:
        kubectl.apply(manifest)
    return kubectl.run(tried.arguments(), standard_input=tried.standard_input())


def is_held(tried: Attempt, answer: Answer) -> bool:
    """Whether it was refused, and by what should refuse it."""
    return not answer.accepted and tried.stopped_by in answer.text and tried.reason in answer.text


def said(text: str) -> str:
    """What the API server said, without kubectl's preamble."""
    found = re.search(r"ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request: (.*)", text, re.DOTALL)
    return f"{found[1]}: {found[2]}" if found else text.removeprefix("Error from server ")


def nodes_of(kubectl: Kubectl, workload: Manifest) -> dict[str, str]:
    """The nodes of a workload's pods by name, once all that are wanted have one."""
    kind, name = workload["kind"], workload["metadata"]["name"]
    selector = f"batch.kubernetes.io/job-name={name}" if kind == "Job" else f"app={name}"

    def settled() -> dict[str, str] | None:
        pods = kubectl.items("pods", "-n", NAMESPACE, "-l", selector)
        nodes = {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods}
        return nodes if len(nodes) >= PODS_OF_A_KIND[kind] and all(nodes.values()) else None

    return wait_until(settled, what=f"pods of {kind} {name} have a node")


def node_of(kubectl: Kubectl, pod: Manifest) -> str:
    """The node of one pod, once it has one."""
    name = pod["metadata"]["name"]

    def look() -> str:
        return str(kubectl.get("pod", name, "-n", NAMESPACE).get("spec", {}).get("nodeName", ""))

    return wait_until(look, what=f"pod {name} has a node")


def kill_bailiwick(kubectl: Kubectl) -> None:
    """Every pod of ours, gone until `revive_bailiwick`."""
    kubectl.must("scale", "deployment", *DEPLOYMENTS, "--replicas=0", "-n", SYSTEM)
    wait_until(
        lambda: not kubectl.items("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=bailiwick"),
        what="no Bailiwick pod is left",
    )


def revive_bailiwick(kubectl: Kubectl) -> None:
    """As many as the chart wants, ready and asked."""
    kubectl.must("scale", "deployment", *DEPLOYMENTS, "--replicas=2", "-n", SYSTEM)
    for name in DEPLOYMENTS:
        kubectl.must("rollout", "status", f"deployment/{name}", "-n", SYSTEM, "--timeout=120s", timeout=130)
    webhook_answers(kubectl)


def webhook_answers(kubectl: Kubectl) -> None:
    """Wait until the API server reaches the webhook: that its pods are ready takes a moment to get around."""
    _, policy = _objects("1-policy.yaml")
    policy["metadata"]["name"] = "another"
    wait_until(
        lambda: kubectl.run(["create", "--dry-run=server", "-f", "-"], standard_input=yaml.safe_dump(policy)).accepted,
        what="the webhook answers",
    )


def start_again(kubectl: Kubectl, workload: Manifest = INNOCENT[0]) -> dict[str, str]:
    """Delete a workload and start it anew; where its pods run."""
    kubectl.run(["delete", workload["kind"].lower(), workload["metadata"]["name"], "-n", NAMESPACE, "--wait=true"])
    kubectl.apply(workload)
    return nodes_of(kubectl, workload)


def summary(kubectl: Kubectl) -> None:
    """Models, where they run, and how well that is vouched for; then the policy, and why nodes are outside."""
    rows = [
        (
            f"{model['metadata']['namespace']}/{model['metadata']['name']}",
            condition(model, "Ready").get("status", "Unknown"),
            placement["node"],
            placement.get("jurisdiction", "unknown"),
            placement.get("assurance", "none"),
            model["status"].get("endpoint", ""),
        )
        for model in kubectl.items("smodel", "-A")
        for placement in model.get("status", {}).get("placements", [])
    ]
    terminal.table(("MODEL", "READY", "NODE", "JURISDICTION", "ASSURANCE", "ENDPOINT"), rows)
    terminal.line()
    for policy in kubectl.items("respol"):
        status = policy.get("status", {})
        proved = condition(policy, "Enforced")
        terminal.line(
            f"  policy {policy['metadata']['name']}: {status['counts']['nodes']} inside; "
            f"enforced: {proved['status']}, {proved['message']}"
        )
        for count in status.get("outside", []):
            terminal.paragraph(f"{count['count']} outside, {count['reason']}: {count['message']}", indent=4)


def _objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((QUICKSTART / name).read_text()))
