"""A profile holds what sizing needs, is small, and nothing that somebody writes into one does harm."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.families import read_architecture
from bailiwick.workload.sizing.profile import LONGEST, Profile, digest, read_profile, write_profile
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.safetensors import Tensor
from bailiwick.workload.sizing.weights import group, weigh
from tests.unit.workload.sizing.given import LLAMA_8B, PUBLIC, changed

if TYPE_CHECKING:
    from collections.abc import Mapping

FILES = {"config.json": "sha256:" + "0" * 64}


def tensors(config: Mapping[str, Any], dtype: str = "BF16", more: tuple[Tensor, ...] = ()) -> tuple[Tensor, ...]:
    """The tensors of a model of the Llama family."""
    size = {"BF16": 2, "F32": 4, "F8_E4M3": 1}[dtype]
    hidden, wide, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    kv = hidden // heads * config["num_key_value_heads"]
    shapes = {
        "mlp.down_proj.weight": (hidden, wide), "mlp.gate_proj.weight": (wide, hidden),
        "mlp.up_proj.weight": (wide, hidden), "self_attn.k_proj.weight": (kv, hidden),
        "self_attn.v_proj.weight": (kv, hidden), "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.o_proj.weight": (hidden, hidden), "input_layernorm.weight": (hidden,),
    }  # fmt: skip
    named = {
        f"model.layers.{layer}.{name}": shape
        for layer in range(config["num_hidden_layers"])
        for name, shape in shapes.items()
    }
    named |= dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (config["vocab_size"], hidden))
    counted = (
        Tensor(name, dtype, shape, size * shape[0] * (shape[1] if len(shape) > 1 else 1))
        for name, shape in named.items()
    )
    return (*counted, *more)


def test_the_profile_of_a_large_model_is_small() -> None:
    text = write_profile(Profile(config=LLAMA_8B, groups=group(tensors(LLAMA_8B)), files=FILES))
    assert len(text) < 1500
    assert len(json.loads(text)["weights"]) == 3, "layers that are alike stand together"


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
@pytest.mark.parametrize("quantization", [None, "fp8"])
def test_weights_are_the_same_as_by_the_files(dtype: str, quantization: str | None) -> None:
    held = tensors(LLAMA_8B, dtype)
    written = write_profile(Profile(config=LLAMA_8B, groups=group(held), files=FILES))
    read = read_profile(written).model("m", quantization=quantization)
    assert read.weights == weigh(read_architecture(LLAMA_8B), held, asked_quantization=quantization)
    assert read.weights.exact


def test_quantization_while_loading_spares_what_is_no_matrix() -> None:
    profile = read_profile(write_profile(Profile(config=LLAMA_8B, groups=group(tensors(LLAMA_8B)))))
    plain, halved = (profile.model("m", quantization=how).weights for how in (None, "fp8"))
    norms = 4096 * 2
    for before, after in zip(plain.layers, halved.layers, strict=True):
        assert after.total - norms == (before.total - norms) // 2
    assert (halved.embedding, halved.head) == (plain.embedding, plain.head)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_configuration_alone_is_a_profile_too(name: str) -> None:
    config = changed(PUBLIC[name], id2label={"0": "LABEL_0"})
    profile = read_profile(write_profile(Profile(config=config, files=FILES)))
    assert "id2label" not in profile.config
    assert profile.model("m").architecture == read_architecture(config)
    assert not profile.model("m").weights.exact


def test_layers_beyond_the_configuration_are_not_counted() -> None:
    further = Tensor("model.layers.32.eh_proj.weight", "BF16", (10, 10), 200)
    profile = Profile(config=LLAMA_8B, groups=group(tensors(LLAMA_8B, more=(further,))))
    plain = Profile(config=LLAMA_8B, groups=group(tensors(LLAMA_8B)))
    assert profile.model("m").weights.total == plain.model("m").weights.total


def test_order_and_names_of_keys_do_not_change_a_profile() -> None:
    shuffled = dict(reversed(LLAMA_8B.items()))
    one, other = (write_profile(Profile(config=each, files=FILES)) for each in (LLAMA_8B, shuffled))
    assert digest(one) == digest(other)
    assert digest(one) != digest(one.replace("4096", "4097"))


GOOD = json.loads(write_profile(Profile(config=LLAMA_8B, groups=group(tensors(LLAMA_8B)), files=FILES)))


def with_group(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "weights": [{**GOOD["weights"][0], **changes}]}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (" " * (LONGEST + 1), "is longer than"),
        ("", "is empty, or in a ConfigMap of more than"),
        ([], "version 1"),
        ({**GOOD, "version": 2}, "version 1"),
        ({**GOOD, "config": []}, "has no config"),
        ({**GOOD, "files": {"config.json": "md5:0"}}, "not digests"),
        ({**GOOD, "weights": []}, "no list of groups"),
        ({**GOOD, "weights": {}}, "no list of groups"),
        (with_group(part="tail"), "without a part"),
        (with_group(part=["layers"]), "without a part"),
        (with_group(type="Q4"), "without a part"),
        (with_group(type=["BF16"]), "without a part"),
        (with_group(matrices=-1), "matrices = '-1'"),
        (with_group(others=1.5), "others = '1.5'"),
        (with_group(part="layers", first=3, last=2), "from layer 3 to layer 2"),
        (with_group(part="layers", first=0, last=10**9), "last = '1000000000'"),
    ],
)
def test_what_no_command_wrote_is_refused_with_a_remedy(told: Any, says: str) -> None:
    with pytest.raises(UnsizableError) as caught:
        read_profile(told if isinstance(told, str) else json.dumps(told))
    assert caught.value.problem.reason is Reason.MALFORMED_PROFILE
    assert says in str(caught.value)
    assert "; write it anew" in str(caught.value)


def test_what_no_config_map_can_hold_is_not_written() -> None:
    with pytest.raises(UnsizableError, match="the operator reads 131072 at most"):
        write_profile(Profile(config={**LLAMA_8B, "notes": "x" * LONGEST}))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["version", "config", "files", "weights", "part", "first", "last", "type", "matrices", "others"])


@settings(max_examples=100)
@given(st.dictionaries(KEYS, ANY | st.just(1)), st.dictionaries(KEYS, ANY))
def test_nothing_that_somebody_writes_ends_otherwise_than_in_a_refusal(over: Any, group: Any) -> None:
    told = {**GOOD, "weights": [{**GOOD["weights"][0], **group}], **over}
    with suppress(UnsizableError):
        read_profile(json.dumps(told)).model("m")
