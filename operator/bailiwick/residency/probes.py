"""What the canary tries: requests that change nothing, and who must refuse them. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bailiwick.residency.border import NAMESPACES_BINDING
from bailiwick.residency.policies import CompiledPolicy
from bailiwick.residency.territories import GOVERNED_LABEL, RESIDENT, label_of
from bailiwick.residency.verdict import Reason

NAME: Final = "bailiwick-canary"
"""What everything that the canary invents is called, and the identities it asks as."""
NOWHERE: Final = "bailiwick-canary-nowhere"
"""A node that does not exist."""

_METADATA_NAME: Final = "kubernetes.io/metadata.name"
_DIGEST: Final = "sha256:" + "0" * 64


class Attempt(StrEnum):
    """The probes, by what they try."""

    COMPLIANT_POD = "compliant-pod"
    FOREIGN_NODE = "foreign-node"
    OTHER_SELECTOR = "other-selector"
    FOREIGN_BINDING = "foreign-binding"
    FOREIGN_LEGACY_BINDING = "foreign-legacy-binding"
    NODE_LABEL = "node-label"
    NODE_STATUS_LABEL = "node-status-label"
    KUBELET_LABEL = "kubelet-label"
    NAMESPACE_LABEL = "namespace-label"
    GOVERNED_LABEL = "governed-label"
    TERRITORY = "territory"
    NO_DRY_RUN = "no-dry-run"


class Identity(StrEnum):
    """Who asks: the in-tree policies spare the operator itself."""

    CANARY = "canary"
    KUBELET = "kubelet"


@dataclass(frozen=True, slots=True)
class Guard:
    """The in-tree policy that must refuse, with what reason, through any one of these bindings."""

    policy: str
    bindings: frozenset[str]
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One request, and who must refuse it: nobody (``guard`` None) where it is compliant."""

    attempt: Attempt
    does: str
    """The request in words: the subject of a sentence."""
    guard: Guard | None
    kind: str
    name: str
    body: Mapping[str, Any]
    """A manifest to POST, or a merge patch."""
    patch: bool = False
    namespace: str | None = None
    subresource: str | None = None
    by: Identity = Identity.CANARY
    dry_run: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where one policy is tried: a namespace that it governs, and the nodes of the cluster."""

    policy: CompiledPolicy
    generation: int
    others: tuple[CompiledPolicy, ...]
    """Other policies of mode Enforce that govern the namespace."""
    namespace: str
    namespace_labels: Mapping[str, str]
    nodes: Mapping[str, Mapping[str, str]]
    """Labels of every node, by name."""
    inside: Mapping[str, Collection[str]]
    """Names of the nodes in the written Territory of each policy, by the policy's name."""


def probes(setting: Setting) -> tuple[Probe, ...]:
    """Everything that can be tried there. What the setting does not offer (no node, no label) is left out."""
    found = (
        *_pods(setting),
        *_bindings(setting),
        *_node_labels(setting),
        _kubelet(setting),
        *_namespace_labels(setting),
        _territory(setting),
        _for_real(setting),
    )
    return tuple(probe for probe in found if probe)


def _guard(policy: str, reason: Reason, by: Iterable[str] | None = None) -> Guard:
    """``by`` names the residency policies through whose bindings it may refuse; absent: its one static binding."""
    bindings = {policy} if by is None else {f"{policy}.{each}" for each in by}
    return Guard(policy, frozenset(bindings), reason)


def _foreign(setting: Setting) -> tuple[str, tuple[str, ...]]:
    """A node outside, and the policies that must refuse it, any of which may be the one that answers."""
    all_of_them = (setting.policy.name, *(other.name for other in setting.others))
    outside = sorted(setting.nodes.keys() - set(setting.inside.get(setting.policy.name, ())))
    for node in outside:
        if all(node in setting.inside.get(other.name, ()) for other in setting.others):
            return node, (setting.policy.name,)
    return (outside[0] if outside else NOWHERE), all_of_them


def _pods(setting: Setting) -> Iterable[Probe | None]:
    image = _image((setting.policy, *setting.others))
    selector = {label_of(each.name): RESIDENT for each in (setting.policy, *setting.others)}
    foreign, refusers = _foreign(setting)
    inside = _pod(setting, image, nodeSelector=selector)
    named = _pod(setting, image, nodeSelector=selector, nodeName=foreign)
    elsewhere = _pod(setting, image, nodeSelector={**selector, label_of(setting.policy.name): "elsewhere"})
    where: dict[str, Any] = {"kind": "Pod", "name": NAME, "namespace": setting.namespace}
    at = f"in namespace {setting.namespace}"
    if image is not None:
        yield Probe(attempt=Attempt.COMPLIANT_POD, does=f"a compliant pod {at}", guard=None, body=inside, **where)
    yield Probe(
        attempt=Attempt.FOREIGN_NODE,
        does=f"a pod {at} that names the foreign node {foreign}",
        guard=_guard("bailiwick-pods", Reason.WRONG_PLACE, refusers),
        body=named,
        **where,
    )
    yield Probe(
        attempt=Attempt.OTHER_SELECTOR,
        does=f"a pod {at} that selects nodes outside policy {setting.policy.name}",
        guard=_guard("bailiwick-pods", Reason.NOT_PINNED, (setting.policy.name,)),
        body=elsewhere,
        **where,
    )


