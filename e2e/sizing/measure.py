"""Starts engines one after the other, and prints what each has in memory: a line of JSON for a line of JSON.

It runs on the engine's Python and packages, and never in the tests' own. Of the caches it prints what vLLM logs, of the
weights the bytes of the tensors that were loaded.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import sys
from importlib import import_module
from typing import Any

LOGGED = re.compile(r"KV cache size: ([0-9,]+) tokens")


class Heard(logging.Handler):
    """Keeps the last size of a cache that was logged."""

    tokens: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Look for the line."""
        if found := LOGGED.search(record.getMessage()):
            self.tokens = int(found[1].replace(",", ""))


def weights(model: Any) -> int:
    """Bytes of the parameters, each tensor once."""
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in model.parameters()}
    return sum(storages.values())


def main() -> None:
    """Read engine arguments until there are no more."""
    engine = import_module("vllm").LLM
    heard = Heard()
    logging.getLogger("vllm.v1.core.kv_cache_utils").addHandler(heard)
    for line in sys.stdin:
        heard.tokens = None
        running = engine(**json.loads(line))
        (held,) = running.apply_model(weights)
        print(json.dumps({"tokens": heard.tokens, "weights": held}), flush=True)
        running.llm_engine.engine_core.shutdown()
        del running
        gc.collect()


if __name__ == "__main__":
    main()
