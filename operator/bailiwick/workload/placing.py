"""What the objects of one model are made from: what builders and engines are given, and what an engine gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bailiwick.workload.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.sovereignmodel import Parallelism, SovereignModel
    from bailiwick.residency.verdict import Verdict
    from bailiwick.workload.eligibility import Need


class Engine(Protocol):
    """What a module of `bailiwick.workload.engines` provides."""

    def refusal(self, model: SovereignModel) -> Verdict | None:
        """Why this engine cannot serve the model as it is asked for, and what to do; None when it can."""

    def refusal_on(self, need: Need) -> Verdict | None:
        """Why this engine must not be started as an accelerator class says; None when it may."""

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
    monitoring_namespace: str | None
    only_nodes: tuple[str, ...] | None
    """The nodes that the model's own residency leaves, where it has one; else labels say it all."""
    scaling: Scaling = field(default_factory=Scaling)
