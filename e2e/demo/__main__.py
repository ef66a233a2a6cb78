"""``make demo``: from nothing to an answer from inside the border, and every way across it refused."""

import sys
import time
from collections.abc import Iterable

from e2e.cluster import cluster
from e2e.cluster.steps import ClusterError
from e2e.demo import scenes, terminal
from e2e.demo.attacks import ATTEMPTS, INNOCENT, INSIDE, OR_TERMS, Attempt
from e2e.demo.install import Installed, install
from e2e.demo.question import QUESTION
from e2e.kubectl import Kubectl


def main() -> int:
    """Run the demo; 1 when anything crossed the border or did not work."""
    begin = time.monotonic()
    terminal.line(terminal.bold("Bailiwick: AI inference stays inside the border its owner draws"))

    terminal.heading("1. A real Kubernetes cluster, and Bailiwick in it")
    installed = install()
    kubectl = installed.kubectl

    terminal.heading("2. A policy, two statements, a model")
    scenes.clear(kubectl)
    with terminal.step(
        "policy health: EU and Switzerland; one worker stands in DE, one in US, the control plane unknown"
    ):
        scenes.govern(kubectl)
    with terminal.step("model assistant: SmolLM2-135M-Instruct on vLLM, its weights an OCI volume named by digest"):
        model = scenes.serve(kubectl, installed)

    terminal.heading(f"3. A question, asked through the Service: {QUESTION}")
    terminal.line(f"  {terminal.bold(scenes.ask(kubectl, model, installed.engine_image))}")

    terminal.heading("4. Attempts to cross the border")
    crossed = [tried.name for tried in ATTEMPTS if not refused(kubectl, tried)]

    terminal.heading("5. Workloads whose authors never heard of Bailiwick")
    kubectl.apply(*INNOCENT, OR_TERMS)
    for workload in INNOCENT:
        crossed += told(
            f"{workload['kind']} {workload['metadata']['name']}", scenes.nodes_of(kubectl, workload).values()
        )
    crossed += told("a pod with ORed affinity terms that prefers abroad", [scenes.node_of(kubectl, OR_TERMS)])

    terminal.heading("6. Every Bailiwick pod dead")
    scenes.kill_bailiwick(kubectl)
    try:
        crossed += [tried.name for tried in (ATTEMPTS[0], *ATTEMPTS[3:5]) if not refused(kubectl, tried)]
        crossed += told("a compliant Job, started meanwhile,", scenes.start_again(kubectl).values())
    finally:
        scenes.revive_bailiwick(kubectl)

    terminal.heading("The result")
    scenes.serving(kubectl)
    scenes.summary(kubectl)
    return conclude(installed, crossed, time.monotonic() - begin)


def refused(kubectl: Kubectl, tried: Attempt) -> bool:
    """Try it and tell; whether it was refused by what should refuse it."""
    answer = scenes.attempt(kubectl, tried)
    held = scenes.is_held(tried, answer)
    mark = terminal.good("refused") if held else terminal.bad("CROSSED" if answer.accepted else "refused otherwise")
    terminal.line(f"  {mark}  {terminal.bold(tried.name)} {terminal.faint(f'({tried.who})')}")
    terminal.paragraph(scenes.said(answer.text), indent=11)
    return held


def told(what: str, nodes: Iterable[str]) -> list[str]:
    """Tell where something runs; its name if that is outside."""
    outside = any(node != INSIDE for node in nodes)
    mark = terminal.bad("OUTSIDE") if outside else terminal.good("inside ")
    terminal.line(f"  {mark}  {terminal.bold(what)} runs on {', '.join(sorted(set(nodes)))}")
    return [what] if outside else []


def conclude(installed: Installed, crossed: list[str], seconds: float) -> int:
    """The last lines, and the exit code."""
    terminal.line()
    if crossed:
        terminal.line(terminal.bad(f"  CROSSED: {', '.join(crossed)}"))
        return 1
    terminal.line(terminal.good(f"  {len(ATTEMPTS)} attempts refused, nothing crossed; {seconds:.0f} s in all"))
    terminal.line()
    terminal.line("  The cluster stays up. Look around:")
    terminal.line(f"    export KUBECONFIG={installed.kubeconfig} PATH={installed.tools}:$PATH")
    terminal.line("    kubectl get bailiwick -A")
    terminal.line("    kubectl describe smodel assistant -n clinic")
    terminal.line("    kubectl explain residencypolicy.spec.place")
    if not cluster.external():
        terminal.line("  Stop it: make cluster-down")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ClusterError, TimeoutError, RuntimeError) as error:
        sys.exit(f"\n{terminal.bad('the demo stopped')}: {error}\nlogs: .run/logs")
