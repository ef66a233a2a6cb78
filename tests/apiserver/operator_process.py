"""The operator as a process, with an identity of the API server that it is to work on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from e2e.client import LOCAL, eventually
from e2e.cluster.apiserver import free_ports
from e2e.cluster.places import ROOT
from e2e.cluster.steps import log_file, started, tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.cluster.apiserver import ApiServer

SYSTEM = "bailiwick-system"
IDENTITY = f"system:serviceaccount:{SYSTEM}:bailiwick-operator"
SERVICE_ACCOUNTS = ("system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}")
"""Groups of the operator that has the rights of the chart and no others."""
DIGEST = "sha256:" + "0" * 64
GRACE_SECONDS = 30.0
"""What the chart's pods have for their end: a program that takes longer is killed there, too."""


class OperatorProcess:
    """`bailiwick operator`, in a process group of its own."""

    def __init__(
        self, server: ApiServer, name: str, groups: Sequence[str] = ("system:masters",), **variables: str
    ) -> None:
        (self.port,) = free_ports(1)
        self.log = log_file(f"operator-{os.getpid()}-{name}-{self.port}")
        kubeconfig = server.kubeconfig(IDENTITY, groups)
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "BAILIWICK_GATE_IMAGE": f"registry.example/gate@{DIGEST}",
            "BAILIWICK_WEIGHTS_IMAGE": f"registry.example/weights@{DIGEST}",
            "BAILIWICK_PORT": str(self.port),
            "POD_NAME": name,
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
            **variables,
        }
        self.process = started(self.log, sys.executable, "-m", "bailiwick.cli", "operator", env=environment)

    def until_leading(self) -> Self:
        """Wait until it holds the lease and has read everything."""
        eventually(
            lambda: self.metric("bailiwick_leader") == 1 and self.ready(),
            what=f"the operator leads; see {self.log}", every=0.2,
        )  # fmt: skip
        return self

    def ready(self) -> bool:
        """Whether it calls itself ready."""
        assert self.process.poll() is None, f"the operator ended with {self.process.returncode}: {tail(self.log)}"
        with suppress(httpx.TransportError):
            return LOCAL.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).is_success
        return False

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every sample by name and labels; none while it does not answer."""
        with suppress(httpx.TransportError):
            answer = LOCAL.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5)
            return {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(answer.text)
                for sample in family.samples
            }
        return {}

    def metric(self, name: str) -> float:
        """The sum of one metric over its labels."""
        return sum(value for (each, _), value in self.metrics().items() if each == name)

    def labelled(self, name: str, **labels: str) -> float:
        """The sum of one metric over the samples that have these labels."""
        wanted = labels.items()
        return sum(value for (each, found), value in self.metrics().items() if each == name and wanted <= found)

    def writes(self) -> dict[tuple[str, str], float]:
        """Finished calls that change something, by verb and resource, without the lease and Events."""
        found = {}
        for (name, labels), value in self.metrics().items():
            told = dict(labels)
            if name == "bailiwick_api_requests_total" and told["verb"] not in {"get", "list", "watch"}:
                found[told["verb"], told["resource"]] = value
        return {key: value for key, value in found.items() if key[1] not in {"leases", "events"}}

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it as Kubernetes would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self._end(GRACE_SECONDS)

    def kill(self) -> int:
        """End it as a lost machine would; its exit code."""
        self.process.kill()
        return self._end(5)

    def _end(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            raise
