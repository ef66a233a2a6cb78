"""How replicas follow the load: by whom, on which figure, and when that is not to be had. Pure.

Whoever scales writes `spec.replicas` of the SovereignModel through its scale subresource. The operator only reads it,
so that it never undoes what an autoscaler did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.api.resource import API_VERSION
from bailiwick.api.sovereignmodel import Scaler
from bailiwick.residency.verdict import Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Collection

    from bailiwick.api.sovereignmodel import Autoscaling, SovereignModel
    from bailiwick.workload.naming import Manifest

WAITING = "vllm:num_requests_waiting"
"""Requests that an engine has taken in and not begun."""
RUNNING = "vllm:num_requests_running"
SCALED_OBJECT = "ScaledObject"

STEADY_SECONDS = 600
"""For so long fewer replicas must be enough before one goes: loading the weights anew takes minutes."""
BEHAVIOR: dict[str, Any] = {
    "scaleDown": {
        "stabilizationWindowSeconds": STEADY_SECONDS,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What the installation knows of its metrics."""

    pods_metric: str = "vllm_num_requests_waiting"
    """What the Prometheus adapter of the cluster calls the waiting requests of a pod."""
    prometheus: str | None = None
    """Where KEDA asks."""
    wake_query: str | None = None
    """PromQL that is above 0 while somebody wants a model that has no replica; $namespace and $model stand for it."""


def scaler_of(autoscaling: Autoscaling) -> Scaler:
    """Who scales: as asked, else KEDA where the model may have no replica, which nobody else can do."""
    if autoscaling.scaler:
        return autoscaling.scaler
    return Scaler.KEDA if autoscaling.min_replicas == 0 else Scaler.HORIZONTAL_POD_AUTOSCALER


def target(model: SovereignModel) -> Manifest:
    """The model itself: its Deployment belongs to the operator."""
    return {"apiVersion": API_VERSION, "kind": "SovereignModel", "name": model.metadata.name}


def refusal(model: SovereignModel, scaling: Scaling, offered: Collection[str] | None) -> Verdict | None:
    """Why the replicas cannot follow the load as asked. ``offered`` are kinds that the cluster has; None: not known."""
    asked = model.spec.autoscaling
    if asked is None:
        return None
    if model.spec.engine.name is not EngineName.VLLM:
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            f"spec.autoscaling follows {WAITING}, which engine {model.spec.engine.name} does not tell; leave it out, "
            f"and let an autoscaler of yours scale the SovereignModel, which has the scale subresource",
        )
    if scaler_of(asked) is Scaler.HORIZONTAL_POD_AUTOSCALER:
        return _never_none(asked)
    return _keda(asked, scaling, offered)


def _never_none(asked: Autoscaling) -> Verdict | None:
    if asked.min_replicas > 0:
        return None
    return refuse(
        Reason.INVALID_MODEL,
        "spec.autoscaling.minReplicas is 0, and a HorizontalPodAutoscaler keeps at least one replica; set "
        "spec.autoscaling.scaler to KEDA, or minReplicas to 1",
    )


def _keda(asked: Autoscaling, scaling: Scaling, offered: Collection[str] | None) -> Verdict | None:
    why = "spec.autoscaling.minReplicas is 0" if asked.min_replicas == 0 else "spec.autoscaling.scaler is KEDA"
    if offered is not None and SCALED_OBJECT not in offered:
        return refuse(
            Reason.NOT_INSTALLED,
            f"{why}, which takes KEDA, but the API server serves no scaledobjects.keda.sh; install KEDA, or set "
            f"minReplicas to 1 and leave scaler out",
        )
    if not scaling.prometheus:
        return refuse(
            Reason.NOT_INSTALLED,
            f"{why}, which takes KEDA, but this installation does not say where KEDA may ask for metrics; set "
            f"autoscaling.prometheus of the chart, or set minReplicas to 1 and leave scaler out",
        )
    if asked.min_replicas == 0 and not scaling.wake_query:
        return refuse(
            Reason.NOT_INSTALLED,
            "spec.autoscaling.minReplicas is 0, but a model without replicas tells no metrics, and nothing of this "
            "installation would wake it; set autoscaling.wakeQuery of the chart, or minReplicas to 1",
        )
    return None
