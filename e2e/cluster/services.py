"""Servers that a cluster lacks, each one program in an image: a registry of images, and storage that speaks S3."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from bailiwick.weights import sigv4
from e2e.cluster import images, oci_archive
from e2e.cluster.binaries import binary
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.kind import INSIDE
from e2e.cluster.load import load_image
from e2e.cluster.oci_archive import Config, Layer
from e2e.cluster.steps import ClusterError, leashed, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from e2e.kubectl import Kubectl

NAMESPACE = "services"
USER = 65532
FILES, DATA = "/etc/service", "/data"


@dataclass(frozen=True, slots=True)
class Server:
    """One program, and how it is started. ``files`` are in `/etc/service`; it may write `/data`."""

    program: str
    port: int
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """By which pods know it, with the port. NetworkPolicies see addresses of pods, never that of a Service."""
        return f"{self.program}.{NAMESPACE}.svc:{self.port}"

    @contextmanager
    def running(self, kubectl: Kubectl) -> Iterator[str]:
        """Inside the border, where no policy governs. Yields the address by which nodes know it, `10.96.0.7:5000`."""
        kubectl.apply(*self._manifests())
        told = ("-n", NAMESPACE, "--timeout=120s")
        kubectl.must("rollout", "status", f"deployment/{self.program}", *told, timeout=130)
        service = kubectl.get("service", self.program, "-n", NAMESPACE)
        yield f"{service['spec']['clusterIP']}:{self.port}"
        kubectl.must("delete", "deployment", self.program, "-n", NAMESPACE, "--cascade=foreground", "--wait=true")

    @contextmanager
    def reached(self, kubectl: Kubectl) -> Iterator[str]:
        """The address by which this machine reaches it. Raises ClusterError."""
        target = ("port-forward", f"service/{self.program}", f":{self.port}", "-n", NAMESPACE)
        command = leashed(kubectl.binary, f"--kubeconfig={kubectl.kubeconfig}", *target)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as forwarding:
            try:
                said = forwarding.stdout.readline() if forwarding.stdout else ""
                found = re.search(r"127\.0\.0\.1:\d+", said)
                if found is None:
                    raise ClusterError(f"kubectl port-forward said {said!r}; expected a port of 127.0.0.1")
                yield found[0]
            finally:
                forwarding.terminate()

    def _manifests(self) -> list[dict[str, Any]]:
        named = {"name": self.program, "namespace": NAMESPACE}
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": dict(self.files)},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": named,
                "spec": {"selector": {"app": self.program}, "ports": [{"port": self.port}]},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": named,
                "spec": {
                    "selector": {"matchLabels": {"app": self.program}},
                    "template": {"metadata": {"labels": {"app": self.program}}, "spec": self._pod()},
                },
            },
        ]

    def _pod(self) -> dict[str, Any]:
        return {
            "nodeSelector": {"kubernetes.io/hostname": INSIDE},
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"fsGroup": USER, "runAsNonRoot": True},
            "containers": [
                {
                    "name": self.program,
                    "image": _image(self.program),
                    "imagePullPolicy": "Never",
                    "args": list(self.arguments),
                    "env": [{"name": name, "value": value} for name, value in self.environment.items()],
                    "readinessProbe": {"tcpSocket": {"port": self.port}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "files", "mountPath": FILES}, {"name": "data", "mountPath": DATA}],
                }
            ],
            "volumes": [{"name": "files", "configMap": {"name": self.program}}, {"name": "data", "emptyDir": {}}],
        }


REGISTRY = Server(
    "registry",
    5000,
    arguments=("serve", f"{FILES}/config.yaml"),
    files={
        "config.yaml": f"""\
version: 0.1
storage:
  filesystem:
    rootdirectory: {DATA}
http:
  addr: :5000
"""
    },
)


STORAGE_KEYS = ("e2e-access", "e2e-secret")
STORAGE = Server(
    "versitygw",
    9000,
    arguments=("--port", ":9000", "posix", DATA),
    environment={"ROOT_ACCESS_KEY": STORAGE_KEYS[0], "ROOT_SECRET_KEY": STORAGE_KEYS[1]},
)


def put_object(endpoint: str, path: str, content: bytes = b"") -> None:
    """Make an object of `STORAGE`, or a bucket; ``path`` begins with the bucket. Raises httpx.HTTPStatusError."""
    url = f"{endpoint}/{sigv4.encoded(path, safe='/')}"
    access, secret = STORAGE_KEYS
    headers = sigv4.authorised(
        url, {}, access_key=access, secret_key=secret, region="us-east-1", now=datetime.now(UTC),
        method="PUT", content=sha256(content).hexdigest(),
    )  # fmt: skip
    httpx.put(url, content=content, headers=headers, timeout=60).raise_for_status()


def push(name: str, registry: str, repository: str) -> str:
    """Put one of the project's images into a registry; its repository and digest there, `repository/name@sha256:…`.

    It gets a label, and so an identity of its own: of an image that it has pulled, a kubelet lets no pod use a copy by
    another name that was loaded into the node, as other suites do with the same image.
    """
    archive, reference = images.archive(name), f"{registry}/{repository}/{name}:dev"
    with tempfile.TemporaryDirectory() as layout:
        with tarfile.open(archive) as tar:
            tar.extractall(layout, filter="data")
        index = Path(layout) / "index.json"
        told = json.loads(index.read_text())
        index.write_text(
            json.dumps(told | {"manifests": told["manifests"][:1]})
        )  # one image, listed by each of its names
        run(binary("crane"), "push", "--insecure", layout, reference)
    labelled = run(
        binary("crane"), "mutate", "--insecure", "--label", f"registry={repository}", "--tag", reference, reference
    )
    return f"{repository}/{name}@{labelled.strip().rpartition('@')[2]}"


def _image(program: str) -> str:
    """The reference by digest of an image with that program alone, on the node inside. Raises ClusterError."""
    path = binary(program)
    config = Config(entrypoint=(f"/{program}",), user=f"{USER}:{USER}")
    key = key_of(path.parent.name, Path(oci_archive.__file__).read_bytes())

    def make(target: Path) -> None:
        layers = [Layer(path, f"/{program}")]
        oci_archive.write(target, name=f"localhost/e2e/{program}:dev", layers=layers, config=config)

    return load_image(kept("images", f"{program}-{key}", make), (INSIDE,))
