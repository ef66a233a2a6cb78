"""The cluster, the images on its nodes, and Bailiwick by its Helm chart: what a person does before the first policy."""

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import cluster, images, kind
from e2e.cluster.binaries import binary
from e2e.cluster.load import load_image
from e2e.cluster.steps import ClusterError
from e2e.demo import terminal
from e2e.demo.attacks import ABROAD, INSIDE
from e2e.kubectl import Kubectl

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "bailiwick"
SYSTEM = "bailiwick-system"
WORKERS = tuple(node for node in kind.NODES if "control-plane" not in node)
SMALL = ("operator", "gate")
LARGE = ("vllm-cpu", "smollm2-135m-instruct")


@dataclass(frozen=True, slots=True)
class Installed:
    """A cluster with Bailiwick, and the images that models use there, by digest."""

    kubectl: Kubectl
    kubeconfig: Path
    tools: Path
    engine_image: str
    model_image: str


def install() -> Installed:
    """Have everything there that a policy and a model need. What is there already is left as it is."""
    given = cluster.external()
    what = (
        f"the cluster of {given}" if given else "a cluster of three nodes: control plane, worker inside, worker abroad"
    )
    with terminal.step(what):
        kubeconfig = cluster.up()
    if given:
        _check_given(Kubectl(binary("kubectl"), kubeconfig))
    with terminal.step("images on the nodes: operator, gate, engine (vLLM on CPU), model (SmolLM2-135M-Instruct)"):
        references = _images()
    with terminal.step("helm install bailiwick charts/bailiwick"):
        install_chart(
            kubeconfig,
            operator=references["operator"],
            gate=references["gate"],
            engines={"cpu.image": references["vllm-cpu"]},
        )
    return Installed(
        kubectl=Kubectl(binary("kubectl"), kubeconfig),
        kubeconfig=kubeconfig,
        tools=binary("kubectl").parent,
        engine_image=references["vllm-cpu"],
        model_image=references["smollm2-135m-instruct"],
    )


def _check_given(kubectl: Kubectl) -> None:
    """A given cluster must have the two nodes of the demo. Raises ClusterError."""
    for variable, node in (("NODE_INSIDE", INSIDE), ("NODE_ABROAD", ABROAD)):
        if not kubectl.get("node", node):
            raise ClusterError(
                f"CLUSTER=external: the cluster has no node {node}. Set {variable} to one of its workers; "
                "docs/cluster.md says what else the demo needs there."
            )


def _images() -> dict[str, str]:
    """References by digest. Small images go to both workers, large ones only to the one inside.

    A given cluster has them already.
    """
    if cluster.external():
        return {name: f"{cluster.repository()}/{name}@{images.digest(name)}" for name in (*SMALL, *LARGE)}
    work: list[tuple[str, tuple[str, ...]]] = [(name, WORKERS) for name in SMALL] + [
        (name, (INSIDE,)) for name in LARGE
    ]
    with ThreadPoolExecutor(2) as pool:
        references = pool.map(lambda each: load_image(images.archive(each[0]), each[1]), work)
        return dict(zip((name for name, _ in work), references, strict=True))


def reference(name: str) -> str:
    """One of the project's images by the digest that the node inside knows. Raises ClusterError."""
    if cluster.external():
        return f"{cluster.repository()}/{name}@{images.digest(name)}"
    return load_image(images.archive(name), (INSIDE,))


def install_chart(
    kubeconfig: Path, *, operator: str, gate: str, engines: Mapping[str, str], chart: Path = CHART
) -> None:
    """Helm, with images by digest; those of engines by the chart's value for their class. Raises RuntimeError."""
    repository, _, digest = operator.partition("@")
    values = {
        "image.repository": repository,
        "image.digest": digest,
        "gate.image": gate,
        "weights.image": operator,
        **{f"acceleratorClasses.{value}": image for value, image in engines.items()},
    }
    command = [
        str(binary("helm")), "upgrade", "--install", "bailiwick", str(chart),
        "--kubeconfig", str(kubeconfig), "--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "3m",
        *(part for name, value in values.items() for part in ("--set-string", f"{name}={value}")),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"helm: {done.stderr.strip()}\n{done.stdout.strip()}")
