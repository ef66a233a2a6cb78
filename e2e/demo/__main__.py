"""``make demo``: from nothing to an answer from inside the border, and every way across it refused."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from e2e.demo import terminal
from e2e.demo.attacks import ABROAD, ATTEMPTS, INNOCENT, INSIDE, NAMESPACE, OR_TERMS, Attempt
from e2e.demo.install import Installed, install
from e2e.demo.question import QUESTION, asking
from e2e.demo.stage import condition, is_ready, pods_by_node, quickstart, refused_by
from e2e.kubectl import Kubectl, wait_until


def main() -> int:
    """Run the demo; 1 when anything crossed the border or did not work."""
    begin = time.monotonic()
    terminal.line(terminal.bold("Bailiwick: AI inference stays inside the border its owner draws"))

    terminal.heading("1. A real Kubernetes cluster, and Bailiwick in it")
    installed = install()
    kubectl = installed.kubectl

    terminal.heading("2. A policy, two statements, a model")
    clear(kubectl)
    model = serve(kubectl, installed)

    terminal.heading(f"3. A question, asked through the Service: {QUESTION}")
    answer = ask(kubectl, model, installed.engine_image)
    terminal.line(f"  {terminal.bold(answer)}")

    terminal.heading("4. Attempts to cross the border")
    leaks = [attempt.name for attempt in ATTEMPTS if not refused(kubectl, attempt)]

    terminal.heading("5. Workloads whose authors never heard of Bailiwick")
    leaks += strays(kubectl)

    terminal.heading("6. Every Bailiwick pod gone")
    leaks += without_bailiwick(kubectl)

    terminal.heading("The result")
    summary(kubectl)
    terminal.line()
    if leaks:
        terminal.line(terminal.bad(f"  CROSSED: {', '.join(leaks)}"))
        return 1
    terminal.line(terminal.good(f"  {len(ATTEMPTS)} attempts refused, nothing crossed. {time.monotonic() - begin:.0f} s in all."))
    look_around(installed)
    return 0


def clear(kubectl: Kubectl) -> None:
    """Remove what an earlier demo left: its workloads and attackers' pods, never the cluster."""
    kubectl.run(["delete", "job,statefulset,daemonset,pod", "-n", NAMESPACE, "-l", "!bailiwick.dev/model", "--all",
                 "--ignore-not-found", "--wait=true"], timeout=120)
    kubectl.must("apply", "--server-side", "-f", "e2e/demo/namespace.yaml")
    kubectl.must("apply", "--server-side", "-f", "e2e/demo/attackers.yaml")


def serve(kubectl: Kubectl, installed: Installed) -> Mapping[str, Any]:
    """Apply the quickstart and wait for the model."""
    with terminal.step("policy health: EU and Switzerland; worker stands in DE, worker2 in US, the control plane nowhere known"):
        quickstart(kubectl, model_image=installed.model_image)
    with terminal.step("model assistant: SmolLM2-135M-Instruct on vLLM, weights as an OCI volume by digest"):
        return wait_until(
            lambda: (model := kubectl.get("smodel", "assistant", "-n", NAMESPACE)) if is_ready_model(kubectl) else None,
            what="model assistant is ready (kubectl describe smodel assistant -n clinic)",
            seconds=300,
        )


def is_ready_model(kubectl: Kubectl) -> bool:
    """Whether the model answers."""
    return is_ready(kubectl.get("smodel", "assistant", "-n", NAMESPACE))


def ask(kubectl: Kubectl, model: Mapping[str, Any], image: str) -> str:
    """The model's answer."""
    kubectl.run(["delete", "job", "ask", "-n", NAMESPACE, "--ignore-not-found", "--wait=true"])
    kubectl.apply(asking(endpoint=model["status"]["endpoint"], model=model["spec"]["model"]["name"], image=image))
    kubectl.must("wait", "job/ask", "-n", NAMESPACE, "--for=condition=Complete", "--timeout=120s", timeout=130)
    return kubectl.must("logs", "job/ask", "-n", NAMESPACE).strip()


def refused(kubectl: Kubectl, attempt: Attempt) -> bool:
    """Try it; whether it was refused, by what should refuse it."""
    for manifest in attempt.prepare:
        kubectl.apply(manifest)
    answer = kubectl.run(attempt.arguments(), standard_input=attempt.standard_input())
    held = not answer.accepted and attempt.stopped_by in answer.text and attempt.reason in answer.text
    mark = terminal.good("refused") if held else terminal.bad("CROSSED" if answer.accepted else "refused for another reason")
    terminal.line(f"  {mark}  {terminal.bold(attempt.name)} {terminal.faint(f'({attempt.who})')}")
    terminal.paragraph(message_of(answer.text), indent=11)
    return held


