"""What the objects of one model are made from: what builders and engines are given, and what an engine gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bailiwick.workload.scaling import Scaling
from bailiwick.workload.starting import Start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.authority import Authority
    from bailiwick.api.sovereignmodel import Parallelism, SovereignModel
    from bailiwick.residency.egress import Destination
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.residency.verdict import Verdict
    from bailiwick.workload.eligibility import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How an engine behaves once it is started, as far as its pod and its gate must know."""

    health: str = "/health"
    """The path that answers 200 when the engine can serve, and nothing of the kind before."""
    shared_memory: bool = False
    """Whether its processes need more of /dev/shm than the 64 MiB that a container has by itself."""
    keeps_connections: bool = False
    """Whether it is known to keep a connection without requests for longer than the gate keeps its client's."""
    drains: bool = False
    """Whether it is known to end what is under way, within DRAIN_SECONDS, when it is told to stop. One that is not
    known to is told so much later, when the pod has been out of its Services for as long."""


class Engine(Protocol):
    """What a module of `bailiwick.workload.engines` provides."""

    MANNERS: Manners

    def refusal(self, model: SovereignModel) -> Verdict | None:
        """Why this engine cannot serve the model as it is asked for, and what to do; None when it can."""

    def refusal_on(self, need: Need, model: SovereignModel) -> Verdict | None:
        """Why this engine must not be started as an accelerator class says, or cannot there; None when it may."""

    def command(self, placing: Placing) -> Sequence[str]:
        """What is started; empty: the entry point of the image."""

    def arguments(self, placing: Placing) -> Sequence[str]:
        """Arguments of the container, behind the entry point of its image."""

    def environment(self, placing: Placing) -> Sequence[Mapping[str, Any]]:
        """Environment of the container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """One model on one accelerator class. Nothing in it tells of the operator's version or of the time."""

    model: SovereignModel
    policies: tuple[str, ...]
    """The policies that govern it, whose territories' labels its pods select."""
    need: Need
    parallelism: Parallelism
    engine: Engine
    engine_image: str
    gate_image: str
    weights_image: str
    authorities: Mapping[str, Authority]
    """By name, those of the cluster: whose keys may have signed weights."""
    egress: tuple[Destination, ...] | None
    """What all policies open together; None where none closes the namespace."""
    monitoring_namespace: str | None
    only_nodes: tuple[str, ...] | None
    """The nodes that the model's own residency leaves, where it has one; else labels say it all."""
    scaling: Scaling = field(default_factory=Scaling)
    start: Start = field(default_factory=Start)
    endpoint: JudgedEndpoint | None = None
    """The server outside that gates lead to; None where an engine serves."""
