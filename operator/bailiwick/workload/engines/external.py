"""An endpoint outside the cluster: a gate leads to it, and no program is started (`bailiwick.workload.gateonly`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.placing import Manners

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.eligibility import Need
    from bailiwick.workload.placing import Placing

MANNERS = Manners(health="/v1/models")


def refusal(model: SovereignModel) -> Verdict | None:
    """An InferencePool looks at metrics of vLLM, which gates do not have."""
    gateway = model.spec.serving.gateway
    if gateway is None or gateway.endpoint_picker is None:
        return None
    return refuse(
        Reason.UNSUPPORTED_FEATURE,
        "spec.serving.gateway.endpointPicker picks replicas by metrics of engines, but all gates of this model lead to "
        "one endpoint; leave endpointPicker out",
    )


def refusal_on(need: Need, model: SovereignModel) -> Verdict | None:  # noqa: ARG001 - one interface
    """No accelerator class has a say."""
    return None


def command(placing: Placing) -> Sequence[str]:  # noqa: ARG001 - one interface
    """Nothing is started."""
    return []


def arguments(placing: Placing) -> Sequence[str]:  # noqa: ARG001 - one interface
    """Nothing is started."""
    return []


def environment(placing: Placing) -> Sequence[Mapping[str, Any]]:  # noqa: ARG001 - one interface
    """Nothing is started."""
    return []
