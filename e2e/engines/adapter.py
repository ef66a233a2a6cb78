"""A LoRA adapter of noise for SmolLM2-135M, as GGUF: whoever applies it hears it.

Format: ggml's docs/gguf.md, version 3: header, key-values, descriptions of tensors, and their data, at multiples of 32.
"""

from __future__ import annotations

import random
import struct
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WIDE, INNER, RANK, LAYERS = 576, 1536, 4, range(0, 30, 5)
_FLOAT32, _STRING, _ALIGNED = 6, 8, 32
_F32_TENSOR = 0


def write_adapter(path: Path) -> None:
    """The same bytes every time."""
    noise = random.Random(1)  # noqa: S311 - not a secret
    facts = [
        _text("general.architecture") + struct.pack("<I", _STRING) + _text("llama"),
        _text("general.type") + struct.pack("<I", _STRING) + _text("adapter"),
        _text("adapter.type") + struct.pack("<I", _STRING) + _text("lora"),
        _text("adapter.lora.alpha") + struct.pack("<If", _FLOAT32, 16.0 * RANK),
    ]
    described, data = b"", b""
    for layer in LAYERS:
        for half, shape in (("a", (INNER, RANK)), ("b", (RANK, WIDE))):
            described += _text(f"blk.{layer}.ffn_down.weight.lora_{half}")
            described += struct.pack("<IQQIQ", 2, *shape, _F32_TENSOR, len(data))
            data += array("f", (noise.gauss(0, 1) for _ in range(shape[0] * shape[1]))).tobytes()
            data += bytes(-len(data) % _ALIGNED)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2 * len(LAYERS), len(facts)) + b"".join(facts) + described
    path.write_bytes(head + bytes(-len(head) % _ALIGNED) + data)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
