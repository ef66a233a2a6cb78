"""Engines: how each program that serves models is started. One module per engine, one interface (`placing.Engine`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.workload.engines import vllm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.workload.placing import Engine

ENGINES: Mapping[EngineName, Engine] = {EngineName.VLLM: vllm}
"""What this release can start. The other names are in the API so that manifests need not change later."""
