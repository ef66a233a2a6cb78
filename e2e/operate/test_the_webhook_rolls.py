"""The webhook on the real cluster: replaced pod by pod and with a new certificate, while good requests come."""

from __future__ import annotations

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

from e2e.client import ApiError, Client
from e2e.demo import scenes
from e2e.demo.install import SYSTEM
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

NAME = "bailiwick-admission"
CALLERS = 4
LIFE = "BAILIWICK_CERTIFICATE_SECONDS"
YEAR = 365 * 24 * 3600
"""Of a certificate that is to last a year, the third left is longer than the 90 days of the one before: it is due."""


def sound(name: str) -> dict[str, Any]:
    """A policy that nothing speaks against; only the webhook judges the groups that it names."""
    return {
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "ResidencyPolicy", "metadata": {"name": name},
        "spec": {"namespaceSelector": {"matchLabels": {"rolls": name}}, "place": {"allow": ["EU"]}},
    }  # fmt: skip


class Callers:
    """People who make sound policies one after the other, as a dry run, until they are told to stop."""

    def __init__(self, client: Client) -> None:
        self.asked = 0
        self.refused: list[str] = []
        self._client = client
        self._stop = threading.Event()
        self._begin = time.monotonic()
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._calls = [self._pool.submit(self._call) for _ in range(CALLERS)]

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                self._client.create(sound(f"rolls-{next(self._numbers)}"), dry_run=True)
            except (ApiError, httpx.HTTPError) as error:
                self.refused.append(f"after {time.monotonic() - self._begin:.1f} s: {error}")
            self.asked += 1
            self._stop.wait(0.05)

    def end(self) -> None:
        """Stop, and wait for what is under way."""
        self._stop.set()
        self._pool.shutdown()
        for each in self._calls:
            each.result()


def served(kubectl: Kubectl) -> str:
    """The certificate that replicas serve; empty while there is none."""
    return str(kubectl.get("secret", NAME, "-n", SYSTEM).get("data", {}).get("tls.crt", ""))


def usual_again(kubectl: Kubectl) -> None:
    """Have a certificate made that lasts as long as usual."""
    lasting = served(kubectl)
    nothing = json.dumps({"data": {"tls.crt": None, "tls.key": None}})
    kubectl.must("patch", "secret", NAME, "-n", SYSTEM, "--type=merge", "-p", nothing)
    wait_until(lambda: served(kubectl) not in {"", lasting}, what="another certificate is made")


def rolled(kubectl: Kubectl, variable: str) -> None:
    """Give the webhook a variable, or take it away, and wait until every pod is another."""
    kubectl.must("set", "env", f"deployment/{NAME}", variable, "-n", SYSTEM)
    kubectl.must("rollout", "status", f"deployment/{NAME}", "-n", SYSTEM, "--timeout=180s", timeout=200)
    wait_until(
        lambda: (
            not [
                each
                for each in kubectl.items("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=admission")
                if each["metadata"].get("deletionTimestamp")
            ]
        ),
        what="the pods before are gone",
    )


def test_no_good_request_is_refused_while_the_webhook_is_replaced_and_its_certificate_renewed(
    kubectl: Kubectl, installed: Installed
) -> None:
    before = served(kubectl)
    scenes.webhook_answers(kubectl)  # the demo, which may have run just before, lets every pod of Bailiwick die
    with Client.from_kubeconfig(installed.kubeconfig) as client:
        callers = Callers(client)
        try:
            rolled(kubectl, f"{LIFE}={YEAR}")
            wait_until(lambda: served(kubectl) != before, what="another certificate is served", seconds=180)
        finally:
            rolled(kubectl, f"{LIFE}-")
            callers.end()
            usual_again(kubectl)
    print(f"\n{callers.asked} requests, {len(callers.refused)} refused")
    assert callers.asked > 500
    assert callers.refused == []
