"""Models that are served outside the cluster: why not, whereto their gates may send, and which of them must stop. Pure.

No engine runs here. A gate on a node inside leads to one server whose place somebody vouches for, and which is judged
by the same rules as a node. Unlike a replica on a node that fell out of its territory, a gate sends data to where it
must not be from one moment to the next, so that nothing of it is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.acceleratorclass import AcceleratorClass, AcceleratorClassSpec, EngineName, ServingEngine
from bailiwick.api.residencypolicy import Mode
from bailiwick.api.resource import ObjectMeta
from bailiwick.residency.egress import opened, way_out
from bailiwick.residency.endpoints import address_of, identity_of
from bailiwick.residency.verdict import Reason, Verdict, refuse
from bailiwick.workload.naming import metadata, selector
from bailiwick.workload.sizing.choice import Offer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.residencypolicy import ModelRule
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.naming import Manifest
    from bailiwick.workload.placing import Placing

ENDPOINT_LABEL: Final = "bailiwick.dev/endpoint"
"""On gates, on their Deployment and on what opens their way: which server they lead to."""

_ENGINE_LABEL: Final = "app.kubernetes.io/name"
_SENDS_NOTHING: Final = "until then no gate leads to it"


def offer(gate_image: str) -> Offer:
    """What a gate asks of a node: no device, and no label beside the territories'."""
    serving = ServingEngine(name=EngineName.EXTERNAL, image=gate_image)
    spec = AcceleratorClassSpec(engines=(serving,))
    return Offer(accelerator=AcceleratorClass(metadata=ObjectMeta(name="none"), spec=spec), serving=serving)


def refusal(
    model: SovereignModel, policies: Sequence[CompiledPolicy], endpoint: JudgedEndpoint | None
) -> Verdict | None:
    """Why nothing may be sent to the endpoint of a model; None when it may, and for models that are served here."""
    source = model.spec.model.endpoint
    if source is None:
        return None
    if endpoint is None:
        return refuse(
            Reason.ENDPOINT_UNKNOWN,
            f"spec.model.source.endpoint.statement names EndpointStatement {source.statement}, which is not there, so "
            f"nobody vouches for where the endpoint stands; make it, or correct the name; {_SENDS_NOTHING}",
        )
    found = _judged(endpoint) or _unproved(source.statement, policies) or _out_of_reach(endpoint, policies)
    return found and refuse(found.reason, f"{found.message}; {_SENDS_NOTHING}")


def _judged(endpoint: JudgedEndpoint) -> Verdict | None:
    verdict = endpoint.verdict
    return None if verdict.allowed else refuse(verdict.reason, f"EndpointStatement {endpoint.name}: {verdict.message}")


def _unproved(statement: str, policies: Sequence[CompiledPolicy]) -> Verdict | None:
    """What a policy asks of weights. Whoever serves elsewhere loads his own, and nothing can be proved of them here."""
    asked = ((policy.by, policy.spec.models) for policy in policies if policy.mode is Mode.ENFORCE)
    refusals = (_asks_of_weights(f"endpoint://{statement}", rule, by) for by, rule in asked if rule)
    return next(filter(None, refusals), None)


def _asks_of_weights(source: str, asked: ModelRule, by: str) -> Verdict | None:
    if not any(source == each or source.startswith(f"{each.rstrip('/')}/") for each in asked.sources):
        allowed = ", ".join(sorted(asked.sources)) or "nowhere"
        return refuse(
            Reason.SOURCE_NOT_ALLOWED,
            f"{by} allows models from {allowed}, but this one comes from {source}; serve a copy from an allowed "
            f"source, or ask for {source} to be added to spec.models.sources of the policy",
        )
    if asked.require_digest:
        return refuse(
            Reason.DIGEST_REQUIRED,
            f"{by} wants content to be named by digest, but nobody here sees what {source} loads; serve the model in "
            f"the cluster, or ask for spec.models.requireDigest of the policy to be false",
        )
    if asked.signed_by:
        return refuse(
            Reason.SIGNATURE_REQUIRED,
            f"{by} wants models to be signed by one of {', '.join(sorted(asked.signed_by))}, but nobody here sees what "
            f"{source} loads; serve the model in the cluster",
        )
    return None


def _out_of_reach(endpoint: JudgedEndpoint, policies: Sequence[CompiledPolicy]) -> Verdict | None:
    if ways(endpoint, policies):
        return None
    where = address_of(endpoint.endpoint)
    closing = ", ".join(each.name for each in policies if each.mode is Mode.ENFORCE and each.spec.network)
    return refuse(
        Reason.EGRESS_NOT_ALLOWED,
        f"EndpointStatement {endpoint.name} leads to {where}, which the policies {closing} do not open together; ask "
        f"for the address and its TCP port to be added to spec.network.egress of each of them",
    )


def ways(endpoint: JudgedEndpoint, policies: Sequence[CompiledPolicy]) -> tuple[str, ...]:
    """The address as a range of one, if the policies let pods reach it; else nothing."""
    return way_out(opened(policies), endpoint.endpoint.address, endpoint.endpoint.port)


def network_policy(placing: Placing) -> Manifest | None:
    """The way of gates to their endpoint, and of no other pod of the model: one address and one port, and no names.

    It adds to the NetworkPolicy that shuts every pod of the model; without it nothing is sent.
    """
    model, endpoint = placing.model, placing.endpoint
    if endpoint is None:
        return None
    known, port = metadata(model), endpoint.endpoint.port
    (address,) = way_out(None, endpoint.endpoint.address, port)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            **known,
            # No model can be called so, or its own NetworkPolicy would be overwritten.
            "name": f"{model.metadata.name}.endpoint",
            "labels": {**known["labels"], **labels(endpoint)},
        },
        "spec": {
            "podSelector": {"matchLabels": {**selector(model), **labels(endpoint)}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": address}}], "ports": [{"protocol": "TCP", "port": port}]}],
        },
    }


def labels(endpoint: JudgedEndpoint | None) -> dict[str, str]:
    """The label of gates that lead to an endpoint; none of pods with an engine."""
    return {ENDPOINT_LABEL: identity_of(endpoint.endpoint)} if endpoint else {}


def told(endpoint: JudgedEndpoint) -> str:
    """Whereto and by whose word, for the reader of a status."""
    place = endpoint.place
    stands = f", which stands in {place.jurisdiction} ({place.assurance} by {place.by})" if place else ""
    return f"gates lead to {address_of(endpoint.endpoint)}{stands}"


def leads_elsewhere(manifest: Mapping[str, Any], planned: Mapping[str, str]) -> bool:
    """Whether something is a gate to an endpoint, or opens the way to one, other than the planned one.

    ``planned`` are the `labels` of the plan; empty for one that refuses, and where an engine serves.
    """
    found = manifest["metadata"].get("labels") or {}
    # Every NetworkPolicy of a model bears the name of its engine; the one that shuts it must stay.
    kind, engine = manifest.get("kind"), found.get(_ENGINE_LABEL)
    is_gate = ENDPOINT_LABEL in found or (kind != "NetworkPolicy" and engine == EngineName.EXTERNAL)
    return is_gate and found.get(ENDPOINT_LABEL) != planned.get(ENDPOINT_LABEL)
