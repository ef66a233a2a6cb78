"""The NetworkPolicy of a model's pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload.layout import CLIENT_PORT, PROBE_PORT
from bailiwick.workload.naming import Manifest, metadata, selector

if TYPE_CHECKING:
    from bailiwick.api.sovereignmodel import SovereignModel


def network_policy(model: SovereignModel, *, monitoring_namespace: str | None) -> Manifest:
    """Nothing out, and in only what serving needs: clients of the namespace, and Prometheus where it is named.

    The kubelet's probes come from the node itself, which no NetworkPolicy shuts out.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(model),
        "spec": {
            "podSelector": {"matchLabels": selector(model)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"podSelector": {}}], "ports": [{"port": CLIENT_PORT, "protocol": "TCP"}]},
                *([_from_monitoring(monitoring_namespace)] if monitoring_namespace else []),
            ],
        },
    }


def _from_monitoring(namespace: str) -> Manifest:
    chosen = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"from": [{"namespaceSelector": chosen}], "ports": [{"port": PROBE_PORT, "protocol": "TCP"}]}
