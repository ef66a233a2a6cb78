"""An API server of its own for an operator, and what the tests put before it.

The server has Bailiwick's CRDs and in-tree policies, and the controllers of Kubernetes that turn Deployments into pods
and remove what belongs to nobody. There is no scheduler: a pod gets a node when a test binds it.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from bailiwick.residency.territories import label_of
from e2e.client import PATIENCE, ApiError, eventually
from e2e.cluster.apiserver import ApiServer
from e2e.cluster.binaries import binary
from e2e.cluster.places import ROOT
from tests.apiserver.operator_process import DIGEST, IDENTITY, SYSTEM, OperatorProcess
from tests.chart.helm import Helm
from tests.in_tree import PINS, taken_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from e2e.client import Client, Manifest

OURS = "bailiwick.dev/v1alpha1"
ADMISSION = "admissionregistration.k8s.io/v1"
VALIDATING, MUTATING = "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"
BINDINGS = (VALIDATING, MUTATING) if PINS else (VALIDATING,)
GUARDS = tuple(f"bailiwick-{each}" for each in ("bindings", "claims", "models", "networks", "pods", "propagation"))
ENFORCED = {*GUARDS, "bailiwick-pin"} if PINS else set(GUARDS)
"""What is bound for a policy in mode Enforce that asks for no more."""
CHILDREN = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
}
WEIGHTS = f"registry.example/models/tiny@{DIGEST}"
ENGINE = f"registry.example/vllm@{DIGEST}"
CONTROLLERS = (
    "deployment-controller,replicaset-controller,job-controller,garbage-collector-controller,namespace-controller,"
    "serviceaccount-controller"
)


@dataclass(slots=True)
class Realm:
    """One API server, and everything that a test put on it; `clear` removes that."""

    server: ApiServer
    made: list[tuple[str, str, str, str | None]] = field(default_factory=list)

    @classmethod
    def start(
        cls, kind: type[ApiServer] = ApiServer, *, controllers: str = CONTROLLERS, flags: Sequence[str] = ()
    ) -> Self:
        """A server with CRDs, in-tree policies, controllers, and an accelerator class ``cpu``."""
        server = kind.start()
        try:
            server.install_crds(sorted((ROOT / "crds").glob("*.yaml")))
            for file in taken_by(server.client):
                server.client.apply_file(file)
            server.start_controller_manager(controllers, flags)
            client = server.client
            client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
            client.apply(border(client))
            offer = {"name": "vllm", "image": ENGINE, "requests": {"cpu": "1", "memory": "3Gi"}}
            client.create(
                {
                    "apiVersion": OURS,
                    "kind": "AcceleratorClass",
                    "metadata": {"name": "cpu"},
                    "spec": {"engines": [offer]},
                }
            )
        except BaseException:
            server.stop()
            raise
        return cls(server)

    def grant(self, folder: Path) -> None:
        """Give operator and canary what the chart gives them. ``folder`` is for Helm's own files."""
        helm = Helm(binary("helm"), folder)
        for right in helm.template("--show-only=templates/rbac.yaml", "--show-only=templates/canary.yaml"):
            self.client.apply(right)

    @property
    def client(self) -> Client:
        """Cluster-admin."""
        return self.server.client

    @property
    def forger(self) -> Client:
        """Somebody with the operator's token: the only one whom the in-tree policies let through."""
        return self.server.as_user(IDENTITY, ("system:masters",))

    def operator(self, name: str = "operator", **variables: str) -> OperatorProcess:
        """Start a replica."""
        return OperatorProcess(self.server, name, **variables)

    # What people make

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object that goes at the end of the test."""
        made = self.client.create(manifest)
        metadata = made["metadata"]
        self.made.append((manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace")))
        return made

    def node(self, provider: str = "", *, ready: bool = True) -> str:
        """A node with a providerID, such as ``aws:///eu-central-1a/i-1``; its name."""
        name = fresh("node")
        self.create(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name},
                "spec": {"providerID": provider} if provider else {},
            }
        )
        condition = {"type": "Ready", "status": "True" if ready else "False", "reason": "Test", "message": "no kubelet"}
        size = {"cpu": "8", "memory": "32Gi", "pods": "110"}
        status = {"conditions": [condition], "capacity": size, "allocatable": size}
        self.client.patch("v1", "Node", name, {"status": status}, subresource="status")
        return name

    def statement(self, node: str, jurisdiction: str, *, seconds: float = 3600) -> str:
        """A statement about where a node stands that expires in so many seconds; its name."""
        now = datetime.now(UTC)
        spec = {
            "node": {"name": node},
            "place": {"jurisdiction": jurisdiction},
            "issuedAt": stamp(now - timedelta(hours=1)),
            "expiresAt": stamp(now + timedelta(seconds=seconds)),
        }
        return self._named("NodeStatement", spec)

    def policy(self, *allow: str, **spec: Any) -> Policy:
        """A policy for namespaces of a fresh label; Declared is good enough unless ``place`` says otherwise."""
        name = fresh("law")
        place = {"allow": list(allow), "assurance": "Declared"} | spec.pop("place", {})
        self.create(
            {
                "apiVersion": OURS,
                "kind": "ResidencyPolicy",
                "metadata": {"name": name},
                "spec": {"namespaceSelector": {"matchLabels": {"data": name}}, "place": place, **spec},
            }
        )
        return Policy(self, name)

    def namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """A namespace, and its default ServiceAccount; its name."""
        name = fresh("team")
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}})
        eventually(lambda: self.client.find("v1", "ServiceAccount", "default", name), what="a default ServiceAccount")
        return name

    def model(self, namespace: str, name: str = "chat", **spec: Any) -> Manifest:
        """A model of weights in an image."""
        return self.create(model_manifest(namespace, name, **spec))

    def clear(self) -> None:
        """Remove what the test made, last first. Namespaces take their time, and no other test knows them by name."""
        for api_version, kind, name, namespace in reversed(self.made):
            self.client.delete(api_version, kind, name, namespace)
        self.made.clear()

    # What is there

    def find(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        """One object of ours or of a child's kind, or None."""
        return self.client.find(CHILDREN.get(kind, OURS), kind, name, namespace)

    def children(self, namespace: str, name: str = "chat") -> dict[str, Manifest]:
        """The children of a model that are there, by kind."""
        found = {kind: self.find(kind, name, namespace) for kind in CHILDREN}
        return {kind: manifest for kind, manifest in found.items() if manifest}

    def served(self, namespace: str, name: str = "chat") -> dict[str, Manifest]:
        """The five children of a model, as soon as they and its status are there."""
        eventually(
            lambda: (
                len(self.children(namespace, name)) == len(CHILDREN)
                and self.condition("SovereignModel", "Planned", name, namespace)["status"] == "True"
            ),
            what=f"model {name} has its children",
        )
        return self.children(namespace, name)

    def condition(self, kind: str, aspect: str, name: str, namespace: str | None = None) -> Manifest:
        """A condition of an object; AssertionError when it has none yet that is up to date."""
        found = self.client.get(OURS, kind, name, namespace)
        status = found.get("status") or {}
        assert status.get("observedGeneration") == found["metadata"]["generation"], status
        return next(each for each in status["conditions"] if each["type"] == aspect)

    def history(self, api_version: str, kind: str, since: str) -> list[tuple[int, Manifest]]:
        """Every state of the objects of a kind after a resourceVersion, each with its own; not those of their end."""
        told = self.client.request(
            "GET", self.client.path(api_version, kind),
            params={"watch": "1", "resourceVersion": since, "timeoutSeconds": "1"},
        ).text.splitlines()  # fmt: skip
        events = [json.loads(line) for line in told]
        return [
            (int(event["object"]["metadata"]["resourceVersion"]), event["object"])
            for event in events
            if event["type"] in {"ADDED", "MODIFIED"}
        ]

    def events(self, kind: str, name: str) -> list[tuple[str, str]]:
        """Type and reason of the Kubernetes Events about an object, in any order."""
        return sorted(
            (event["type"], event["reason"])
            for event in self.client.list("events.k8s.io/v1", "Event")
            if event["regarding"]["kind"] == kind and event["regarding"]["name"] == name
        )

    def status(self, namespace: str, name: str = "chat") -> Manifest:
        """The status of a model; empty while it has none."""
        found: Manifest = self.client.get(OURS, "SovereignModel", name, namespace).get("status") or {}
        return found

    def stated(self, aspect: str, namespace: str, name: str = "chat") -> tuple[str, str]:
        """Status and reason of a model's condition; AssertionError when it is not up to date."""
        condition = self.condition("SovereignModel", aspect, name, namespace)
        return condition["status"], condition["reason"]

    def marked(self, namespace: str) -> bool:
        """Whether a namespace is marked as governed, and the API server has heard of that where it judges models."""
        if "bailiwick.dev/governed" not in self.client.get("v1", "Namespace", namespace)["metadata"]["labels"]:
            return False
        try:
            self.client.create(model_manifest(namespace, fresh("model")), dry_run=True)
        except ApiError as error:
            return "Ungoverned" not in error.message
        return True

    def everything(self) -> dict[tuple[str, str, str], str]:
        """resourceVersions of whatever the operator could have written, but its lease and Events.

        Namespaces that are still on their way out are waited for: nobody asks about them.
        """
        eventually(lambda: not self._leaving(), what="the namespaces of former tests are gone")
        kinds = {
            **dict.fromkeys(("ResidencyPolicy", "SovereignModel", "Territory", "NodeStatement", "Authority"), OURS),
            **CHILDREN,
            "Node": "v1",
            "Namespace": "v1",
            "Pod": "v1",
            **dict.fromkeys(BINDINGS, ADMISSION),
        }
        return {
            (kind, each["metadata"].get("namespace", ""), each["metadata"]["name"]): each["metadata"]["resourceVersion"]
            for kind, version in kinds.items()
            for each in self.client.list(version, kind)
        }

    def settled(self, seconds: float = 1.5) -> dict[tuple[str, str, str], str]:
        """`everything`, once it has not changed for so long."""
        seen = self.everything()
        since = time.monotonic()
        deadline = since + PATIENCE
        while time.monotonic() - since < seconds:
            time.sleep(0.25)
            now = self.everything()
            if now != seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() < deadline, "the API server does not come to rest"
        return seen

    def _leaving(self) -> list[str]:
        found = (each["metadata"] for each in self.client.list("v1", "Namespace"))
        return [metadata["name"] for metadata in found if "deletionTimestamp" in metadata]

    def _named(self, kind: str, spec: Manifest) -> str:
        name = fresh(kind.lower())
        self.create({"apiVersion": OURS, "kind": kind, "metadata": {"name": name}, "spec": spec})
        return name


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of a test, and what the operator made of it."""

    realm: Realm
    name: str

    @property
    def label(self) -> str:
        """The node label of its residents."""
        return label_of(self.name)

    @property
    def brought(self) -> Manifest:
        """What the spec of a pod has to bring by itself: its label where the API server pins nothing."""
        return {} if PINS else {"nodeSelector": {self.label: "resident"}}

    @property
    def selects(self) -> dict[str, str]:
        """Labels of the namespaces that it governs."""
        return {"data": self.name}

    def inside(self) -> set[str]:
        """The nodes of its Territory; AssertionError when there is none."""
        territory = self.realm.find("Territory", self.name)
        assert territory, f"no Territory {self.name}"
        return set(territory["spec"].get("nodes") or {})

    def labelled(self) -> set[str]:
        """The nodes that carry its label."""
        nodes = self.realm.client.list("v1", "Node", labels=f"{self.label}=resident")
        return {node["metadata"]["name"] for node in nodes}

    def bindings(self) -> dict[str, Manifest]:
        """Its bindings by what they put into force."""
        return {
            binding["spec"]["policyName"]: binding
            for kind in BINDINGS
            for binding in self.realm.client.list(ADMISSION, kind, labels=f"bailiwick.dev/policy={self.name}")
        }

    def status(self) -> Manifest:
        """Its status; AssertionError while it is not up to date."""
        found = self.realm.client.get(OURS, "ResidencyPolicy", self.name)
        status: Manifest = found.get("status") or {}
        assert status.get("observedGeneration") == found["metadata"]["generation"], status
        return status

    def outside(self) -> dict[str, list[str]]:
        """By reason, nodes that its status names as outside."""
        return {each["reason"]: each["examples"] for each in self.status().get("outside") or []}

    def condition(self, aspect: str) -> Manifest:
        """One condition of it."""
        return next(each for each in self.status()["conditions"] if each["type"] == aspect)

    def in_force(self) -> Self:
        """Wait until its border stands."""
        eventually(
            lambda: self.bindings().keys() >= set(GUARDS) and self.status(), what=f"the border of {self.name} stands"
        )
        return self

    def holds(self, *nodes: str) -> None:
        """Wait until exactly these nodes are inside, and pods can be sent there."""
        eventually(
            lambda: self.inside() == self.labelled() == set(nodes), what=f"exactly {nodes} are inside {self.name}"
        )

    def patch(self, spec: Manifest) -> None:
        """Change it."""
        self.realm.client.patch(OURS, "ResidencyPolicy", self.name, {"spec": spec})

    def delete(self) -> None:
        """Delete it."""
        self.realm.client.delete(OURS, "ResidencyPolicy", self.name)

    def withdrawn(self) -> None:
        """Wait until nothing of its border is left."""
        eventually(
            lambda: not self.realm.find("Territory", self.name) and not self.bindings() and not self.labelled(),
            what=f"nothing is left of the border of {self.name}",
        )


def border(client: Client) -> Manifest:
    """The ConfigMap from which the operator puts the chart's policies back, for an API server."""
    metadata = {"name": "bailiwick-border", "namespace": SYSTEM}
    data = {file.name: file.read_text() for file in taken_by(client)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def model_manifest(namespace: str, name: str = "chat", **spec: Any) -> Manifest:
    """A model of weights in an image, as somebody applies it."""
    return {
        "apiVersion": OURS,
        "kind": "SovereignModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"name": "tiny", "source": oci()}, **spec},
    }


def oci(image: str = WEIGHTS) -> Manifest:
    """A model in an image, as its author has to write it: before 1.36 the operator mounts none."""
    return {"oci": {"image": image} if PINS else {"image": image, "mount": "Copy"}}


def fresh(what: str) -> str:
    """A name that nobody has."""
    return f"{what}-{secrets.token_hex(3)}"


def stamp(moment: datetime) -> str:
    """A time as the API writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
