"""The ground on which attacks are tried: nodes inside and abroad, policies in force, namespaces, people with rights."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.resource import API_VERSION
from bailiwick.preview.defaults import pinned
from bailiwick.residency import border
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import LABEL_PREFIX
from bailiwick.residency.policies import CompiledPolicy, compile_policy, exempt_namespaces
from bailiwick.residency.territories import GOVERNED_LABEL, RESIDENT, label_of
from e2e.client import ApiError, Client, Manifest, eventually
from tests.in_tree import PINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SYSTEM = "bailiwick-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:bailiwick-operator"
EXEMPT = exempt_namespaces(SYSTEM)
RBAC = "rbac.authorization.k8s.io/v1"
IMAGE = "registry.k8s.io/pause:3.10.1"
DIGEST = "sha256:" + "0" * 64
FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Governed:
    """A policy in force, and a namespace that it governs."""

    policy: str
    namespace: str
    inside: str
    abroad: str

    @property
    def label(self) -> str:
        """The node label of the policy."""
        return label_of(self.policy)

    @property
    def selector(self) -> dict[str, str]:
        """What its pods select their node by."""
        return {self.label: RESIDENT}


@dataclass(slots=True)
class Ground:
    """One cluster, seen by many people. ``admin`` may do everything that RBAC can allow."""

    admin: Client
    inside: str
    abroad: str
    made: list[tuple[str, str, str]] = field(default_factory=list)
    _people: dict[tuple[str, tuple[str, ...]], Client] = field(default_factory=dict)

    # People

    def person(self, user: str, groups: Sequence[str] = ()) -> Client:
        """Somebody who has signed in."""
        known = (user, (*groups, "system:authenticated"))
        if known not in self._people:
            self._people[known] = self.admin.impersonate(*known)
        return self._people[known]

    @property
    def operator(self) -> Client:
        """Bailiwick's operator."""
        return self.person(OPERATOR, ["system:masters"])

    @property
    def editor(self) -> Client:
        """May do in any namespace what the built-in role edit allows, and serve models."""
        return self.person("jane")

    @property
    def scheduler(self) -> Client:
        """A scheduler of somebody's own: may bind pods, by either URL."""
        return self.person("rogue-scheduler")

    @property
    def tenant(self) -> Client:
        """Owns namespaces: may create and change them, by every URL, but not assign them to policies."""
        return self.person("tenant")

    @property
    def lite(self) -> Client:
        """Nearly cluster-admin: every ordinary verb on every resource, and no more."""
        return self.person("admin-lite")

    def kubelet(self, node: str) -> Client:
        """The kubelet of a node."""
        return self.person(f"system:node:{node}", ["system:nodes"])

    # Things

    def namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """A new namespace in which pods can be created, made by the almighty."""
        name = f"border-{secrets.token_hex(3)}"
        metadata = {"name": name, "labels": dict(labels or {})}
        self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.made.append(("v1", "Namespace", name))
        eventually(lambda: self.admin.find("v1", "ServiceAccount", "default", name), what="a service account")
        return name

    def node(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """A node with room for pods, without a kubelet; labelled by the operator."""
        room = {"cpu": "64", "memory": "64Gi", "pods": "1000"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": dict(labels or {})}}
        self.operator.apply(node)
        self.operator.patch(
            "v1", "Node", name, {"status": {"capacity": room, "allocatable": room}}, subresource="status"
        )
        # Every node begins tainted as not ready, and there is no kubelet to say otherwise.
        self.operator.patch("v1", "Node", name, {"spec": {"taints": None}})
        self.made.append(("v1", "Node", name))

    def govern(
        self,
        *,
        namespace: str | None = None,
        mode: str = "Enforce",
        pin: bool = PINS,
        **spec: Any,
    ) -> Governed:
        """Put a policy into force on a namespace, as the operator does; returns when the API server enforces it."""
        name = f"health-{secrets.token_hex(3)}"
        probe = self.namespace()  # where nothing else refuses, so that one sees when this policy does
        governed = Governed(name, namespace or probe, self.inside, self.abroad)
        self.operator.patch("v1", "Node", self.inside, {"metadata": {"labels": governed.selector}})
        self.operator.apply(territory(governed, **spec))
        self.made.append((API_VERSION, "Territory", name))
        labels = {name: "here", GOVERNED_LABEL: "true"}
        for governed_namespace in {probe, governed.namespace}:
            self.operator.patch("v1", "Namespace", governed_namespace, {"metadata": {"labels": labels}})
        asked = {question: spec[question] for question in ("network", "storage", "access") if question in spec}
        for binding in border.bindings(policy(governed, mode, **asked), exempt=EXEMPT):
            if pin or binding["kind"] != "MutatingAdmissionPolicyBinding":
                self.bind(binding)
        eventually(lambda: self._in_force(governed, probe, mode, pin=pin), what=f"{name} is in force")
        return governed

    def bind(self, binding: Manifest) -> None:
        """Create a binding, which goes first when the ground is cleared."""
        self.operator.apply(binding)
        self.made.append((binding["apiVersion"], binding["kind"], binding["metadata"]["name"]))

    def _in_force(self, governed: Governed, probe: str, mode: str, *, pin: bool) -> bool:
        """Bindings become active in the order of their creation, and that of pods is the last but the pin's."""
        self.admin.warnings.clear()
        foreign = pod(probe, nodeName="nowhere", nodeSelector=governed.selector)
        if mode == "Enforce":
            with refused("bailiwick-pods", "WrongPlace", f"bailiwick-pods.{governed.policy}"):
                self.admin.create(foreign, dry_run=True)
            return not pin or governed.label in self.admin.create(pod(probe), dry_run=True)["spec"]["nodeSelector"]
        self.admin.create(foreign, dry_run=True)
        return mode == "Audit" or self.admin.warnings != []

    def leave(self) -> None:
        """Sign everybody out."""
        for person in self._people.values():
            person.close()

    def clear(self) -> None:
        """Remove what was made: bindings before their Territories, so that nothing is left that cannot be removed."""
        labels = self.admin.get("v1", "Node", self.inside)["metadata"].get("labels", {})
        ours = {label: None for label in labels if label.startswith(LABEL_PREFIX)}
        self.operator.patch("v1", "Node", self.inside, {"metadata": {"labels": ours}})
        for api_version, kind, name in sorted(self.made, key=lambda made: not made[1].endswith("PolicyBinding")):
            self.operator.delete(api_version, kind, name)
        self.made.clear()


def territory(governed: Governed, **spec: Any) -> Manifest:
    """The Territory of a policy that governs namespaces labelled with the policy's own name."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Territory",
        "metadata": {"name": governed.policy},
        "spec": {
            "policy": governed.policy,
            "digest": DIGEST,
            "nodes": {governed.inside: "DE"},
            "nodeSelector": governed.selector,
            "namespaceLabels": [governed.policy],
            "schedulers": ["default-scheduler", "nobody"],
        }
        | spec,
    }


def policy(governed: Governed, mode: str, **asked: Any) -> CompiledPolicy:
    """A ResidencyPolicy whose selector is the label of its own name, as the operator reads it; ``asked`` decides which
    guards are bound besides those that always are."""
    manifest = {
        "metadata": {"name": governed.policy},
        "spec": {
            "mode": mode,
            "namespaceSelector": {"matchLabels": {governed.policy: "here"}},
            "place": {"allow": ["DE"]},
            **asked,
        },
    }
    return compile_policy(ResidencyPolicy.read(manifest), Atlas())


def pod(namespace: str, name: str = "pod", **spec: Any) -> Manifest:
    """A pod that asks for nothing but to run."""
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0} | spec,
    }


def authored(made: Manifest, *governing: Governed) -> Manifest:
    """The pod as its author has to write it: with the labels of the territories, where the API server pins nothing."""
    labels = {label: value for governed in governing for label, value in governed.selector.items()}
    return made if PINS else pinned(made, labels)


@dataclass(slots=True)
class Refusal:
    """What a user reads who is refused."""

    message: str = ""


@contextmanager
def refused(by: str, reason: str, binding: str | None = None, *, code: int = FORBIDDEN) -> Iterator[Refusal]:
    """The request inside is refused by that in-tree policy (through that binding) with that reason, and by nobody else.

    Raises AssertionError otherwise, so that `eventually` may wait for it.
    """
    refusal, seen = Refusal(), 0
    try:
        yield refusal
    except ApiError as error:
        refusal.message, seen = error.message, error.code
    expected = f"ValidatingAdmissionPolicy '{by}' with binding '{binding or by}' denied request: {reason}: "
    assert expected in refusal.message, refusal.message or f"admitted, where {by} refuses with {reason}"
    assert seen == code, refusal.message
