"""Bytes of KV cache: by token, by layer, by sequence, on one device of a tensor-parallel group.

Source: vLLM 0.32, `vllm/v1/kv_cache_interface.py` and `vllm/v1/core/kv_cache_utils.py`; compared with what a running
vLLM logs (e2e/test_sizing.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.architecture import HeadsAttention, LatentAttention, Mamba
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.workload.sizing.architecture import Layer

BLOCK = 16
"""Tokens that are given out together (`--block-size`)."""
_PLAIN = frozenset({"auto", "bfloat16", "float16", "half"})
_EIGHT_BITS = frozenset({"fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"})
_LATENT_ONLY = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
"""Bytes of one token of one layer: numbers, scales and the part with positions, of the DeepSeek shape (512 + 64)."""
_DEEPSEEK_SHAPE = (512, 64)
KV_TYPES = tuple(sorted(_PLAIN | _EIGHT_BITS | {"nvfp4"} | set(_LATENT_ONLY)))
_ALMOST_EQUAL = 1.25
"""Groups of layers that differ by less are padded to the larger, instead of being cut into the smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """How the cache is laid out: the type of its numbers, the devices of a group, the tokens of one step."""

    kv_type: str
    number_bytes: int
    tensor: int
    step_tokens: int


def token_bytes(attention: HeadsAttention | LatentAttention, cache: Cache) -> int:
    """Bytes that one token takes in one layer, on one device. Raises UnsizableError for a type that is not known."""
    if isinstance(attention, LatentAttention):
        if cache.kv_type in _LATENT_ONLY:
            if (attention.kv_rank, attention.rope_size) != _DEEPSEEK_SHAPE:
                raise _unknown(cache.kv_type)
            return _LATENT_ONLY[cache.kv_type]
        if cache.kv_type == "nvfp4":
            raise _unknown(cache.kv_type)
        # One vector for all heads: every device of the group holds it whole.
        return (attention.kv_rank + attention.rope_size) * _number(cache)
    heads = max(1, attention.kv_heads // cache.tensor)
    if cache.kv_type == "nvfp4":  # 4 bits, and a scale of 8 for each 16
        return heads * sum(size // 2 + size // 16 for size in (attention.key_size, attention.value_size))
    if cache.kv_type in _LATENT_ONLY:
        raise _unknown(cache.kv_type)
    return heads * (attention.key_size + attention.value_size) * _number(cache)


def state_bytes(mamba: Mamba, cache: Cache) -> int:
    """Bytes of one sequence's state in one layer, on one device, whatever the sequence's length."""
    # Groups that do not divide are repeated, so that each head has its own on its device.
    groups = mamba.groups if mamba.groups % cache.tensor == 0 else cache.tensor
    mixed = (mamba.width + 2 * groups * mamba.state_size) // cache.tensor
    state = mamba.heads // cache.tensor * mamba.head_size * mamba.state_size
    return (mixed * (mamba.convolution - 1) + state) * cache.number_bytes


def sequence_bytes(layers: Sequence[Layer], length: int, cache: Cache) -> int:
    """Bytes that one sequence of ``length`` tokens may take in these layers, on one device."""
    kinds = Counter(layer.attention for layer in layers if layer.attention)
    states = Counter(layer.mamba for layer in layers if layer.mamba)
    block = _block(layers, cache)
    # Layers of different kinds share one pool, in groups of the same number of layers.
    counts = [*kinds.values(), *states.values()]
    size = _group(counts) if len(counts) > 1 else 1
    total = 0
    for attention, count in kinds.items():
        page = block * token_bytes(attention, cache)
        total += -(-count // size) * size * _blocks(attention, length, block, cache) * page
    for mamba, count in states.items():
        page = max(state_bytes(mamba, cache), *(block * token_bytes(attention, cache) for attention in kinds), 0)
        total += -(-count // size) * size * page
    return total


def growth(layers: Sequence[Layer], cache: Cache) -> int:
    """Bytes that each further token of a long sequence takes, on one device: windows and states do not grow."""
    return sum(
        token_bytes(layer.attention, cache)
        for layer in layers
        if layer.attention and getattr(layer.attention, "window", None) is None
    )


def _blocks(attention: HeadsAttention | LatentAttention, length: int, block: int, cache: Cache) -> int:
    if isinstance(attention, HeadsAttention) and attention.window is not None:
        # What a step computes stays until the step is over, and a window seldom begins where a block does.
        return -(-min(attention.window - 1 + cache.step_tokens, length) // block) + 1
    return -(-length // block)


def _block(layers: Sequence[Layer], cache: Cache) -> int:
    """Tokens of a block: enough that a state fits where a block does, where layers have both."""
    needed = BLOCK
    for layer in dict.fromkeys(layers):
        if layer.attention and layer.mamba:
            tokens = -(-state_bytes(layer.mamba, cache) // token_bytes(layer.attention, cache))
            needed = max(needed, -(-tokens // BLOCK) * BLOCK)
    return needed


def _group(counts: Sequence[int]) -> int:
    return max(counts) if max(counts) < _ALMOST_EQUAL * min(counts) else min(counts)


def _number(cache: Cache) -> int:
    if cache.kv_type in _EIGHT_BITS:
        return 1
    if cache.kv_type not in _PLAIN:
        raise _unknown(cache.kv_type)
    return cache.number_bytes


def _unknown(kv_type: str) -> UnsizableError:
    return UnsizableError(
        Reason.UNKNOWN_QUANTIZATION,
        f"the bytes of KV cache type {kv_type} are not known for this model; set context.kvCacheType to one of "
        f"{', '.join(KV_TYPES)} that its attention has",
    )
