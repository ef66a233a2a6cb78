"""`bailiwick admission` as a process behind a real API server: what it refuses, and what holds when it is dead."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509

from e2e.client import ApiError, eventually
from e2e.cluster.apiserver import free_ports
from e2e.cluster.steps import log_file
from tests.apiserver.realm import ADMISSION, IDENTITY, ROOT, SYSTEM, Realm, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Manifest

pytestmark = pytest.mark.apiserver

NAME = "bailiwick-admission"
SECONDS = 18
"""Life of a certificate here: it is renewed every twelve seconds."""


class Replica:
    """One process."""

    def __init__(self, realm: Realm, port: int) -> None:
        (self.health,) = free_ports(1)
        self.log = log_file(f"admission-{os.getpid()}-{port}")
        environment = {
            **os.environ,
            "KUBECONFIG": str(realm.server.kubeconfig()),
            "BAILIWICK_HOST": "127.0.0.1",
            "BAILIWICK_ADMISSION_PORT": str(port),
            "BAILIWICK_ADMISSION_NAMES": "127.0.0.1",
            "BAILIWICK_PORT": str(self.health),
            "BAILIWICK_CERTIFICATE_SECONDS": str(SECONDS),
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bailiwick.cli", "admission"], env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip

    def ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.health}/readyz", timeout=2).is_success
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(5)


def webhook(name: str, port: int, group: str, resources: list[str], **selector: Manifest) -> Manifest:
    return {
        "name": f"{name}.bailiwick.dev", "failurePolicy": "Fail", "timeoutSeconds": 3, "sideEffects": "None",
        "matchPolicy": "Equivalent", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
        "rules": [{"apiGroups": [group], "apiVersions": ["*"], "resources": resources,
                   "operations": ["CREATE", "UPDATE"]}],
        **selector,
    }  # fmt: skip


@pytest.fixture
def replicas(realm: Realm) -> Iterator[list[Replica]]:
    """Two replicas; the API server calls the first."""
    first, second = free_ports(2)
    realm.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME, "namespace": SYSTEM}})
    governed = {"matchLabels": {"bailiwick.dev/governed": "true"}}
    hooks = [
        webhook("ours", first, "bailiwick.dev", ["residencypolicies"]),
        webhook("claims", first, "", ["persistentvolumeclaims"], namespaceSelector=governed),
    ]
    realm.create({
        "apiVersion": ADMISSION, "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME}, "webhooks": hooks,
    })  # fmt: skip
    started = [Replica(realm, port) for port in (first, second)]
    try:
        for each in started:
            eventually(each.ready, what=f"ready; see {each.log}", seconds=30)
        eventually(lambda: realm.policy("DE"), what="the API server reaches the webhook", seconds=20)
        yield started
    finally:
        # It would refuse the cleaning of what it judges.
        realm.client.delete(ADMISSION, "ValidatingWebhookConfiguration", NAME)
        for each in started:
            each.kill()
        # No controller takes away the finalizer that protects a claim.
        for found in realm.client.list("v1", "PersistentVolumeClaim"):
            where = found["metadata"]
            unheld = {"metadata": {"finalizers": None}}
            realm.client.patch("v1", "PersistentVolumeClaim", where["name"], unheld, where["namespace"])


def claim(namespace: str, volume: str = "") -> Manifest:
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    spec |= {"volumeName": volume} if volume else {}
    metadata = {"name": fresh("data"), "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def test_what_it_refuses_and_what_its_death_closes(realm: Realm, replicas: list[Replica]) -> None:
    with pytest.raises(ApiError, match="UnknownJurisdiction"):
        realm.policy("ATLANTIS")
    policy = realm.policy("DE")
    governed = realm.namespace(policy.selects)
    labelled = {"metadata": {"labels": {"bailiwick.dev/governed": "true"}}}
    realm.server.as_user(IDENTITY, ("system:masters",)).patch("v1", "Namespace", governed, labelled)
    free = realm.namespace()
    realm.create(claim(governed))
    with pytest.raises(ApiError, match="ClaimNotAllowed"):
        realm.create(claim(governed, "nowhere"))
    realm.create(claim(free, "nowhere"))
    for each in replicas:
        each.kill()
    with pytest.raises(ApiError, match="failed calling webhook"):
        realm.create(claim(governed))
    realm.create(claim(free))


def test_two_replicas_share_a_certificate_and_its_renewal_refuses_no_good_request(
    realm: Realm, replicas: list[Replica]
) -> None:
    def certificate() -> str:
        data: str = realm.client.get("v1", "Secret", NAME, SYSTEM)["data"]["tls.crt"]
        return data

    def shown() -> int:
        found = realm.client.get(ADMISSION, "ValidatingWebhookConfiguration", NAME)
        return len(x509.load_pem_x509_certificates(base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"])))

    assert shown() == 1, "one of the two made it, and the other took it"
    first, policy, asked = certificate(), realm.policy("DE"), 0
    deadline = time.monotonic() + 2 * SECONDS
    while certificate() == first or time.monotonic() < deadline - SECONDS / 2:
        asked += 1
        policy.patch({"place": {"allow": ["DE", "FR"] if asked % 2 else ["DE"]}})
        time.sleep(0.05)
        assert time.monotonic() < deadline, "it was not renewed"
    assert asked > 100
