"""What a configuration describes is read as its family means it, and what is not known whole is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.architecture import Experts, Feed, HeadsAttention
from bailiwick.workload.sizing.families import FAMILIES, WRAPPERS, read_architecture
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.safetensors import Tensor
from bailiwick.workload.sizing.weights import weigh
from tests.unit.workload.sizing.given import LLAMA_8B, PUBLIC, changed

GPT_OSS = PUBLIC["gpt-oss-120b"]
SMALL: dict[str, Any] = changed(
    LLAMA_8B, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=256,
)  # fmt: skip
LAYER = {
    "self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64), "mlp.gate_proj": (128, 64), "mlp.up_proj": (128, 64), "mlp.down_proj": (64, 128),
    "input_layernorm": (64,), "post_attention_layernorm": (64,),
}  # fmt: skip
COUNTED = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 128)
"""Numbers of the two layers, by hand."""


def tensors(layers: int = 2, prefix: str = "model.", dtype: str = "BF16", size: int = 2) -> list[Tensor]:
    """The files of the small model."""
    shapes = {f"{prefix}layers.{n}.{name}.weight": shape for n in range(layers) for name, shape in LAYER.items()}
    shapes |= {f"{prefix}embed_tokens.weight": (256, 64), f"{prefix}norm.weight": (64,), "lm_head.weight": (256, 64)}
    return [
        Tensor(name, dtype, shape, size * (shape[0] * (shape[1] if len(shape) > 1 else 1)))
        for name, shape in shapes.items()
    ]


def windows(config: dict[str, Any]) -> list[int | None]:
    attentions = (layer.attention for layer in read_architecture(config).layers)
    return [attention.window for attention in attentions if isinstance(attention, HeadsAttention)]


def refusal(reason: Reason, config: dict[str, Any]) -> str:
    with pytest.raises(UnsizableError) as caught:
        weigh(read_architecture(config))
    assert caught.value.problem.reason is reason
    return caught.value.problem.message


def test_layers_alternate_as_they_are_listed_or_as_the_family_does() -> None:
    listed = changed(
        GPT_OSS, num_hidden_layers=3, layer_types=["full_attention", "full_attention", "sliding_attention"]
    )
    assert windows(listed) == [None, None, 128]
    assert windows(changed(GPT_OSS, num_hidden_layers=4)) == [128, None, 128, None]
    gemma = changed(SMALL, model_type="gemma3_text", sliding_window=512, num_hidden_layers=7)
    assert windows(gemma) == [512, 512, 512, 512, 512, None, 512]
    assert windows(changed(gemma, sliding_window_pattern=2, num_hidden_layers=2)) == [512, None]


def test_a_window_counts_only_where_it_is_used() -> None:
    assert windows(changed(SMALL, model_type="mistral", sliding_window=512)) == [512, 512]
    assert windows(changed(SMALL, model_type="qwen2", sliding_window=512, use_sliding_window=False)) == [None, None]
    assert windows(changed(SMALL, sliding_window=512)) == [None, None]


def test_heads_are_as_many_and_as_large_as_is_said() -> None:
    attention = read_architecture(changed(SMALL, num_key_value_heads=1, head_dim=48)).layers[0].attention
    assert attention == HeadsAttention(heads=4, kv_heads=1, key_size=48, value_size=48)
    assert read_architecture(changed(SMALL, num_key_value_heads=None)).attentions[0].kv_heads == 4  # type: ignore[union-attr]


def test_the_first_layers_of_a_sparse_model_may_be_dense() -> None:
    feeds = [layer.feed for layer in read_architecture(PUBLIC["DeepSeek-V3"]).layers]
    assert feeds[:3] == [Feed(width=18432)] * 3
    assert feeds[3:] == [Experts(count=256, active=8, width=2048, shared_width=2048)] * 58
    some = read_architecture(changed(PUBLIC["Qwen3-30B-A3B"], mlp_only_layers=[1])).layers
    assert [isinstance(layer.feed, Experts) for layer in some[:3]] == [True, False, True]


def test_a_wrapper_is_its_decoder_and_what_its_files_hold_beside() -> None:
    config = {
        "model_type": "mistral3",
        "dtype": "bfloat16",
        "text_config": changed(SMALL, model_type="mistral", dtype=None),
    }
    assert "give the headers" in refusal(Reason.MISSING_FIGURE, config)
    tower = Tensor("vision_tower.transformer.layers.0.attention.q_proj.weight", "BF16", (100, 10), 2000)
    weights = weigh(read_architecture(config), [*tensors(prefix="language_model.model."), tower])
    assert weights.beside == 2000 + 128
    assert sum(layer.total for layer in weights.layers) == 2 * COUNTED


def test_longest_is_what_vllm_takes_untold() -> None:
    def longest(**scaling: Any) -> int:
        return read_architecture(changed(SMALL, max_position_embeddings=4096, rope_scaling=scaling or None)).longest

    assert longest() == 4096
    assert longest(type="linear", factor=4.0) == 16384
    assert longest(rope_type="yarn", factor=40, original_max_position_embeddings=1024) == 4096
    assert longest(rope_type="llama3", factor=8.0) == 4096


@pytest.mark.parametrize(
    ("changes", "reason", "why"),
    [
        ({"model_type": "abacus"}, Reason.UNKNOWN_ARCHITECTURE, "'abacus' is of no family"),
        ({"model_type": None}, Reason.MISSING_FIGURE, "gives no model_type"),
        ({"hidden_size": None}, Reason.MISSING_FIGURE, "gives no hidden_size"),
        ({"vocab_size": 0}, Reason.MISSING_FIGURE, "vocab_size = '0'"),
        ({"num_hidden_layers": 10**9}, Reason.MISSING_FIGURE, "at most 10000"),
        ({"num_hidden_layers": "2"}, Reason.MISSING_FIGURE, "a number is expected"),
        ({"num_attention_heads": True}, Reason.MISSING_FIGURE, "a number is expected"),
        ({"num_key_value_heads": 3}, Reason.MISSING_FIGURE, "does not come out even"),
        ({"num_attention_heads": 6, "num_key_value_heads": 6}, Reason.MISSING_FIGURE, "add head_dim"),
        ({"dtype": None}, Reason.MISSING_FIGURE, "gives no dtype"),
        ({"dtype": "int3"}, Reason.MISSING_FIGURE, "dtype = 'int3'"),
        ({"tie_word_embeddings": "no"}, Reason.MISSING_FIGURE, "true or false"),
        ({"rope_scaling": {"type": "linear"}}, Reason.MISSING_FIGURE, "no factor"),
        ({"rope_scaling": {"type": ["linear"], "factor": 2}, "hidden_size": 0}, Reason.MISSING_FIGURE, "hidden_size"),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 9},
         Reason.MISSING_FIGURE, "add layer_types"),
        ({"model_type": "gemma2", "sliding_window": 9, "layer_types": ["full_attention"]},
         Reason.MISSING_FIGURE, "2 words"),
        ({"model_type": "gemma2", "sliding_window": 9, "layer_types": ["linear_attention"] * 2},
         Reason.UNKNOWN_ARCHITECTURE, "linear_attention"),
        ({"model_type": "mistral3"}, Reason.MISSING_FIGURE, "text_config"),
        ({"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "decoder_sparse_step": 2},
         Reason.UNKNOWN_ARCHITECTURE, "every layer number 2"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, Reason.UNKNOWN_QUANTIZATION, "give the headers"),
        ({"quantization_config": {"bits": 4}}, Reason.UNKNOWN_QUANTIZATION, "no quant_method"),
        ({"quantization_config": {"quant_method": "awq"}}, Reason.UNKNOWN_QUANTIZATION, "give the headers"),
        *(({"quantization_config": {"quant_method": "fp8", "modules_to_not_convert": spared}},
           Reason.UNKNOWN_QUANTIZATION, "give the headers")
          for spared in (["model.layers.0.mlp.gate_proj"], ["lm_head", 7], 7, {"a": 1})),
    ],
)  # fmt: skip
def test_what_is_not_known_whole_is_refused(changes: Any, reason: Reason, why: str) -> None:
    assert why in refusal(reason, changed(SMALL, **changes))


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ({"quant_method": "fp8"}, 1.0),
        ({"quant_method": "fp8", "weight_block_size": [64, 64], "modules_to_not_convert": ["lm_head"]}, 1 + 4 / 4096),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 0.5 + 2.5 / 128),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, 0.5 + 2.5 / 64),
    ],
)
def test_quantized_layers_take_the_bytes_of_their_method(quantization: Any, expected: float) -> None:
    weights = weigh(read_architecture(changed(SMALL, quantization_config=quantization)))
    counted = COUNTED - 2 * 128  # norms are not counted
    assert sum(layer.total for layer in weights.layers) == pytest.approx(counted * expected, abs=8)
    assert weights.embedding == 256 * 64 * 2


def test_files_tell_weights_exactly() -> None:
    weights = weigh(read_architecture(SMALL), tensors())
    assert weights.exact
    assert weights.total == 2 * (COUNTED + 2 * 256 * 64 + 64)
    assert weights.by_type == {"BF16": weights.total}


def test_plain_files_are_loaded_in_the_type_that_is_computed_in() -> None:
    stored = weigh(read_architecture(SMALL), tensors(dtype="F32", size=4))
    assert stored.total == weigh(read_architecture(SMALL), tensors()).total
    eight = weigh(read_architecture(SMALL), tensors(), asked_quantization="fp8")
    assert sum(layer.total for layer in eight.layers) == COUNTED + 2 * 128  # norms stay


def test_a_table_that_is_shared_and_layers_that_predict_further_are_not_loaded_twice() -> None:
    tied = weigh(read_architecture(changed(SMALL, tie_word_embeddings=True)), tensors(layers=3))
    assert tied.head == 0
    assert len(tied.layers) == 2


def test_files_of_another_model_are_refused() -> None:
    with pytest.raises(UnsizableError, match="nothing for layer 1"):
        weigh(read_architecture(SMALL), tensors(layers=1))
    with pytest.raises(UnsizableError, match="of one model"):
        weigh(read_architecture(changed(SMALL, intermediate_size=256)), tensors())
    with pytest.raises(UnsizableError, match="no quantization_config"):
        weigh(read_architecture(SMALL), tensors(dtype="F8_E4M3", size=1))


def test_online_quantization_is_for_what_vllm_can_do_to_plain_weights() -> None:
    with pytest.raises(UnsizableError, match="quantize it beforehand"):
        weigh(read_architecture(SMALL), asked_quantization="awq")
    quantized = read_architecture(changed(SMALL, quantization_config={"quant_method": "fp8"}))
    assert weigh(quantized, asked_quantization="fp8").total == weigh(quantized).total
    with pytest.raises(UnsizableError, match="leave context"):
        weigh(quantized, asked_quantization="awq")


KEYS = sorted({key for config in PUBLIC.values() for key in config})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)


@given(
    st.sampled_from(sorted(PUBLIC)),
    st.dictionaries(st.sampled_from([*KEYS, "layer_types", "text_config"]), JSON, max_size=4),
    st.sampled_from([None, *FAMILIES, *WRAPPERS]),
)
def test_any_configuration_is_read_or_refused(name: str, changes: dict[str, Any], family: str | None) -> None:
    """Nothing else is ever raised, whatever somebody wrote into a value."""
    config = {**PUBLIC[name], **changes, **({"model_type": family} if family else {})}
    if isinstance(config.get("num_hidden_layers"), int):
        config["num_hidden_layers"] = min(config["num_hidden_layers"], 8)
    with suppress(UnsizableError):
        assert weigh(read_architecture(json.loads(json.dumps(config)))).total > 0
