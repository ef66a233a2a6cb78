"""Whether somebody scales a model as it asks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import Stated, false, true, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

_TELLING = {"HorizontalPodAutoscaler": ("AbleToScale", "ScalingActive"), "ScaledObject": ("Ready",)}
"""The conditions of each that must be True. A HorizontalPodAutoscaler that may scale may still have no figures."""
_REMEDIES = {
    "HorizontalPodAutoscaler": "check that the cluster serves custom.metrics.k8s.io, and that its adapter knows the "
    "metric by the name in autoscaling.podsMetric of the chart; replicas stay as they are meanwhile",
    "ScaledObject": "check that KEDA runs and reaches the Prometheus in autoscaling.prometheus of the chart; replicas "
    "stay as they are meanwhile",
}
_PAUSED = "ScalingDisabled"
"""A HorizontalPodAutoscaler leaves alone what somebody scaled to zero."""


def autoscaled(scaler: Mapping[str, Any] | None) -> Stated:
    """The condition Autoscaled: what a HorizontalPodAutoscaler or a ScaledObject says of itself, and what to do."""
    if scaler is None:
        return unknown("Autoscaled", "NotWritten", "there is nothing yet that scales the model")
    kind = scaler["kind"]
    known = {each.get("type"): each for each in (scaler.get("status") or {}).get("conditions") or ()}
    told = [known.get(each) for each in _TELLING[kind]]
    failing = next((each for each in told if each and each.get("status") == "False"), None)
    if failing:
        reason = failing.get("reason") or "NotScaling"
        if reason == _PAUSED:
            return false("Autoscaled", reason, "spec.replicas is 0, which switches scaling off; set it to 1 or more")
        said = failing.get("message") or reason
        return false("Autoscaled", reason, f"the {kind} cannot scale the model: {said}; {_REMEDIES[kind]}")
    if not all(each and each.get("status") == "True" for each in told):
        return unknown("Autoscaled", "NotLookedAt", f"nobody has acted on the {kind} yet; {_REMEDIES[kind]}")
    return true("Autoscaled", "Following", f"the {kind} follows the load")