def message_of(text: str) -> str:
    """What the API server said, without kubectl's preamble."""
    _, _, said = text.partition("denied request: ")
    return f"{refused_by(text)}: {said}" if said else text.removeprefix("Error from server ")


def strays(kubectl: Kubectl) -> list[str]:
    """Run workloads of strangers; the names of those with a pod outside."""
    kubectl.apply(*INNOCENT, OR_TERMS)
    wanted = {"Job": 1, "StatefulSet": 2, "DaemonSet": 1}
    outside = []
    for workload in INNOCENT:
        kind, name = workload["kind"], workload["metadata"]["name"]
        selector = f"batch.kubernetes.io/job-name={name}" if kind == "Job" else f"app={name}"
        nodes = wait_until(
            lambda selector=selector, kind=kind: settled(pods_by_node(kubectl, selector), wanted[kind]),
            what=f"pods of {kind} {name} have a node", seconds=60,
        )
        outside += told(f"{kind} {name}", nodes)
    alone = wait_until(
        lambda: kubectl.get("pod", "or-terms", "-n", NAMESPACE)["spec"].get("nodeName"), what="or-terms has a node", seconds=60
    )
    return outside + told("a pod with ORed affinity terms that prefers abroad", {"or-terms": alone})


def settled(pods: dict[str, str], wanted: int) -> dict[str, str] | None:
    """The pods, once all that are wanted have a node."""
    return pods if len(pods) >= wanted and all(pods.values()) else None


def told(what: str, pods: Mapping[str, str]) -> list[str]:
    """Print where pods run; the name of the workload if one is outside."""
    outside = any(node != INSIDE for node in pods.values())
    mark = terminal.bad("OUTSIDE") if outside else terminal.good("inside ")
    terminal.line(f"  {mark}  {terminal.bold(what)} runs on {', '.join(sorted(set(pods.values())))}")
    return [what] if outside else []


def without_bailiwick(kubectl: Kubectl) -> list[str]:
    """Scale Bailiwick to nothing: the refusals stay, and compliant pods still start."""
    system = ("-n", "bailiwick-system")
    kubectl.must("scale", "deployment", "bailiwick-operator", "--replicas=0", *system)
    try:
        wait_until(
            lambda: not kubectl.items("pods", *system, "-l", "app.kubernetes.io/component=operator"),
            what="no Bailiwick pod is left", seconds=60,
        )
        leaks = [attempt.name for attempt in ATTEMPTS[:1] + ATTEMPTS[3:5] if not refused(kubectl, attempt)]
        kubectl.run(["delete", "job", "report", "-n", NAMESPACE, "--wait=true"])
        kubectl.apply(INNOCENT[0])
        selector = "batch.kubernetes.io/job-name=report"
        pods = wait_until(lambda: settled(pods_by_node(kubectl, selector), 1), what="the Job has a node", seconds=60)
        return leaks + told("a compliant Job, started with Bailiwick dead,", pods)
    finally:
        kubectl.must("scale", "deployment", "bailiwick-operator", "--replicas=2", *system)


def summary(kubectl: Kubectl) -> None:
    """Models, where they run, and how well that is vouched for; then the policy and why nodes are out."""
    rows = []
    for model in kubectl.items("smodel", "-A"):
        ready = condition(model, "Ready")
        for placement in model["status"].get("placements", []):
            rows.append(
                (f"{model['metadata']['namespace']}/{model['metadata']['name']}", ready.get("status", "Unknown"), placement["node"],
                 placement.get("jurisdiction", "unknown"), placement.get("assurance", "none"), model["status"].get("endpoint", ""))
            )
    terminal.table(("MODEL", "READY", "NODE", "JURISDICTION", "ASSURANCE", "ENDPOINT"), rows)
    terminal.line()
    policy = kubectl.get("respol", "health")
    outside = policy["status"].get("outside", [])
    terminal.table(
        ("POLICY", "NODES INSIDE", "OUTSIDE", "WHY"),
        [("health", str(policy["status"]["counts"]["nodes"]), str(count["count"]), f"{count['reason']}: {count['message']}") for count in outside],
    )


def look_around(installed: Installed) -> None:
    """How to go on."""
    terminal.line()
    terminal.line("  The cluster stays up. Look around:")
    terminal.line(f"    export KUBECONFIG={installed.kubeconfig} PATH={installed.tools}:$PATH")
    terminal.line("    kubectl get bailiwick -A")
    terminal.line("    kubectl describe smodel assistant -n clinic")
    terminal.line("    kubectl explain residencypolicy.spec.place")
    terminal.line("  Stop it: make cluster-down")


if __name__ == "__main__":
    sys.exit(main())
