"""The NetworkPolicy of a model's pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload.layout import CLIENT_PORT, PROBE_PORT
from bailiwick.workload.naming import Manifest, metadata, selector

if TYPE_CHECKING:
    from bailiwick.workload.placing import Placing


def network_policy(placing: Placing) -> Manifest:
    """Nothing out, and in only what serving needs: clients of the namespace, and Prometheus where it is named.

    Clients of other namespaces are let in by a NetworkPolicy that the model's owner adds, because policies add up; a
    label by which a namespace lets itself in would be the caller's to write. The kubelet's probes come from the node
    itself, which no NetworkPolicy shuts out.
    """
    model, monitoring = placing.model, placing.monitoring_namespace
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(model),
        "spec": {
            "podSelector": {"matchLabels": selector(model)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"podSelector": {}}], "ports": [{"port": CLIENT_PORT, "protocol": "TCP"}]},
                *([_from_monitoring(monitoring)] if monitoring else []),
            ],
        },
    }


def _from_monitoring(namespace: str) -> Manifest:
    chosen = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"from": [{"namespaceSelector": chosen}], "ports": [{"port": PROBE_PORT, "protocol": "TCP"}]}
