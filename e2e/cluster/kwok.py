"""Nodes without machines: kwok plays the kubelet of every node that says it is fake, and of the pods bound to it.

For placement on more nodes and accelerators than there are: their pods are Running but run nothing, so nothing here
says anything about a data path. kwok is a plain process of whoever asks for it, beside any API server.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from e2e.cluster.binaries import binary, module_folder
from e2e.cluster.steps import ClusterError, leashed, log_file, tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FAKE = {"kwok.x-k8s.io/node": "fake"}  # an annotation; kwok leaves every node without it alone
LEASE_SECONDS = 40
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
# What a node has beside its accelerators.
MACHINE = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110"}
GIVE_UP_SECONDS = 1.0  # a kwok that does not like its flags has ended by then
STOP_SECONDS = 10.0


def fake_nodes(
    count: int,
    *,
    prefix: str = "fake",
    labels: Mapping[str, str] | None = None,
    provider_id: str = "",
    capacity: Mapping[str, str | int] | None = None,
) -> list[dict[str, Any]]:
    """Node objects for kwok, `<prefix>-0` and so on. The API server keeps the status that a node is created with.

    `capacity` adds to an ordinary machine (`{"nvidia.com/gpu": 8}`) and is allocatable as well. In `provider_id`,
    `{index}` is the node's number: `aws:///eu-central-1a/i-{index:017x}`.
    """
    resources = {**MACHINE, **{name: str(amount) for name, amount in (capacity or {}).items()}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"{prefix}-{index}",
                "annotations": dict(FAKE),
                "labels": {"kubernetes.io/hostname": f"{prefix}-{index}", **(labels or {})},
            },
            "spec": {"providerID": provider_id.format(index=index)} if provider_id else {},
            "status": {"capacity": resources, "allocatable": resources},
        }
        for index in range(count)
    ]


@contextmanager
def kwok(kubeconfig: Path) -> Iterator[None]:
    """While this holds, fake nodes become Ready and their pods Running. Raises ClusterError when kwok cannot run."""
    log = log_file("kwok")
    with (
        tempfile.TemporaryDirectory(prefix="bailiwick-kwok-") as folder,
        log.open("w") as out,
        subprocess.Popen(
            leashed(*_command(kubeconfig)),
            env={"HOME": folder},  # keeps ~/.kwok out of this
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            _must_run(process, log)
            yield
        finally:
            _end(process)


def _command(kubeconfig: Path) -> list[str]:
    stages = module_folder("sigs.k8s.io/kwok", "tools") / "kustomize" / "stage"
    selector = ",".join(f"{key}={value}" for key, value in FAKE.items())
    return [
        str(binary("kwok")),
        f"--kubeconfig={kubeconfig}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={selector}",
        f"--node-lease-duration-seconds={LEASE_SECONDS}",
        *(f"--config={stages / stage}" for stage in STAGES),
    ]


def _must_run(process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise ClusterError(f"kwok ended at once ({process.returncode}); the end of {log}:\n{tail(log)}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