def _pod(setting: Setting, image: str | None, **spec: Any) -> dict[str, Any]:
    """A pod that the strictest Pod Security Standard and most quotas let through."""
    container = {
        "name": "canary",
        "image": image or f"registry.invalid/{NAME}@{_DIGEST}",
        "resources": {key: {"cpu": "1m", "memory": "4Mi"} for key in ("requests", "limits")},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": setting.namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            **spec,
        },
    }


def _image(policies: Iterable[CompiledPolicy]) -> str | None:
    """An image that every policy allows; None when there is none."""
    asked = [policy.spec.images.registries for policy in policies if policy.spec.images]
    for prefix in sorted(asked[0]) if asked else ["registry.invalid"]:
        name = f"{prefix.rstrip('/')}/{NAME}"
        if all(any(name.startswith(f"{other.rstrip('/')}/") for other in allowed) for allowed in asked):
            return f"{name}@{_DIGEST}"
    return None


def _bindings(setting: Setting) -> Iterable[Probe]:
    foreign, refusers = _foreign(setting)
    for attempt, kind, subresource in (
        (Attempt.FOREIGN_BINDING, "Pod", "binding"),
        (Attempt.FOREIGN_LEGACY_BINDING, "Binding", None),
    ):
        url = "pods/binding" if subresource else "bindings"
        # The pod does not exist, and need not: policies are asked before anybody looks for it.
        yield Probe(
            attempt=attempt,
            does=f"a binding to the foreign node {foreign} in namespace {setting.namespace}, through {url},",
            guard=_guard("bailiwick-bindings", Reason.WRONG_PLACE, refusers),
            kind=kind,
            name=NAME,
            namespace=setting.namespace,
            subresource=subresource,
            body={
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": NAME, "namespace": setting.namespace},
                "target": {"apiVersion": "v1", "kind": "Node", "name": foreign},
            },
        )


def _node_labels(setting: Setting) -> Iterable[Probe]:
    label = label_of(setting.policy.name)
    inside = setting.inside.get(setting.policy.name, ())
    unlabelled = sorted(name for name, labels in setting.nodes.items() if name not in inside and label not in labels)
    labelled = sorted(name for name, labels in setting.nodes.items() if labels.get(label) == RESIDENT)
    if not unlabelled and not labelled:
        return
    node, value = (unlabelled[0], RESIDENT) if unlabelled else (labelled[0], None)
    for attempt, subresource in ((Attempt.NODE_LABEL, None), (Attempt.NODE_STATUS_LABEL, "status")):
        url = "nodes/status" if subresource else "nodes"
        yield Probe(
            attempt=attempt,
            does=f"a change of label {label} of node {node}, through {url},",
            guard=_guard("bailiwick-nodes", Reason.PROTECTED_LABEL),
            kind="Node",
            name=node,
            subresource=subresource,
            body={"metadata": {"labels": {label: value}}},
            patch=True,
        )


def _kubelet(setting: Setting) -> Probe:
    labels = {label_of(setting.policy.name): RESIDENT}
    return Probe(
        attempt=Attempt.KUBELET_LABEL,
        does=f"a kubelet that registers itself as inside policy {setting.policy.name}",
        guard=_guard("bailiwick-nodes", Reason.PROTECTED_LABEL),
        by=Identity.KUBELET,
        kind="Node",
        name=NAME,
        body={"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "labels": labels}},
    )


def _namespace_labels(setting: Setting) -> Iterable[Probe]:
    keys = sorted(setting.policy.spec.namespace_selector.keys() - {_METADATA_NAME})
    present = [key for key in keys if key in setting.namespace_labels]
    changes: list[tuple[Attempt, str, str | None, str]] = []
    if keys:
        key, value = (present[0], None) if present else (keys[0], "canary")
        changes.append((Attempt.NAMESPACE_LABEL, key, value, NAMESPACES_BINDING))
    if GOVERNED_LABEL in setting.namespace_labels:
        changes.append((Attempt.GOVERNED_LABEL, GOVERNED_LABEL, None, "bailiwick-namespaces-governed"))
    for attempt, key, value, guard in changes:
        yield Probe(
            attempt=attempt,
            does=f"a change of label {key} of namespace {setting.namespace}",
            guard=_guard(guard, Reason.PROTECTED_LABEL),
            kind="Namespace",
            name=setting.namespace,
            body={"metadata": {"labels": {key: value}}},
            patch=True,
        )


def _territory(setting: Setting) -> Probe:
    return Probe(
        attempt=Attempt.TERRITORY,
        does=f"a change of Territory {setting.policy.name}",
        guard=_guard("bailiwick-territories", Reason.OPERATOR_ONLY),
        kind="Territory",
        name=setting.policy.name,
        body={"spec": {"nodes": {NOWHERE: "XX"}}},
        patch=True,
    )


def _for_real(setting: Setting) -> Probe:
    """The one probe that is no dry run: that the canary could do it is what must not be. It would change nothing."""
    return Probe(
        attempt=Attempt.NO_DRY_RUN,
        does="a request of the canary that is no dry run",
        guard=_guard(NAME, Reason.DRY_RUN_ONLY),
        kind="Namespace",
        name=setting.namespace,
        body={},
        patch=True,
        dry_run=False,
    )
