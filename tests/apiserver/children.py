"""Objects as the operator makes them, for the suites of the port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bailiwick.cluster import resources as r

if TYPE_CHECKING:
    from collections.abc import Callable

    from bailiwick.cluster.resources import Resource

Raw = dict[str, Any]


def config_map(namespace: str, name: str = "a", **data: str) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data or {"key": "value"},
    }


def deployment(namespace: str, name: str = "chat") -> Raw:
    """What the workload builders make, in all its kinds of lists and maps."""
    container = {
        "name": "engine",
        "image": "registry.example/vllm@sha256:0",
        "args": ["serve", "--port", "8000"],
        "env": [{"name": "A", "value": "1"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"limits": {"cpu": "1500m", "memory": "2048Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the container
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
    }
    pod = {
        "automountServiceAccountToken": False,
        "nodeSelector": {"bailiwick.dev.node-restriction.kubernetes.io/health": "resident"},
        "securityContext": {"runAsNonRoot": True},
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}},
        ],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    labels = {"bailiwick.dev/model": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": {"note": "x"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def service(namespace: str, name: str = "chat") -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"bailiwick.dev/model": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def network_policy(namespace: str, name: str = "chat") -> Raw:
    dns = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"to": [{"namespaceSelector": dns}], "ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}],
        },
    }


def budget(namespace: str, name: str = "chat") -> Raw:
    selector = {"matchLabels": {"bailiwick.dev/model": name}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"maxUnavailable": 1, "selector": selector},
    }


def service_account(namespace: str, name: str = "chat") -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
        "automountServiceAccountToken": False,
    }


CHILDREN: dict[str, tuple[Resource, Callable[[str], Raw]]] = {
    "Deployment": (r.DEPLOYMENTS, deployment),
    "Service": (r.SERVICES, service),
    "NetworkPolicy": (r.NETWORK_POLICIES, network_policy),
    "PodDisruptionBudget": (r.POD_DISRUPTION_BUDGETS, budget),
    "ServiceAccount": (r.SERVICE_ACCOUNTS, service_account),
}


async def until(look: Callable[[], bool]) -> None:
    """Wait until something is so; TimeoutError when it does not become so."""
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110 - what is looked at knows no events
            await asyncio.sleep(0.01)
