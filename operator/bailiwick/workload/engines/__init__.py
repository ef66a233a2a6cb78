"""Engines: how each program that serves models is started. One module per engine, one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.workload.engines import vllm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.verdict import Verdict
    from bailiwick.workload.eligibility import Need
    from bailiwick.workload.placing import Placing


class Engine(Protocol):
    """What a module of this package provides."""

    def refusal(self, model: SovereignModel) -> Verdict | None:
        """Why this engine cannot serve the model as it is asked for, and what to do; None when it can."""

    def refusal_on(self, need: Need) -> Verdict | None:
        """Why this engine must not be started as an accelerator class says; None when it may."""

    def arguments(self, placing: Placing) -> Sequence[str]:
        """Arguments of the container, behind the entry point of its image."""

    def environment(self, placing: Placing) -> Sequence[Mapping[str, Any]]:
        """Environment of the container."""


ENGINES: Mapping[EngineName, Engine] = {EngineName.VLLM: vllm}
"""What this release can start. The other names are in the API so that manifests need not change later."""
