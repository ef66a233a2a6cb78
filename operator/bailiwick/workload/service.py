"""The Service of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload.group import LEADER
from bailiwick.workload.layout import CLIENT_PORT
from bailiwick.workload.naming import Manifest, metadata, selector

if TYPE_CHECKING:
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.placing import Placing


def service(placing: Placing) -> Manifest:
    """The address clients use: port 80 of the gate, or 443 with TLS, never the engine.

    Not the metrics either: they tell what callers do, and Prometheus reads every pod by itself, not one of many behind
    an address.
    """
    model = placing.model
    name, port = ("https", 443) if model.spec.serving.tls else ("http", 80)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(model),
        "spec": {
            "type": "ClusterIP",
            "selector": {**selector(model), **(LEADER if placing.need.nodes > 1 else {})},
            "ports": [{"name": name, "port": port, "targetPort": CLIENT_PORT, "protocol": "TCP"}],
        },
    }


def endpoint(model: SovereignModel) -> str:
    """The base URL for OpenAI clients inside the cluster."""
    scheme = "https" if model.spec.serving.tls else "http"
    return f"{scheme}://{model.metadata.name}.{model.metadata.namespace}.svc/v1"
