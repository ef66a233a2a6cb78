"""The PodDisruptionBudget of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload.naming import Manifest, metadata, selector

if TYPE_CHECKING:
    from bailiwick.workload.placing import Placing


def pod_disruption_budget(placing: Placing) -> Manifest:
    """One replica at a time may be drained. A budget that allowed none would hold a single replica's node for ever.

    So would one that protects replicas which do not answer anyway.
    """
    model = placing.model
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(model),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(model)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
