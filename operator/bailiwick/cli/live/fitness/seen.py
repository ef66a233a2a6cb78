"""What was seen of a cluster: raw objects, as far as whoever asked could see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bailiwick.cli.live.fitness.findings import Unseen

Raw = dict[str, Any]
Listed = Sequence[Raw] | Unseen
"""The objects of a list; empty also where the cluster has no such kind."""
Found = Raw | None | Unseen
"""One object; None where there is none."""

PROBE_NODE: Final = "bailiwick-doctor"
"""A node that does not exist, whose kubelet is asked for by dry run."""
PROBE_LABEL: Final = "doctor.node-restriction.kubernetes.io/probe"
"""A label that NodeRestriction keeps kubelets from. Not below Bailiwick's own prefix: its policies would answer."""
SYSTEM: Final = "bailiwick-system"
"""Where Bailiwick runs unless its webhook or its rights say otherwise."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request that was only tried: accepted, or refused with an HTTP status (None: no answer)."""

    accepted: bool
    status: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server's authorizers say of somebody, and why."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that is judged."""

    at: datetime
    home: str
    """Bailiwick's namespace."""
    release: tuple[int, int] | Unseen
    served: Mapping[str, frozenset[str] | Unseen]
    """Plural names of the kinds that are served, by group and version (``apps/v1``)."""
    kinds: Mapping[str, Found]
    """Bailiwick's CustomResourceDefinitions by name."""
    registers: Answer
    """A kubelet that registers itself with `PROBE_LABEL`."""
    reads: Review | Unseen
    """Whether that kubelet may read a Secret that no pod of its node mounts."""
    servers: Listed
    """Pods that run kube-apiserver."""
    nodes: Listed
    daemons: Listed
    """DaemonSets of all namespaces."""
    replicas: Listed
    """Pods of models."""
    system_pods: Listed
    """Pods of the namespaces that are exempt."""
    namespaces: Listed
    cluster_roles: Listed
    cluster_bindings: Listed
    roles: Listed
    """Of the exempt namespaces, as are `role_bindings`."""
    role_bindings: Listed
    in_tree: Listed
    """ValidatingAdmissionPolicies."""
    bindings: Listed
    """Their bindings."""
    policies: Listed
    border: Found
    """The ConfigMap from which the operator puts policies back."""
    deployments: Mapping[str, Found]
    lease: Found
    webhook: Found
    asked: Answer
    """A request that the webhook judges."""


def moment(written: str | None) -> datetime | None:
    """A time as the API server writes it; None where there is none that can be read."""
    try:
        return datetime.fromisoformat(written) if written else None
    except ValueError:
        return None
