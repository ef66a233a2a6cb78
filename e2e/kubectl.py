"""kubectl, as a person types it: for what the demo and the real-cluster suites show and check."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from e2e.client import PATIENCE, pause_after

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What kubectl said."""

    accepted: bool
    text: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One kubectl binary with one kubeconfig."""

    binary: Path
    kubeconfig: Path

    def run(self, arguments: Sequence[str], *, standard_input: str | None = None, timeout: float = 60) -> Answer:
        """Run a command; never raises for a refusal."""
        done = subprocess.run(
            [str(self.binary), f"--kubeconfig={self.kubeconfig}", *arguments],
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Answer(done.returncode == 0, (done.stdout if done.returncode == 0 else done.stderr).strip())

    def must(self, *arguments: str, standard_input: str | None = None, timeout: float = 60) -> str:
        """Run a command that has to succeed; its output."""
        answer = self.run(arguments, standard_input=standard_input, timeout=timeout)
        if not answer.accepted:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {answer.text}")
        return answer.text

    def apply(self, *manifests: Mapping[str, Any]) -> str:
        """Server-side apply of manifests."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self.must("apply", "--server-side", "--force-conflicts", "-f", "-", standard_input=json.dumps(listed))

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object or list; empty when it is not there."""
        answer = self.run(["get", *arguments, "--ignore-not-found", "-o", "json"])
        if not answer.accepted:
            raise RuntimeError(answer.text)
        return json.loads(answer.text) if answer.text else {}

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        return list(self.get(*arguments).get("items", []))


def wait_until(look: Callable[[], T | None], *, what: str, seconds: float = PATIENCE, every: float = 0.5) -> T:
    """Look again until something truthy is seen; raises ``TimeoutError`` that tells what was last seen.

    As `eventually`, but more rarely: each look is a program that starts.
    """
    begun = time.monotonic()
    while True:
        seen = look()
        if seen:
            return seen
        waited = time.monotonic() - begun
        if waited > seconds:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s; last seen: {seen!r}")
        time.sleep(pause_after(waited, every, longest=1.0))
