"""What a decoder is made of, as far as memory goes: attention, state, feed-forward and experts, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsAttention:
    """Queries share key and value heads: all of them (MHA), some (GQA), or one (MQA).

    ``window`` is how many tokens back a sliding-window layer looks; None: all.
    """

    heads: int
    kv_heads: int
    key_size: int
    value_size: int
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention (MLA): one compressed vector per token, of ``kv_rank`` + ``rope_size`` numbers."""

    heads: int
    query_rank: int | None
    kv_rank: int
    rope_size: int
    plain_size: int
    value_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba:
    """A Mamba-2 mixer: a state per sequence, whatever its length."""

    heads: int
    head_size: int
    groups: int
    state_size: int
    convolution: int

    @property
    def width(self) -> int:
        """Channels of all heads together."""
        return self.heads * self.head_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed-forward part; ``gated`` ones have three matrices, others two."""

    width: int
    gated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of experts. All ``count`` of them stay in memory; ``active`` ones and the shared part do the work."""

    count: int
    active: int
    width: int
    shared_width: int = 0
    """Width of all shared experts together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer; attention and Mamba stand side by side in hybrid models."""

    attention: HeadsAttention | LatentAttention | None
    mamba: Mamba | None = None
    feed: Feed | Experts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A language model.

    ``longest`` is the number of tokens that it was made for. ``number_bytes`` is the size of the type that it computes
    in. ``quantization`` is the configuration's own block, uninterpreted; None: none. ``wrapped`` tells that the model
    has parts beside the decoder (images, sound), whose weights only the files tell.
    """

    model_type: str
    hidden: int
    vocabulary: int
    tied: bool
    layers: tuple[Layer, ...]
    longest: int
    number_bytes: int
    quantization: Mapping[str, Any] | None = None
    wrapped: bool = False

    @property
    def attentions(self) -> tuple[HeadsAttention | LatentAttention, ...]:
        """The kinds of attention that there are."""
        return tuple(dict.fromkeys(each.attention for each in self.layers if each.attention))

    @property
    def mambas(self) -> tuple[Mamba, ...]:
        """The kinds of states that there are."""
        return tuple(dict.fromkeys(each.mamba for each in self.layers if each.mamba))

    @property
    def feeds(self) -> tuple[Feed | Experts, ...]:
        """The kinds of feed-forward parts that there are."""
        return tuple(dict.fromkeys(each.feed for each in self.layers if each.feed))

    @property
    def experts(self) -> int:
        """Routed experts of a layer; 0 in a dense model."""
        return max((each.feed.count for each in self.layers if isinstance(each.feed, Experts)), default=0)
