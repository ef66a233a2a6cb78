"""A policy and the facts about all nodes, compiled into what the API server needs to check by itself."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bailiwick.api.residencypolicy import Egress, Mode
from bailiwick.api.resource import API_VERSION, Count
from bailiwick.api.territory import (
    TerritoryAccess,
    TerritoryEgress,
    TerritoryImages,
    TerritoryModels,
    TerritoryNetwork,
    TerritoryPorts,
    TerritorySpec,
    TerritoryStorage,
)
from bailiwick.residency.facts import Fact, NodeFacts, seconds_until
from bailiwick.residency.nodes import LABEL_PREFIX
from bailiwick.residency.policies import CompiledPolicy, Limits
from bailiwick.residency.rules import judge, waived_by
from bailiwick.residency.verdict import Reason, Verdict, refuse

RESIDENT = "resident"
"""Value of the label of a node that is inside."""

GOVERNED_LABEL = "bailiwick.dev/governed"
"""Label of every namespace that at least one policy governs; its value is ``true``."""

MANAGED_LABELS: Mapping[str, str] = {"app.kubernetes.io/managed-by": "bailiwick"}
"""Labels of everything cluster-scoped that the operator makes."""

MOST_NODES = 20_000
"""What a Territory can hold: the bound in its schema."""

NOWHERE = "ZZ"
"""The place of a node that nobody knows and a waiver lifts: no code of ISO 3166, and none that a policy can allow."""

DEFAULT_SCHEDULER = "default-scheduler"
"""Kubernetes' own, which a pod means that names none."""

_MOST_EXAMPLES = 5
_LONGEST_MESSAGE = 1024


def label_of(policy: str) -> str:
    """The node label of a policy; ``label_of("")`` is what all of them begin with."""
    return LABEL_PREFIX + policy


@dataclass(frozen=True, slots=True)
class CompiledTerritory:
    """Where the workloads of one policy may run, and why not elsewhere, as of one moment.

    ``look_again_in``: seconds until time alone may change it; None when only something new can.
    """

    spec: TerritorySpec
    outside: tuple[Count, ...]
    """Nodes that are outside, by the reason that is reported for them, most nodes first."""
    doubts: tuple[Count, ...]
    """Nodes that are inside in spite of a doubt that the policy tolerates (``unknown: Warn``)."""
    waivers: int
    """How many waivers are in force, whether a node needs them or not."""
    look_again_in: float | None

    @property
    def nodes(self) -> Mapping[str, str]:
        """The nodes inside, each with the jurisdiction where it stands."""
        return self.spec.nodes

    @property
    def digest(self) -> str:
        """SHA-256 over everything else in the spec."""
        return self.spec.digest

    @property
    def manifest(self) -> dict[str, Any]:
        """The Territory object to apply."""
        return manifest_of(self.spec.policy, _written(self.spec))


