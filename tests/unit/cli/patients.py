"""Clusters as `bailiwick doctor` sees them: one that is fit, and parts of others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bailiwick.api.schema import KINDS, crd
from bailiwick.cli.live.fitness.findings import Finding, Severity, Unseen
from bailiwick.cli.live.fitness.judge import judge
from bailiwick.cli.live.fitness.seen import SYSTEM, Answer, Review, Seen
from bailiwick.cli.live.fitness.server import ADMISSION, DEVICES, KIND_NAMES
from tests.unit.residency.given import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD, DOUBTFUL, UNSEEN, GOOD = Severity.BAD, Severity.DOUBTFUL, Severity.UNSEEN, Severity.GOOD
HIDDEN = Unseen("you may not look", "ask")
SERVED = {
    ADMISSION: frozenset(
        {
            "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
            "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
        }
    ),
    DEVICES: frozenset({"resourceclaimtemplates"}),
}  # fmt: skip
REFUSED = Answer(accepted=False, status=403, message="node is not allowed to set the following labels: x")
STRANGER = Answer(accepted=False, status=403, message='User "paul" cannot impersonate resource "users"')


def node(name: str = "a", kubelet: str = "v1.36.0") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"nodeInfo": {"kubeletVersion": kubelet}}}


def daemon(name: str, ready: int = 1, *arguments: str) -> dict[str, Any]:
    container = {"name": "agent", "args": list(arguments)}
    return {
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"template": {"spec": {"containers": [container]}}},
        "status": {"numberReady": ready, "desiredNumberScheduled": ready},
    }


BARE = Seen(
    at=NOW, home=SYSTEM, release=(1, 36), served=SERVED, kinds=dict.fromkeys(KIND_NAMES), registers=REFUSED,
    reads=Review(allowed=False, reason="no relationship found between node and this object"), servers=(),
    nodes=(node(),), daemons=(daemon("cilium"),), replicas=(), system_pods=(), namespaces=(), cluster_roles=(),
    cluster_bindings=(), roles=(), role_bindings=(), in_tree=(), bindings=(), policies=(), border=None,
    deployments={"bailiwick-operator": None, "bailiwick-admission": None}, lease=None, webhook=None,
    asked=Answer(accepted=False, message="there is no webhook"),
)  # fmt: skip
"""A cluster that is fit, without Bailiwick."""


def told(check: str, trusted: Sequence[str] = (), **seen: Any) -> list[Finding]:
    """The answers of a check."""
    return [each for each in judge(replace(BARE, **seen), trusted).findings if each.check.startswith(check)]


def one(check: str, **seen: Any) -> tuple[Severity, str]:
    (found,) = told(check, **seen)
    return found.severity, found.seen


def kinds(**changed: Any) -> dict[str, Any]:
    """All kinds as this release has them, but for some by their plural name."""
    made = {f"{each.presents.plural}.bailiwick.dev": crd(each) for each in KINDS}
    return made | {f"{name}.bailiwick.dev": value for name, value in changed.items()}


def proved(status: str, reason: str, age: timedelta = timedelta(seconds=30)) -> dict[str, Any]:
    condition = {
        "type": "Enforced", "status": status, "reason": reason, "message": "m", "observedGeneration": 1,
        "lastTransitionTime": "2026-11-20T00:00:00Z",
    }  # fmt: skip
    return {
        "metadata": {"name": "health", "generation": 1},
        "spec": {"namespaceSelector": {"matchLabels": {"data": "x"}}, "place": {"allow": ["EU"]}},
        "status": {"observedGeneration": 1, "conditions": [condition], "lastProof": f"{NOW - age:%Y-%m-%dT%H:%M:%SZ}"},
    }
