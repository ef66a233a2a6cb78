"""The HTTPRoute of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload.gateway import HTTP_ROUTE, INFERENCE_POOL
from bailiwick.workload.naming import Manifest, metadata

if TYPE_CHECKING:
    from bailiwick.workload.placing import Placing


def http_route(placing: Placing) -> Manifest | None:
    """From a Gateway to the gate, for the API alone: not to what else the gate answers. None unless it is asked for.

    An answer may take as long as it takes; the gate has the limits.
    """
    model = placing.model
    asked = model.spec.serving.gateway
    if asked is None:
        return None
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": asked.name}
    backend: Manifest = {"group": "", "kind": "Service", "name": model.metadata.name, "port": 80}
    if asked.endpoint_picker:
        backend = {"group": "inference.networking.k8s.io", "kind": INFERENCE_POOL, "name": model.metadata.name}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": HTTP_ROUTE,
        "metadata": metadata(model),
        "spec": {
            "parentRefs": [parent | ({"namespace": asked.namespace} if asked.namespace else {})],
            **({"hostnames": list(asked.hostnames)} if asked.hostnames else {}),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                    "backendRefs": [backend],
                    "timeouts": {"request": "0s"},
                }
            ],
        },
    }
