"""`bailiwick admission` as processes behind a real API server, with what the chart makes for it and nothing more.

The API server reaches them by address and not through a Service; everything else of the configuration is the chart's.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from e2e.client import LOCAL, eventually
from e2e.cluster.apiserver import free_ports
from e2e.cluster.places import ROOT
from e2e.cluster.steps import log_file, started, tail
from tests.apiserver.operator_process import SYSTEM
from tests.apiserver.realm import ADMISSION, OURS, Realm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client, Manifest
    from tests.chart.helm import Helm

NAME = "bailiwick-admission"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:{NAME}"
CONFIGURATION = "ValidatingWebhookConfiguration"


class Replica:
    """One process, as the chart's service account."""

    def __init__(self, realm: Realm, port: int, **variables: str) -> None:
        self.port = port
        (self.health,) = free_ports(1)
        self.log = log_file(f"admission-{os.getpid()}-{port}")
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}")
        environment = {
            "KUBECONFIG": str(realm.server.kubeconfig(ACCOUNT, groups)),
            "BAILIWICK_HOST": "127.0.0.1",
            "BAILIWICK_ADMISSION_PORT": str(port),
            "BAILIWICK_ADMISSION_NAMES": "127.0.0.1",
            "BAILIWICK_PORT": str(self.health),
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
            **variables,
        }
        self.process = started(self.log, sys.executable, "-m", "bailiwick.cli", "admission", env=environment)

    def missing(self) -> list[str]:
        """What it says that it lacks; nothing when it is ready. AssertionError while it does not answer."""
        assert self.process.poll() is None, f"it ended with {self.process.returncode}: {tail(self.log)}"
        with suppress(httpx.TransportError):
            found: list[str] = LOCAL.get(f"http://127.0.0.1:{self.health}/readyz", timeout=2).json()["missing"]
            return found
        raise AssertionError("no answer")

    def ready(self) -> bool:
        """Whether it calls itself ready."""
        return not self.missing()

    def outcomes(self) -> dict[str, float]:
        """How many reviews ended how."""
        text = LOCAL.get(f"http://127.0.0.1:{self.health}/metrics", timeout=5).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        found: dict[str, float] = {}
        for sample in samples:
            if sample.name == "bailiwick_admission_reviews_total":
                found[sample.labels["outcome"]] = found.get(sample.labels["outcome"], 0) + sample.value
        return found

    def served(self) -> x509.Certificate:
        """The certificate that a caller gets."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain,
            unchecked().wrap_socket(plain) as secured,
        ):
            return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")

    def kill(self) -> None:
        """End it as a lost machine would."""
        self.process.kill()
        self.process.wait(5)


@dataclass
class Webhook:
    """What the chart makes of it on a server, and the replicas that a test starts; the API server asks the first."""

    realm: Realm
    helm: Helm
    replicas: list[Replica] = field(default_factory=list)
    ports: list[int] = field(default_factory=lambda: free_ports(3))

    @cached_property
    def rendered(self) -> dict[str, Manifest]:
        """The chart's objects of the webhook by kind."""
        return {each["kind"]: each for each in self.helm.template() if each["metadata"]["name"] == NAME}

    @property
    def client(self) -> Client:
        """Cluster-admin."""
        return self.realm.client

    def grant(self) -> None:
        """Give it its rights."""
        for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
            self.client.apply(self.rendered[kind])

    def make_secret(self) -> None:
        """Make the empty Secret."""
        self.client.apply(self.rendered["Secret"])

    @property
    def configuration(self) -> Manifest:
        """The chart's configuration, which sends the API server to the first replica."""
        configuration: Manifest = {**self.rendered[CONFIGURATION]}
        url = {"url": f"https://127.0.0.1:{self.ports[0]}/validate"}
        configuration["webhooks"] = [{**each, "clientConfig": url} for each in configuration["webhooks"]]
        return configuration

    def configure(self) -> None:
        """Let the API server ask the first replica."""
        self.client.apply(self.configuration)

    def start(self, **variables: str) -> Replica:
        """One more replica."""
        self.replicas.append(Replica(self.realm, self.ports[len(self.replicas)], **variables))
        return self.replicas[-1]

    def answers(self) -> None:
        """Wait until every replica is ready and the API server trusts the first."""
        for each in self.replicas:
            eventually(each.ready, what=f"ready; see {each.log}")
        sound = policy("DE")
        eventually(lambda: self.client.create(sound, dry_run=True), what="the API server reaches the webhook")

    def kept(self) -> dict[str, str]:
        """What the Secret holds, by key; nothing while it is empty."""
        found: dict[str, str] = self.client.get("v1", "Secret", NAME, SYSTEM).get("data") or {}
        return found

    def trusted(self) -> list[x509.Certificate]:
        """Whom the API server trusts."""
        (bundle,) = {
            each["clientConfig"].get("caBundle", "")
            for each in self.client.get(ADMISSION, CONFIGURATION, NAME)["webhooks"]
        }
        return x509.load_pem_x509_certificates(base64.b64decode(bundle)) if bundle else []

    def clear(self) -> None:
        """Take away all of it; the configuration first, because it would refuse the cleaning of what it judges."""
        self.client.delete(ADMISSION, CONFIGURATION, NAME)
        for each in self.replicas:
            each.kill()
        self.client.delete("v1", "Secret", NAME, SYSTEM)
        for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
            self.client.delete("rbac.authorization.k8s.io/v1", kind, NAME, SYSTEM if "Cluster" not in kind else None)


@contextmanager
def standing(realm: Realm, helm: Helm, **variables: str) -> Iterator[Webhook]:
    """A webhook of two replicas that answers."""
    webhook = Webhook(realm, helm)
    try:
        webhook.grant()
        webhook.make_secret()
        webhook.configure()
        for _ in range(2):
            webhook.start(**variables)
        webhook.answers()
        yield webhook
    finally:
        webhook.clear()


def unchecked() -> ssl.SSLContext:
    """TLS by which one talks to anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def policy(*allow: str, name: str = "sound", **spec: Any) -> Manifest:
    """A policy for namespaces of a label with its name."""
    place = {"allow": list(allow), "assurance": "Declared"}
    whole = {"namespaceSelector": {"matchLabels": {"data": name}}, "place": place, **spec}
    return {"apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": {"name": name}, "spec": whole}


def group(name: str, *members: str) -> Manifest:
    """A named group of countries."""
    spec = {"members": list(members), "asOf": "2026-11-01", "source": "a law"}
    return {"apiVersion": OURS, "kind": "Jurisdiction", "metadata": {"name": name}, "spec": spec}


def volume(name: str, *, node: str = "", storage_class: str = "", driver: str = "disks.example") -> Manifest:
    """A volume of a driver, reached from one node or from any."""
    spec: Manifest = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class,
        "csi": {"driver": driver, "volumeHandle": name},
    }  # fmt: skip
    if node:
        there = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [there]}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def claim(namespace: str, volume: str = "", storage_class: str = "", name: str = "data") -> Manifest:
    """A claim, on a volume when that is given."""
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": storage_class, **({"volumeName": volume} if volume else {}),
    }  # fmt: skip
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
