"""Engines: how each program that serves models is started. One module per engine, one interface (`placing.Engine`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.workload.engines import external, furiosa_llm, hailo, llamacpp, vllm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.workload.placing import Engine

ENGINES: Mapping[EngineName, Engine] = {
    EngineName.VLLM: vllm,
    EngineName.LLAMA_CPP: llamacpp,
    EngineName.FURIOSA_LLM: furiosa_llm,
    EngineName.HAILO: hailo,
    EngineName.EXTERNAL: external,
}
"""Every engine of the API."""
