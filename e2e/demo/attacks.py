"""Attempts to cross the border, each as the person or machine that would make it.

An attempt is what somebody types; ``stopped_by`` and ``reason`` are what must refuse it, so that nothing counts as
refused for the wrong reason. The demo prints them, ``e2e/test_skeleton.py`` proves them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster import cluster, kind

Manifest = Mapping[str, Any]

NAMESPACE = "clinic"
INSIDE = cluster.site("inside", kind.INSIDE)
ABROAD = cluster.site("abroad", kind.ABROAD)
LABEL = "bailiwick.dev.node-restriction.kubernetes.io/health"
IMAGE = f"{cluster.repository()}/gate:dev"
"""Any program that keeps running; this one is on both workers."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: who does what, and what must refuse it.

    ``command`` are the arguments of kubectl; ``manifest`` goes to its standard input.
    """

    name: str
    who: str
    command: tuple[str, ...]
    stopped_by: str
    reason: str
    manifest: Manifest | None = None
    groups: tuple[str, ...] = ()
    prepare: tuple[Manifest, ...] = field(default=())

    def arguments(self) -> list[str]:
        """Arguments of kubectl with the identity of the attacker."""
        identity = (
            [f"--as={self.who}", *(f"--as-group={group}" for group in self.groups)] if self.who != "admin" else []
        )
        return [*identity, *self.command]

    def standard_input(self) -> str | None:
        """What kubectl reads."""
        return json.dumps(self.manifest) if self.manifest else None


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that asks for nothing but to run, as restricted as the namespace wants it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": _pod_spec() | spec,
    }


def _pod_spec() -> dict[str, Any]:
    return {
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }


def _binding(victim: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": victim, "namespace": NAMESPACE},
        "target": {"apiVersion": "v1", "kind": "Node", "name": ABROAD},
    }


_UNSCHEDULED = pod("held", schedulingGates=[{"name": "demo.example/wait"}])

ATTEMPTS: tuple[Attempt, ...] = (
    Attempt(
        name="a pod that names a foreign node",
        who="jane",
        command=("create", "-f", "-"),
        manifest=pod("by-name", nodeName=ABROAD),
        stopped_by="bailiwick-pods",
        reason="WrongPlace",
    ),
    Attempt(
        name="a pod that names a node nobody knows",
        who="jane",
        command=("create", "-f", "-"),
        manifest=pod("by-unknown-name", nodeName="laptop"),
        stopped_by="bailiwick-pods",
        reason="WrongPlace",
    ),
    Attempt(
        name="a pod that selects the outside",
        who="jane",
        command=("create", "-f", "-"),
        manifest=pod("by-selector", nodeSelector={LABEL: "foreign"}),
        stopped_by="bailiwick-pods",
        reason="NotPinned",
    ),
    Attempt(
        name="a scheduler of one's own, through pods/binding",
        who="rogue-scheduler",
        command=("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/held/binding", "-f", "-"),
        manifest=_binding("held"),
        prepare=(_UNSCHEDULED,),
        stopped_by="bailiwick-bindings",
        reason="WrongPlace",
    ),
    Attempt(
        name="the same through the forgotten URL, bindings",
        who="rogue-scheduler",
        command=("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/bindings", "-f", "-"),
        manifest=_binding("held"),
        prepare=(_UNSCHEDULED,),
        stopped_by="bailiwick-bindings",
        reason="WrongPlace",
    ),
    Attempt(
        name="a kubelet abroad that labels itself",
        who=f"system:node:{ABROAD}",
        groups=("system:nodes", "system:authenticated"),
        command=("label", "node", ABROAD, f"{LABEL}=resident"),
        stopped_by="is not allowed to modify labels",
        reason=LABEL,
    ),
    Attempt(
        name="an administrator who labels the foreign node",
        who="admin",
        command=("label", "node", ABROAD, f"{LABEL}=resident"),
        stopped_by="bailiwick-nodes",
        reason="ProtectedLabel",
    ),
    Attempt(
        name="a tenant who takes the label off the namespace",
        who="jane",
        command=("label", "namespace", NAMESPACE, "data-"),
        stopped_by="bailiwick-namespaces",
        reason="ProtectedLabel",
    ),
    Attempt(
        name="an administrator who writes the foreign node into the Territory",
        who="admin",
        command=("patch", "territory", "health", "--type=merge", "-p", json.dumps({"spec": {"nodes": {ABROAD: "DE"}}})),
        stopped_by="bailiwick-territories",
        reason="OperatorOnly",
    ),
    Attempt(
        name="a model in a namespace that no policy governs",
        who="jane",
        command=("create", "-f", "-"),
        manifest={
            "apiVersion": "bailiwick.dev/v1alpha1",
            "kind": "SovereignModel",
            "metadata": {"name": "smuggled", "namespace": "default"},
            "spec": {"model": {"name": "m", "source": {"oci": {"image": "localhost/bailiwick/m@sha256:" + "0" * 64}}}},
        },
        stopped_by="bailiwick-models",
        reason="Ungoverned",
    ),
    Attempt(
        name="a model by tag, where the policy wants a digest",
        who="jane",
        command=("create", "-f", "-"),
        manifest={
            "apiVersion": "bailiwick.dev/v1alpha1",
            "kind": "SovereignModel",
            "metadata": {"name": "by-tag", "namespace": NAMESPACE},
            "spec": {"model": {"name": "m", "source": {"oci": {"image": "localhost/bailiwick/m:latest"}}}},
        },
        stopped_by="bailiwick-models",
        reason="DigestRequired",
    ),
    Attempt(
        name="a policy for the UK, which is not a country code",
        who="admin",
        command=("create", "-f", "-"),
        manifest={
            "apiVersion": "bailiwick.dev/v1alpha1",
            "kind": "ResidencyPolicy",
            "metadata": {"name": "typo"},
            "spec": {"namespaceSelector": {"matchLabels": {"data": "typo"}}, "place": {"allow": ["UK"]}},
        },
        stopped_by="ResidencyPolicy",
        reason="GB",
    ),
)


def _workload(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    restart = {"restartPolicy": "Never"} if kind == "Job" else {}
    template = {"metadata": {"labels": labels}, "spec": _pod_spec() | restart}
    selector = {} if kind == "Job" else {"selector": {"matchLabels": labels}}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"template": template, **selector, **spec},
    }


INNOCENT: tuple[Manifest, ...] = (
    _workload("Job", "report"),
    _workload("StatefulSet", "queue", serviceName="queue", replicas=2),
    _workload("DaemonSet", "agent"),
)
"""Workloads whose authors never heard of Bailiwick. All their pods must run inside."""

OR_TERMS: Manifest = pod(
    "or-terms",
    affinity={
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": LABEL, "operator": "In", "values": ["resident"]}]},
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [ABROAD]}]},
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "preference": {
                        "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [ABROAD]}]
                    },
                }
            ],
        }
    },
)
"""Terms of a node affinity are ORed: one that mentions the border voids nothing if the other leads abroad. It prefers
abroad, and must run inside."""
