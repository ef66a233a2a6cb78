"""The way in from outside: by which Gateways, and why not. Pure.

The border refuses a route in the end (charts/bailiwick/policies/ingresses.yaml); here the same is told beforehand, in
the model's status. The API server judges a Gateway's class where the Gateway is made, and a route only by the namespace
of its Gateway; the plan knows both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.verdict import Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bailiwick.api.sovereignmodel import GatewayReference, SovereignModel
    from bailiwick.residency.policies import CompiledPolicy

HTTP_ROUTE, INFERENCE_POOL = "HTTPRoute", "InferencePool"
_PLURALS = {
    HTTP_ROUTE: "httproutes.gateway.networking.k8s.io",
    INFERENCE_POOL: "inferencepools.inference.networking.k8s.io",
}


def refusal(
    model: SovereignModel,
    policies: Sequence[CompiledPolicy],
    offered: Collection[str] | None,
    classes: Mapping[tuple[str, str], str] | None,
) -> Verdict | None:
    """Why no way in from outside can be made as asked.

    ``classes`` has the class of each Gateway by its namespace and name; None, like None for ``offered``: not known.
    """
    asked = model.spec.serving.gateway
    if asked is None:
        return None
    if model.spec.serving.tls:
        return refuse(
            Reason.UNSUPPORTED_FEATURE,
            "spec.serving.gateway and spec.serving.tls are both there, but a route passes requests on in clear, which "
            "the gate of such a model refuses; leave tls out and end TLS at the Gateway, or leave gateway out",
        )
    wanted = [HTTP_ROUTE, *([INFERENCE_POOL] if asked.endpoint_picker else [])]
    missing = next((kind for kind in wanted if offered is not None and kind not in offered), None)
    if missing:
        field = "spec.serving.gateway" if missing == HTTP_ROUTE else "spec.serving.gateway.endpointPicker"
        return refuse(
            Reason.NOT_INSTALLED,
            f"{field} takes {missing}, but the API server serves no {_PLURALS[missing]}; install the Gateway API (and "
            f"its inference extension, for pools), or leave {field} out",
        )
    found = (_judge(model, asked, policy, classes) for policy in policies if policy.mode is Mode.ENFORCE)
    return next((verdict for verdict in found if verdict), None)


def _judge(
    model: SovereignModel,
    asked: GatewayReference,
    policy: CompiledPolicy,
    classes: Mapping[tuple[str, str], str] | None,
) -> Verdict | None:
    """What one policy says of the Gateway; one without spec.network allows any."""
    network, namespace = policy.spec.network, model.metadata.namespace or ""
    if network is None:
        return None
    if (asked.namespace or namespace) != namespace:
        return refuse(
            Reason.CLASS_NOT_ALLOWED,
            f"{policy.by} wants Gateways of namespace {namespace} itself, for only their classes are judged, but "
            f"spec.serving.gateway.namespace is {asked.namespace}; leave it out, and name a Gateway of this namespace",
        )
    if classes is None:
        return None
    allowed = ", ".join(network.gateway_classes) or "(none)"
    used = classes.get((namespace, asked.name))
    if used is None:
        return refuse(
            Reason.CLASS_NOT_ALLOWED,
            f"{policy.by} allows Gateways of the classes {allowed}, but there is no Gateway {asked.name} in namespace "
            f"{namespace}, so nobody knows its class; make it, or correct spec.serving.gateway.name",
        )
    if used not in network.gateway_classes:
        return refuse(
            Reason.CLASS_NOT_ALLOWED,
            f"{policy.by} allows Gateways of the classes {allowed}, but Gateway {asked.name} is of class {used}; name "
            f"a Gateway of an allowed class, or ask for it to be added to spec.network of the policy",
        )
    return None
