"""The InferencePool of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload.gateway import INFERENCE_POOL
from bailiwick.workload.group import LEADER
from bailiwick.workload.layout import CLIENT_PORT
from bailiwick.workload.naming import Manifest, metadata, selector

if TYPE_CHECKING:
    from bailiwick.workload.placing import Placing


def inference_pool(placing: Placing) -> Manifest | None:
    """The gates of all replicas, among which somebody else's program picks; None unless a model names that program.

    While it does not answer, requests are refused rather than sent anywhere.
    """
    model = placing.model
    asked = model.spec.serving.gateway
    if asked is None or asked.endpoint_picker is None:
        return None
    picker = asked.endpoint_picker
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": INFERENCE_POOL,
        "metadata": metadata(model),
        "spec": {
            "selector": {"matchLabels": {**selector(model), **(LEADER if placing.need.nodes > 1 else {})}},
            "targetPorts": [{"number": CLIENT_PORT}],
            "endpointPickerRef": {
                "group": "",
                "kind": "Service",
                "name": picker.service,
                "port": {"number": picker.port},
                "failureMode": "FailClose",
            },
        },
    }
