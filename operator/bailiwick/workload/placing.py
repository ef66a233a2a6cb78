"""Everything that the objects of one model are made from: what builders and engines are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bailiwick.api.sovereignmodel import Parallelism, SovereignModel
    from bailiwick.workload.eligibility import Need
    from bailiwick.workload.engines import Engine


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
