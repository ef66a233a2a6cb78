"""The HorizontalPodAutoscaler of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.sovereignmodel import Scaler
from bailiwick.workload.naming import Manifest, metadata
from bailiwick.workload.scaling import BEHAVIOR, scaler_of, target

if TYPE_CHECKING:
    from bailiwick.workload.placing import Placing


def horizontal_pod_autoscaler(placing: Placing) -> Manifest | None:
    """So many waiting requests per replica; none for a model that nobody, or KEDA, scales."""
    model = placing.model
    asked = model.spec.autoscaling
    if asked is None or scaler_of(asked) is not Scaler.HORIZONTAL_POD_AUTOSCALER:
        return None
    wanted = {"type": "AverageValue", "averageValue": str(asked.waiting_requests)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(model),
        "spec": {
            "scaleTargetRef": target(model),
            "minReplicas": asked.min_replicas,
            "maxReplicas": asked.max_replicas,
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": placing.scaling.pods_metric}, "target": wanted}}],
            "behavior": BEHAVIOR,
        },
    }
