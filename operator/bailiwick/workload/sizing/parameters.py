"""How many parameters each part of a layer has, and how tensor parallelism divides them. Norms and biases are left out.

They are less than 0.2 % of every model in the table of tests/unit/workload/sizing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.workload.sizing.architecture import Architecture, Experts, Feed, HeadsAttention, LatentAttention

if TYPE_CHECKING:
    from bailiwick.workload.sizing.architecture import Layer, Mamba


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Amounts (parameters, or bytes) of one layer by how they are divided over a tensor-parallel group.

    ``split`` is divided evenly; ``kv`` too, until there is one key and value head for each device, then it is repeated;
    ``whole`` is on every device; ``experts`` are divided, or spread one by one over data-parallel ranks as well.
    """

    split: int = 0
    kv: int = 0
    whole: int = 0
    experts: int = 0

    @property
    def total(self) -> int:
        """All of them, once."""
        return self.split + self.kv + self.whole + self.experts

    def __add__(self, other: Parts) -> Parts:
        return Parts(
            split=self.split + other.split,
            kv=self.kv + other.kv,
            whole=self.whole + other.whole,
            experts=self.experts + other.experts,
        )


def layer_parameters(architecture: Architecture, layer: Layer) -> Parts:
    """Of one layer."""
    hidden = architecture.hidden
    counted = _attention(layer.attention, hidden) if layer.attention else Parts()
    if layer.mamba:
        counted += _mamba(layer.mamba, hidden)
    match layer.feed:
        case Feed(width=width, gated=gated):
            counted += Parts(split=(3 if gated else 2) * hidden * width)
        case Experts() as experts:
            counted += Parts(
                experts=3 * hidden * experts.width * experts.count,
                split=3 * hidden * experts.shared_width,
                whole=hidden * experts.count,  # the router
            )
    return counted


def embedding_parameters(architecture: Architecture) -> int:
    """Of the table of tokens, once."""
    return architecture.vocabulary * architecture.hidden


def parameters(architecture: Architecture) -> int:
    """Of the whole model, as its maker would count them."""
    tables = embedding_parameters(architecture) * (1 if architecture.tied else 2)
    return tables + sum(layer_parameters(architecture, layer).total for layer in architecture.layers)


def active_share(architecture: Architecture) -> float:
    """The part of the layers' weights that one token passes through: 1 in a dense model."""
    whole = sum(layer_parameters(architecture, layer).total for layer in architecture.layers)
    idle = sum(
        layer_parameters(architecture, layer).experts * (1 - min(layer.feed.active / layer.feed.count, 1))
        for layer in architecture.layers
        if isinstance(layer.feed, Experts)
    )
    return 1 - idle / whole


def _attention(attention: HeadsAttention | LatentAttention, hidden: int) -> Parts:
    if isinstance(attention, HeadsAttention):
        return Parts(
            split=hidden * attention.heads * (attention.key_size + attention.value_size),  # queries, output
            kv=hidden * attention.kv_heads * (attention.key_size + attention.value_size),
        )
    query_size = attention.heads * (attention.plain_size + attention.rope_size)
    compressed = attention.kv_rank + attention.rope_size
    return Parts(
        split=(attention.query_rank or hidden) * query_size
        + attention.kv_rank * attention.heads * (attention.plain_size + attention.value_size)
        + attention.heads * attention.value_size * hidden,
        whole=hidden * (compressed + (attention.query_rank or 0)),
    )


def _mamba(mamba: Mamba, hidden: int) -> Parts:
    mixed = mamba.width + 2 * mamba.groups * mamba.state_size
    return Parts(
        split=hidden * (mamba.width + mixed + mamba.heads)  # in
        + mixed * mamba.convolution
        + mamba.width * hidden  # out
    )
