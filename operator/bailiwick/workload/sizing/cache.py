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

_PLAIN = frozenset({"auto", "bfloat16", "float16", "half"})
_EIGHT_BITS = frozenset({"fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"})
_LATENT_ONLY = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
"""Bytes of one token of one layer: numbers, scales and the part with positions, of the DeepSeek shape (512 + 64)."""
_DEEPSEEK_SHAPE = (512, 64)
KV_TYPES = tuple(sorted(_PLAIN | _EIGHT_BITS | {"nvfp4"} | set(_LATENT_ONLY)))
_STATE_BYTES = 4
"""Of one number of a state. vLLM keeps it in 32 bits on a CPU with AVX512-BF16; elsewhere 16 may do, and more fits."""
_STATES = 3
"""States that a sequence holds where prefixes are cached, as they are by default: two, and one that is being saved."""
_ALMOST_EQUAL = 1.25
"""Groups of layers that differ by less are padded to the larger, instead of being cut into the smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """How the cache is asked for: the type of its numbers, the devices of a group, tokens of a step and of a block."""

    kv_type: str
    number_bytes: int
    tensor: int
    step_tokens: int
    block: int


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
    return mixed * (mamba.convolution - 1) * cache.number_bytes + state * _STATE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The cache of some layers on one device: blocks of one size, drawn by groups of equally many layers.

    Layers of one kind are one group; other kinds are cut into groups of the same number of layers, the last one padded.
    ``shares`` are the groups of each kind.
    """

    block_tokens: int
    block_bytes: int
    shares: tuple[tuple[HeadsAttention | LatentAttention | Mamba, int], ...]
    step_tokens: int

    def sequence_blocks(self, length: int) -> int:
        """Blocks that one sequence of ``length`` tokens may take."""
        return sum(groups * self._blocks(kind, length) for kind, groups in self.shares)

    def sequence_bytes(self, length: int) -> int:
        """Bytes of these blocks."""
        return self.sequence_blocks(length) * self.block_bytes

    def holds(self, capacity: int, sequences: int, length: int) -> bool:
        """Whether ``sequences`` of ``length`` tokens fit into ``capacity`` bytes all at once."""
        return not self.block_bytes or sequences * self.sequence_blocks(length) <= capacity // self.block_bytes

    def tokens(self, capacity: int, length: int) -> int:
        """Tokens that ``capacity`` bytes hold, in sequences of ``length``: what vLLM logs as its KV cache size."""
        blocks = self.sequence_blocks(length)
        return int(capacity // self.block_bytes / blocks * length) if blocks else 0

    def longest(self, capacity: int, sequences: int, *, up_to: int) -> int:
        """The greatest length at which so many sequences fit; 0 when none does."""
        low, high = 0, up_to
        while low < high:
            middle = (low + high + 1) // 2
            if self.holds(capacity, sequences, middle):
                low = middle
            else:
                high = middle - 1
        return low

    def _blocks(self, kind: HeadsAttention | LatentAttention | Mamba, length: int) -> int:
        if isinstance(kind, Mamba):
            return _STATES
        if isinstance(kind, HeadsAttention) and kind.window is not None:
            # What a step computes stays until the step is over, and a window seldom begins where a block does.
            return -(-min(kind.window - 1 + self.step_tokens, length) // self.block_tokens) + 1
        return -(-length // self.block_tokens)


def pool(layers: Sequence[Layer], cache: Cache) -> Pool:
    """How the cache of these layers is laid out. Raises UnsizableError for a type that is not known."""
    kinds = Counter(each for layer in layers for each in (layer.attention, layer.mamba) if each)
    size = _group(tuple(kinds.values()))
    block = _block(layers, cache)
    pages = (
        state_bytes(kind, cache) if isinstance(kind, Mamba) else block * token_bytes(kind, cache) for kind in kinds
    )
    return Pool(
        block_tokens=block,
        block_bytes=size * max(pages, default=0),
        shares=tuple((kind, -(-count // size)) for kind, count in kinds.items()),
        step_tokens=cache.step_tokens,
    )


def growth(layers: Sequence[Layer], cache: Cache) -> int:
    """Bytes that each further token of a long sequence takes, on one device: windows and states do not grow."""
    return sum(
        token_bytes(layer.attention, cache)
        for layer in layers
        if layer.attention and getattr(layer.attention, "window", None) is None
    )


def _block(layers: Sequence[Layer], cache: Cache) -> int:
    """Tokens of a block: enough that a state fits where a block does, where layers have both."""
    needed = cache.block
    for layer in dict.fromkeys(layers):
        if layer.attention and layer.mamba:
            tokens = -(-state_bytes(layer.mamba, cache) // token_bytes(layer.attention, cache))
            needed = max(needed, -(-tokens // cache.block) * cache.block)
    return needed


def _group(counts: Sequence[int]) -> int:
    if not counts:
        return 1
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
