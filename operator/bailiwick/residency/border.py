"""The bindings that put the in-tree policies of charts/bailiwick/policies into force for one ResidencyPolicy.

Several policies on one namespace need no code: the API server evaluates every binding, and all must agree.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from bailiwick.api.residencypolicy import Mode, ResidencyPolicySpec
from bailiwick.residency.policies import CompiledPolicy
from bailiwick.residency.territories import MANAGED_LABELS

Manifest = dict[str, Any]

NAMESPACES_BINDING = "bailiwick-namespaces"
"""The one binding over all territories."""

POLICY_LABEL = "bailiwick.dev/policy"
"""Label of a binding: the ResidencyPolicy that it puts into force."""

_API_VERSION = "admissionregistration.k8s.io/v1"
_VALIDATING = "ValidatingAdmissionPolicyBinding"
_MUTATING = "MutatingAdmissionPolicyBinding"
# The API server activates bindings in the order of their creation. Whoever sees pods judged knows that the rest is, and
# pods are pinned only when they are also judged. What a policy does not ask costs its namespaces nothing.
_GUARDS: tuple[tuple[str, Callable[[ResidencyPolicySpec], bool]], ...] = (
    ("bailiwick-models", lambda _: True),
    ("bailiwick-propagation", lambda _: True),
    ("bailiwick-claims", lambda _: True),
    ("bailiwick-networks", lambda _: True),
    ("bailiwick-storage", lambda spec: spec.storage is not None),
    ("bailiwick-services", lambda spec: spec.network is not None),
    ("bailiwick-endpoints", lambda spec: spec.network is not None),
    ("bailiwick-ingresses", lambda spec: spec.network is not None),
    ("bailiwick-access", lambda spec: spec.access is not None),
    ("bailiwick-bindings", lambda _: True),
    ("bailiwick-pods", lambda _: True),
)
PIN = "bailiwick-pin"
"""The in-tree policy that refuses nothing: it adds the nodeSelector that pods did not bring."""
_ACTIONS: Mapping[Mode, tuple[str, ...]] = {
    Mode.AUDIT: ("Audit",),
    Mode.WARN: ("Warn", "Audit"),
    Mode.ENFORCE: ("Deny", "Audit"),
}


def bindings(policy: CompiledPolicy, *, exempt: Collection[str], pins: bool = True) -> tuple[Manifest, ...]:
    """What the operator applies for one policy, in the order in which to apply it.

    In mode Enforce requests are denied and pods pinned. Warn and Audit change nothing about a request, so they pin
    nothing either: what they report is what Enforce would refuse or pin. ``unknown`` plays no role here, for it decides
    which nodes are in the Territory. ``pins``: whether the API server can pin.
    """
    guards = tuple(_validating(guard, policy, exempt) for guard, asked in _GUARDS if asked(policy.spec))
    return (*guards, _mutating(policy, exempt)) if pins and policy.mode is Mode.ENFORCE else guards


def namespaces_binding(*, exempt: Collection[str]) -> Manifest:
    """The guard of namespace labels, measured by every Territory there is.

    It always denies. A policy in mode Audit or Warn must also be safe from those whom it observes, or its report would
    be theirs to choose.
    """
    return {
        "apiVersion": _API_VERSION,
        "kind": _VALIDATING,
        "metadata": {"name": NAMESPACES_BINDING, "labels": dict(MANAGED_LABELS)},
        "spec": {
            "policyName": NAMESPACES_BINDING,
            "paramRef": {"selector": {}, "parameterNotFoundAction": "Deny"},
            "validationActions": list(_ACTIONS[Mode.ENFORCE]),
            "matchResources": {"namespaceSelector": {"matchExpressions": [_outside(exempt)]}},
        },
    }


def guards(policy: CompiledPolicy) -> frozenset[str]:
    """The in-tree policies that refuse for one policy, besides those which the chart puts into force for all."""
    return frozenset(guard for guard, asked in _GUARDS if asked(policy.spec)) | {NAMESPACES_BINDING}


def policy_of(binding: Mapping[str, Any]) -> str | None:
    """The ResidencyPolicy that a binding puts into force; None for any other object."""
    labels = binding["metadata"].get("labels") or {}
    policy = labels.get(POLICY_LABEL)
    return policy if isinstance(policy, str) else None


def _validating(guard: str, policy: CompiledPolicy, exempt: Collection[str]) -> Manifest:
    binding = _binding(_VALIDATING, guard, policy, exempt)
    binding["spec"]["validationActions"] = list(_ACTIONS[policy.mode])
    return binding


def _mutating(policy: CompiledPolicy, exempt: Collection[str]) -> Manifest:
    return _binding(_MUTATING, PIN, policy, exempt)


def _binding(kind: str, guard: str, policy: CompiledPolicy, exempt: Collection[str]) -> Manifest:
    return {
        "apiVersion": _API_VERSION,
        "kind": kind,
        "metadata": {
            "name": f"{guard}.{policy.name}",
            "labels": {**MANAGED_LABELS, POLICY_LABEL: policy.name},
        },
        "spec": {
            "policyName": guard,
            "paramRef": {"name": policy.name, "parameterNotFoundAction": "Deny"},
            "matchResources": {"namespaceSelector": _selector(policy, exempt)},
        },
    }


def _selector(policy: CompiledPolicy, exempt: Collection[str]) -> Manifest:
    """The policy's selector and the exception of the namespaces that a cluster needs to start: all are ANDed."""
    selector: Manifest = policy.spec.namespace_selector.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    selector["matchExpressions"] = [*selector.get("matchExpressions", ()), _outside(exempt)]
    return selector


def _outside(exempt: Collection[str]) -> Manifest:
    return {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": sorted(exempt)}
