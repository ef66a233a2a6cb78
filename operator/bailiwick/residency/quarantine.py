"""Quarantine: what a pod that may not talk to anybody looks like. Pure.

NetworkPolicies add up, so one that denies everything denies only what no other allows. A quarantined pod therefore
loses the labels by which the Services and the other NetworkPolicies of its namespace select it, and keeps them in an
annotation for the day that it comes back inside.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bailiwick.residency.territories import MANAGED_LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

Manifest = dict[str, Any]

QUARANTINED = "bailiwick.dev/quarantined"
"""Label of a pod in quarantine; its value is ``true``."""
SINCE = "bailiwick.dev/violation-since"
"""Annotation: when the pod was found outside."""
LABELS = "bailiwick.dev/quarantined-labels"
"""Annotation: the labels that a quarantine took from the pod, as JSON."""
BY = "bailiwick.dev/quarantined-by"
"""Annotation: the policy for which the pod was put into quarantine."""
NETWORK_POLICY = "bailiwick-quarantine"


def network_policy(namespace: str) -> Manifest:
    """No connection to or from a pod in quarantine, in a cluster whose network enforces NetworkPolicies."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": NETWORK_POLICY, "namespace": namespace, "labels": dict(MANAGED_LABELS)},
        "spec": {"podSelector": {"matchLabels": {QUARANTINED: "true"}}, "policyTypes": ["Ingress", "Egress"]},
    }


def labels_before(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    """A pod's labels as they were before a quarantine."""
    return {**_taken(metadata), **(metadata.get("labels") or {})}


def enter(
    metadata: Mapping[str, Any], selectors: Iterable[Mapping[str, Any]], since: datetime, policy: str
) -> Manifest:
    """The merge patch of metadata that puts a pod into quarantine; empty when it is in.

    ``selectors`` are label selectors of the Services and NetworkPolicies of the namespace (metav1.LabelSelector).
    """
    labels = metadata.get("labels") or {}
    chosen = {key for selector in selectors if _selects(selector, labels) for key in _keys(selector)}
    take = {key: labels[key] for key in sorted(chosen & labels.keys() - {QUARANTINED})}
    patch = mark(metadata, since)
    if take:
        patch.setdefault("annotations", {})[LABELS] = json.dumps({**_taken(metadata), **take}, sort_keys=True)
    if not (metadata.get("annotations") or {}).get(BY):
        patch.setdefault("annotations", {})[BY] = policy
    if take or labels.get(QUARANTINED) != "true":
        patch["labels"] = {**dict.fromkeys(take), QUARANTINED: "true"}
    return patch


def mark(metadata: Mapping[str, Any], since: datetime) -> Manifest:
    """The merge patch of metadata that writes down when a pod was found outside; empty when it says so."""
    written = since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {} if (metadata.get("annotations") or {}).get(SINCE) == written else {"annotations": {SINCE: written}}


def leave(metadata: Mapping[str, Any]) -> Manifest:
    """The merge patch of metadata that takes a pod out of quarantine; empty when nothing is on it.

    It gets back the labels that it has not got anew.
    """
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    patch: Manifest = {}
    if gone := [key for key in (SINCE, LABELS, BY) if key in annotations]:
        patch["annotations"] = dict.fromkeys(gone)
    back = {key: value for key, value in _taken(metadata).items() if key not in labels}
    if back or QUARANTINED in labels:
        patch["labels"] = {**back, **({QUARANTINED: None} if QUARANTINED in labels else {})}
    return patch


def marked(metadata: Mapping[str, Any]) -> bool:
    """Whether a quarantine or its clock left something on a pod."""
    annotations = metadata.get("annotations") or {}
    return QUARANTINED in (metadata.get("labels") or {}) or bool({SINCE, LABELS, BY} & annotations.keys())


def _taken(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What a quarantine took. Anybody who may edit the pod may have written nonsense there, which is nothing."""
    try:
        taken = json.loads((metadata.get("annotations") or {}).get(LABELS, "{}"))
    except ValueError:
        return {}
    if not isinstance(taken, dict):
        return {}
    return {key: value for key, value in taken.items() if isinstance(value, str) and key != QUARANTINED}


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(each, labels) for each in selector.get("matchExpressions") or ())


def _meets(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement["key"])
    listed = value in (requirement.get("values") or ())
    operators = {"In": listed, "NotIn": not listed, "Exists": value is not None, "DoesNotExist": value is None}
    return operators[requirement["operator"]]


def _keys(selector: Mapping[str, Any]) -> Iterable[str]:
    """The labels by which a selector finds a pod; it may also find it by labels that the pod lacks."""
    yield from selector.get("matchLabels") or {}
    yield from (each["key"] for each in selector.get("matchExpressions") or ())
