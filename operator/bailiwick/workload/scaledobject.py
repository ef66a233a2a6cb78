"""The ScaledObject of a model: KEDA makes a HorizontalPodAutoscaler of it, and scales to zero and back by itself."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Any

from bailiwick.api.sovereignmodel import Scaler
from bailiwick.workload.group import set_name
from bailiwick.workload.naming import Manifest, metadata
from bailiwick.workload.scaling import (
    BEHAVIOR,
    RUNNING,
    SCALED_OBJECT,
    STEADY_SECONDS,
    WAITING,
    scaler_of,
    target,
)

if TYPE_CHECKING:
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.placing import Placing

_NEVER_MORE = "1000000000"
"""A threshold that asks for one replica at most: such a figure keeps a model awake, and counts no replicas."""


def scaled_object(placing: Placing) -> Manifest | None:
    """The same figure as a HorizontalPodAutoscaler's, asked of Prometheus; none for a model that KEDA does not scale.

    A model that may have no replica has two triggers more: it goes only when nothing runs either, and it comes back
    when the installation's own query says that somebody wants it, because without replicas it tells nothing itself.
    """
    model = placing.model
    asked = model.spec.autoscaling
    if asked is None or scaler_of(asked) is not Scaler.KEDA:
        return None
    triggers = [_trigger(placing, "waiting", _sum(WAITING, model), str(asked.waiting_requests))]
    if asked.min_replicas == 0:
        wake = Template(placing.scaling.wake_query or "").safe_substitute(
            namespace=model.metadata.namespace, model=model.metadata.name
        )
        triggers.append(_trigger(placing, "running", _sum(RUNNING, model), _NEVER_MORE))
        triggers.append(_trigger(placing, "wanted", wake, _NEVER_MORE))
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": SCALED_OBJECT,
        "metadata": metadata(model),
        "spec": {
            "scaleTargetRef": target(model),
            "minReplicaCount": asked.min_replicas,
            "maxReplicaCount": asked.max_replicas,
            "cooldownPeriod": STEADY_SECONDS,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": BEHAVIOR}},
            "triggers": triggers,
        },
    }


def _sum(metric: str, model: SovereignModel) -> str:
    """Over the model's pods alone: names of pods end in words without dashes, so chat is not taken for chat-large."""
    name = model.metadata.name
    pods = f"{name}-[a-z0-9]+-[a-z0-9]{{5}}|{set_name(model)}-[0-9]+"
    return f'sum({metric}{{namespace="{model.metadata.namespace}",pod=~"{pods}"}})'


def _trigger(placing: Placing, name: str, query: str, threshold: str) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": placing.scaling.prometheus,
            "query": query,
            "threshold": threshold,
            "activationThreshold": "0",
            "ignoreNullValues": "true",
        },
    }
