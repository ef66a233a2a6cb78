"""What the audit found in one namespace, as a report that the tools of others show. Pure.

OpenReports and the Policy Working Group's PolicyReport have the same fields, as far as they are used here. A report
holds no time and no count that moves by itself: with the same findings it is the same, whatever their order.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.territories import MANAGED_LABELS
from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Manifest = dict[str, Any]

NAME: Final = "bailiwick"
KINDS: Final = {"Report": "openreports.io/v1alpha1", "PolicyReport": "wgpolicyk8s.io/v1alpha2"}
"""Their API versions."""
MOST_RESULTS: Final = 300
"""So many findings a report shows. With their longest messages they are a fifth of what etcd takes for one object."""
NOT_SHOWN: Final = "NotShown"
"""The rule of the result that stands for the findings left out."""
_LONGEST_MESSAGE: Final = 400
_OUTCOMES: Final = ("pass", "fail", "warn", "error", "skip")
_SEVERITIES: Final = {"fail": "high", "warn": "medium", "error": "medium", "pass": "info"}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One object of a namespace that one policy does not allow. ``kind`` is of the core API."""

    policy: str
    kind: str
    name: str
    reason: str
    message: str
    uid: str = ""
    node: str = ""


def report(  # noqa: PLR0913 - by keyword
    kind: str,
    namespace: str,
    modes: Mapping[str, Mode],
    findings: Iterable[Finding],
    *,
    unseen: bool = False,
    most: int = MOST_RESULTS,
) -> Manifest:
    """The report of a namespace that these policies govern; ``modes`` is theirs by name, as ``findings`` name them.

    ``summary`` counts all findings. ``results`` has the first ``most`` of them, those of policies that enforce before
    others, and one of each policy: that nothing was found, or how many are not shown. ``unseen`` says that volumes and
    Services could not be judged: then a policy without findings does not pass. ``kind`` is one of `KINDS`.
    """
    outcomes = {name: "fail" if mode is Mode.ENFORCE else "warn" for name, mode in modes.items()}
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    every = list(findings)
    for each in every:
        counted[each.policy][each.reason] += 1
    shown = nsmallest(most, every, key=lambda each: (outcomes[each.policy], each))  # "fail" sorts before "warn"
    left = {name: Counter(reasons) for name, reasons in counted.items()}
    for each in shown:
        left[each.policy][each.reason] -= 1
    without = sorted(modes.keys() - counted.keys())
    results = [
        *(_outside(each, outcomes[each.policy], namespace) for each in shown),
        *(_not_shown(name, outcomes[name], +left[name], namespace) for name in sorted(left) if +left[name]),
        *((_unjudged if unseen else _passed)(name, namespace) for name in without),
    ]
    summary = Counter(dict.fromkeys(_OUTCOMES, 0))
    for name, reasons in counted.items():
        summary[outcomes[name]] += reasons.total()
    summary["error" if unseen else "pass"] += len(without)
    return {
        "apiVersion": KINDS[kind],
        "kind": kind,
        "metadata": {"name": NAME, "namespace": namespace, "labels": dict(MANAGED_LABELS)},
        "scope": {"apiVersion": "v1", "kind": "Namespace", "name": namespace},
        "results": results,
        "summary": dict(summary),
    }


def digest(manifest: Mapping[str, Any]) -> str:
    """Of all that `report` writes, in a report as it is or as it should be. What others add besides does not count."""
    scope = manifest.get("scope") or {}
    said = {
        "scope": {key: scope.get(key) for key in ("apiVersion", "kind", "name")},
        "results": manifest.get("results"),
        "summary": manifest.get("summary"),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _outside(found: Finding, outcome: str, namespace: str) -> Manifest:
    subject = {"apiVersion": "v1", "kind": found.kind, "namespace": namespace, "name": found.name}
    said = _result(
        found.policy, found.reason, outcome, found.message, subject | ({"uid": found.uid} if found.uid else {})
    )
    return said | ({"properties": {"node": found.node}} if found.node else {})


def _not_shown(policy: str, outcome: str, left: Counter[str], namespace: str) -> Manifest:
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left.items()))
    message = f"not shown, but counted in the summary: {counts}"
    said = _result(policy, NOT_SHOWN, outcome, message, _whole(namespace))
    return said | {"properties": {"notShown": str(left.total())}}


def _unjudged(policy: str, namespace: str) -> Manifest:
    message = "every running pod is where the policy allows, but volumes and Services could not be judged"
    return _result(policy, Reason.LOOKUP_FAILED, "error", message, _whole(namespace))


def _passed(policy: str, namespace: str) -> Manifest:
    message = "every running pod, volume and Service is where and what the policy allows"
    return _result(policy, Reason.ALLOWED, "pass", message, _whole(namespace))


def _whole(namespace: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "name": namespace}


def _result(policy: str, rule: str, outcome: str, message: str, subject: Manifest) -> Manifest:
    short = message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 1]}…"
    return {
        "policy": policy,
        "rule": str(rule),
        "category": "residency",
        "source": NAME,
        "result": outcome,
        "severity": _SEVERITIES[outcome],
        "message": short,
        "resources": [subject],
    }
