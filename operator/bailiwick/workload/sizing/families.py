"""Families of models by `model_type`, and how each writes down what it is made of.

Source: the configuration classes of Transformers 5.19 and the models of vLLM 0.32 (`vllm/model_executor/models`). A
family that is not here is refused: two families may mean different things by one name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.architecture import (
    Architecture,
    Experts,
    Feed,
    HeadsAttention,
    LatentAttention,
    Layer,
    Mamba,
)
from bailiwick.workload.sizing.configuration import Configuration
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Attention = Literal["heads", "latent"]
_Sliding = Literal["never", "all", "types", "flagged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How to read one family.

    ``sliding``: `never`; `all` layers where `sliding_window` is set; by `types` of layers, or `every` so many layers a
    full one where the configuration lists no types; `flagged` by types too, and only with `use_sliding_window`.
    """

    attention: _Attention = "heads"
    sliding: _Sliding = "never"
    every: int | None = None
    gated: bool = True
    tied: bool = False
    """What an absent `tie_word_embeddings` means."""
    mamba: bool = False
    experts: bool = False
    head_size: int | None = None
    """What an absent `head_dim` means; None: hidden size by heads."""


FAMILIES: Mapping[str, Family] = {
    "llama": Family(),
    "apertus": Family(gated=False),
    "mistral": Family(sliding="all"),
    "ministral": Family(sliding="types"),
    "qwen2": Family(sliding="flagged"),
    "qwen3": Family(sliding="flagged", head_size=128),
    "qwen3_moe": Family(sliding="flagged", experts=True),
    "mixtral": Family(sliding="all", experts=True),
    "gemma2": Family(sliding="types", every=2, tied=True, head_size=256),
    "gemma3_text": Family(sliding="types", every=6, tied=True, head_size=256),
    "gpt_oss": Family(sliding="types", every=2, experts=True, head_size=64),
    "deepseek_v2": Family(attention="latent", experts=True),
    "deepseek_v3": Family(attention="latent", experts=True),
    "axk1": Family(attention="latent", experts=True),
    "AXK1": Family(attention="latent", experts=True),
    "param2moe": Family(experts=True, tied=True),
    "falcon_h1": Family(mamba=True),
}
WRAPPERS = frozenset({"mistral3", "gemma3", "llava", "llava_next"})
"""Models with a decoder of the families above in `text_config`, beside parts for images."""

_MOST_STRETCHED = 1024
_SLIDING, _FULL = "sliding_attention", "full_attention"


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """What `config.json` describes. Raises UnsizableError with what to give when it is not known whole."""
    outer = Configuration(config)
    wrapped = outer.model_type in WRAPPERS
    text = outer.block("text_config") if wrapped else config
    if text is None:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"config.json is of {outer.model_type}, which holds its language model in text_config, and there is none; "
            f"give the file as the model's maker ships it",
        )
    inner = Configuration(text, outer=config)
    family = FAMILIES.get(inner.model_type)
    if family is None:
        raise UnsizableError(
            Reason.UNKNOWN_ARCHITECTURE,
            f"model_type {inner.model_type!r} is of no family whose memory is known ({', '.join(FAMILIES)}); give "
            f"spec.accelerators.perReplica and spec.parallelism, as the model's maker recommends",
        )
    layers = inner.layers()
    attention = _attention(inner, family, layers)
    mamba = _mamba(inner) if family.mamba else None
    return Architecture(
        model_type=inner.model_type,
        hidden=inner.count("hidden_size"),
        vocabulary=inner.count("vocab_size"),
        tied=inner.flag("tie_word_embeddings", default=family.tied),
        layers=tuple(
            Layer(attention=attention[index], mamba=mamba, feed=_feed(inner, family, index)) for index in range(layers)
        ),
        longest=_longest(inner),
        number_bytes=inner.number_bytes(),
        quantization=inner.block("quantization_config"),
        wrapped=wrapped,
    )


def _attention(
    config: Configuration, family: Family, layers: int
) -> tuple[HeadsAttention, ...] | tuple[LatentAttention, ...]:
    heads = config.count("num_attention_heads")
    if family.attention == "latent":
        latent = LatentAttention(
            heads=heads,
            query_rank=config.optional("q_lora_rank"),
            kv_rank=config.count("kv_lora_rank"),
            rope_size=config.count("qk_rope_head_dim"),
            plain_size=config.count("qk_nope_head_dim"),
            value_size=config.count("v_head_dim"),
        )
        return (latent,) * layers
    size = config.optional("head_dim") or family.head_size or _share(config, heads)
    kv_heads = config.optional("num_key_value_heads") or heads
    if heads % kv_heads:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"config.json says that {heads} heads share {kv_heads} key and value heads, which does not come out even; "
            f"give the model's own file",
        )
    return tuple(
        HeadsAttention(heads=heads, kv_heads=kv_heads, key_size=size, value_size=size, window=window)
        for window in _windows(config, family, layers)
    )


