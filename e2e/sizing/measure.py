"""Starts engines one after the other, lets them log, and prints the bytes of the weights that each has loaded.

It runs on the engine's Python and packages, never on the tests' own. Each line of its input is the engine's arguments.
"""

from __future__ import annotations

import gc
import json
import sys
from importlib import import_module
from typing import Any


def weights(model: Any) -> int:
    """Bytes of the parameters, each tensor once."""
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in model.parameters()}
    return sum(storages.values())


def main() -> None:
    """Read engine arguments until there are no more."""
    engine = import_module("vllm").LLM
    loader: Any = import_module("vllm.model_executor.model_loader.base_loader")
    prepare, loaded = loader.process_weights_after_loading, []

    def count_and_prepare(model: Any, *rest: Any, **named: Any) -> None:
        # On a CPU the engine packs matrices for its own use then, and they are parameters no more.
        loaded.append(weights(model))
        prepare(model, *rest, **named)

    loader.process_weights_after_loading = count_and_prepare
    for line in sys.stdin:
        running = engine(**json.loads(line))
        print(json.dumps({"weights": loaded[-1]}), flush=True)
        running.llm_engine.engine_core.shutdown()
        del running
        gc.collect()


if __name__ == "__main__":
    main()