def manifest_of(policy: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The Territory object of a policy."""
    metadata = {"name": policy, "labels": dict(MANAGED_LABELS)}
    return {"apiVersion": API_VERSION, "kind": "Territory", "metadata": metadata, "spec": dict(spec)}


def compile_territory(
    policy: CompiledPolicy, nodes: Iterable[NodeFacts], now: datetime, *, schedulers: Iterable[str] = ()
) -> CompiledTerritory:
    """The territory of a policy as of ``now``. It does not depend on the order of nodes.

    ``schedulers`` may place pods besides Kubernetes' own: those that AcceleratorClasses name.
    """
    inside: dict[str, str] = {}
    outside: list[tuple[str, Verdict]] = []
    doubts: list[tuple[str, Verdict]] = []
    waived: dict[str, str] = {}
    moments: list[datetime] = []
    for facts in sorted(nodes, key=lambda facts: facts.name):
        verdict = judge(policy, facts, now)
        if verdict.allowed and len(inside) >= MOST_NODES:
            verdict = _full(policy, facts.name)
        if not verdict.allowed:
            outside.append((facts.name, verdict))
        else:
            inside[facts.name] = facts.place.jurisdiction if isinstance(facts.place, Fact) else NOWHERE
            if verdict.reason is Reason.WAIVED and (waiver := waived_by(policy, facts, now)):
                waived[facts.name] = waiver.name
            elif verdict.reason is not Reason.ALLOWED:
                doubts.append((facts.name, verdict))
        moments.extend(changes(policy, facts, now))
    waivers = [waiver for about in policy.waivers.values() for waiver in about]
    moments.extend(moment for waiver in waivers for moment in waiver.changes(now))
    return CompiledTerritory(
        spec=_spec(policy, inside, waived, schedulers),
        outside=_counts(outside),
        doubts=_counts(doubts),
        waivers=sum(waiver.holds(now) for waiver in waivers),
        look_again_in=seconds_until(moments, now),
    )


def narrowed(spec: Mapping[str, Any], nodes: Mapping[str, NodeFacts]) -> Mapping[str, Any]:
    """What is left of a territory, as the API server has it, while its policy cannot be read.

    Nobody enters. Whoever is not believed to stand where it stood leaves, and so does who was let in by a waiver: the
    policy says which of them count.
    """
    waived = spec.get("waived") or {}
    left = {
        name: place
        for name, place in spec["nodes"].items()
        if name in nodes and isinstance(there := nodes[name].place, Fact) and there.jurisdiction == place
        if name not in waived
    }
    if left == spec["nodes"]:
        return spec
    rest = {key: value for key, value in spec.items() if key != "waived"} | {"nodes": left}
    return rest | {"digest": _digest(rest)}


def opened_before(policy: Mapping[str, Any], territory: Mapping[str, Any] | None) -> tuple[Egress, ...] | None:
    """What a policy that cannot be read opened when its territory was written; None where it closed nothing."""
    network = ((territory or {}).get("spec") or {}).get("network")
    if network is None or (policy.get("spec") or {}).get("mode") in (Mode.AUDIT, Mode.WARN):
        return None
    return tuple(Egress.model_validate(each) for each in network["egress"])


def _full(policy: CompiledPolicy, node: str) -> Verdict:
    return refuse(
        Reason.TERRITORY_FULL,
        f"the territory of {policy.by} holds at most {MOST_NODES} nodes and node {node} is one more; split the policy",
    )


def changes(limits: Limits, facts: NodeFacts, now: datetime) -> Iterable[datetime]:
    """The moments after ``now`` at which time alone may change what the limits make of a node."""
    if facts.next_change and facts.next_change > now:
        yield facts.next_change
    max_age = limits.place.max_age if limits.place else None
    if max_age is not None and isinstance(facts.place, Fact):
        for voucher in facts.place.vouchers:
            if voucher.issued and voucher.issued + max_age > now:
                yield voucher.issued + max_age
    for waiver in limits.waivers.get(facts.name, ()):
        yield from waiver.changes(now)


def _counts(verdicts: Iterable[tuple[str, Verdict]]) -> tuple[Count, ...]:
    by_reason: defaultdict[Reason, list[tuple[str, Verdict]]] = defaultdict(list)
    for name, verdict in verdicts:
        by_reason[verdict.reason].append((name, verdict))
    return tuple(
        Count(
            reason=reason,
            count=len(found),
            message=found[0][1].message[:_LONGEST_MESSAGE],
            examples=tuple(name for name, _ in found[:_MOST_EXAMPLES]),
        )
        for reason, found in sorted(by_reason.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    )


def _spec(
    policy: CompiledPolicy, nodes: Mapping[str, str], waived: Mapping[str, str], schedulers: Iterable[str]
) -> TerritorySpec:
    asked = policy.spec
    spec = TerritorySpec(
        policy=policy.name,
        digest="",
        nodes=nodes,
        waived=waived or None,
        node_selector={label_of(policy.name): RESIDENT},
        namespace_labels=_listed(asked.namespace_selector.keys()),
        schedulers=_listed({DEFAULT_SCHEDULER, *schedulers}),
        models=asked.models
        and TerritoryModels(
            sources=_listed(asked.models.sources),
            require_digest=asked.models.require_digest,
            signed_by=_listed(asked.models.signed_by),
            licences=_listed(asked.models.licences),
        ),
        images=asked.images
        and TerritoryImages(registries=_listed(asked.images.registries), require_digest=asked.images.require_digest),
        storage=asked.storage and TerritoryStorage(classes=_listed(asked.storage.classes)),
        network=asked.network
        and TerritoryNetwork(
            egress=tuple(_destination(each) for each in asked.network.egress),
            services=_listed(asked.network.services),
            ingress_classes=_listed(asked.network.ingress_classes),
            gateway_classes=_listed(asked.network.gateway_classes),
        ),
        access=asked.access and TerritoryAccess(**asked.access.model_dump()),
    )
    return spec.model_copy(update={"digest": digest_of(spec)})


def _destination(egress: Egress) -> TerritoryEgress:
    ports = (
        TerritoryPorts(protocol=each.protocol, port=each.port, end_port=each.end_port or each.port)
        for each in egress.ports
    )
    return TerritoryEgress(cidr=egress.cidr, ports=tuple(ports))


def digest_of(spec: TerritorySpec) -> str:
    """SHA-256 over the canonical JSON (RFC 8785, of which strings and maps suffice) of a spec without its digest."""
    return _digest(_written(spec))


def _digest(spec: Mapping[str, Any]) -> str:
    content = {key: value for key, value in spec.items() if key != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _written(spec: TerritorySpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _listed(values: Iterable[str]) -> tuple[str, ...]:
    """Lists without order, in one order."""
    return tuple(sorted(values))