def _share(config: Configuration, heads: int) -> int:
    hidden = config.count("hidden_size")
    if hidden % heads:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"config.json gives no head_dim, and hidden_size {hidden} is no multiple of {heads} heads; add head_dim",
        )
    return hidden // heads


def _windows(config: Configuration, family: Family, layers: int) -> tuple[int | None, ...]:
    """The window of each layer; None: it sees everything."""
    everything = (None,) * layers
    if family.sliding == "never":
        return everything
    if family.sliding == "flagged" and not config.flag("use_sliding_window", default=False):
        return everything
    window = config.optional("sliding_window")
    if not window:
        return everything
    if family.sliding == "all":
        return (window,) * layers
    kinds = config.words("layer_types", length=layers)
    if kinds is None and family.sliding == "flagged":
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            "config.json uses a sliding window and does not say in which layers; add layer_types, one word per layer",
        )
    if kinds is None:
        every = config.optional("sliding_window_pattern") or family.every
        if not every:
            raise UnsizableError(
                Reason.MISSING_FIGURE,
                "config.json has a sliding window and no layer_types; add them, one word for each layer",
            )
        kinds = tuple(_FULL if (index + 1) % every == 0 else _SLIDING for index in range(layers))
    if unknown := sorted(set(kinds) - {_SLIDING, _FULL}):
        raise UnsizableError(
            Reason.UNKNOWN_ARCHITECTURE,
            f"layer_types names {', '.join(unknown)}, whose memory is not known; give spec.accelerators.perReplica and "
            f"spec.parallelism, as the model's maker recommends",
        )
    return tuple(window if kind == _SLIDING else None for kind in kinds)


def _mamba(config: Configuration) -> Mamba:
    heads = config.count("mamba_n_heads")
    width = config.optional("mamba_d_ssm") or config.count("mamba_expand") * config.count("hidden_size")
    if width % heads:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"config.json gives {width} channels to {heads} Mamba heads, which does not come out even; give the "
            f"model's own file",
        )
    return Mamba(
        heads=heads,
        head_size=width // heads,
        groups=config.count("mamba_n_groups"),
        state_size=config.count("mamba_d_state"),
        convolution=config.count("mamba_d_conv"),
    )


def _feed(config: Configuration, family: Family, index: int) -> Feed | Experts:
    count = config.optional("n_routed_experts", "num_local_experts", "num_experts") if family.experts else None
    if not count or not _is_sparse(config, index):
        return Feed(width=config.count("intermediate_size"), gated=family.gated)
    width = config.optional("moe_intermediate_size") or config.count("intermediate_size")
    shared = config.optional("n_shared_experts", "num_shared_experts") or 0
    return Experts(
        count=count,
        active=config.count("num_experts_per_tok"),
        width=width,
        shared_width=config.optional("moe_shared_expert_intermediate_size") or shared * width,
    )


def _is_sparse(config: Configuration, index: int) -> bool:
    step = config.optional("decoder_sparse_step", "moe_layer_freq") or 1
    dense = config.optional("first_k_dense_replace") or 0
    if index in config.numbers("mlp_only_layers") or index < dense:
        return False
    # Families count from different ends; all published models have a step of 1.
    if step != 1:
        raise UnsizableError(
            Reason.UNKNOWN_ARCHITECTURE,
            f"config.json puts experts into every layer number {step} only; give spec.accelerators.perReplica and "
            f"spec.parallelism, as the model's maker recommends",
        )
    return True


def _longest(config: Configuration) -> int:
    """The tokens that vLLM takes untold (`vllm/config/model.py`): most configurations are already scaled."""
    longest = config.count("max_position_embeddings")
    scaling = config.block("rope_parameters") or config.block("rope_scaling") or {}
    kind, factor = scaling.get("rope_type") or scaling.get("type"), scaling.get("factor")
    if kind not in ("linear", "dynamic") or config.model_type.startswith("gemma3"):
        return longest
    if not isinstance(factor, int | float) or not 1 <= factor <= _MOST_STRETCHED:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"config.json stretches positions ({kind}) and gives no factor from 1 to {_MOST_STRETCHED}; give the "
            f"model's own file",
        )
    return int(longest * factor)
