"""How many devices a model takes, how it is spread over them, and why it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.spread import Spread, stages
from tests.unit.workload.sizing.given import LLAMA_8B, PUBLIC, accelerator, changed, cpu, model, sized

if TYPE_CHECKING:
    from bailiwick.workload.sizing.fit import Sizing

GIB = 1 << 30
H200 = accelerator("h200", memory="141G")
LLAMA_70B = PUBLIC["Llama-3-Taiwan-70B-Instruct"]
DEEPSEEK = PUBLIC["DeepSeek-V3"]


def refusal(reason: Reason, call: Any) -> str:
    with pytest.raises(UnsizableError) as caught:
        call()
    assert caught.value.problem.reason is reason
    return caught.value.problem.message


@pytest.mark.parametrize(
    ("config", "on", "request_", "expected"),
    [
        (LLAMA_8B, accelerator(), {"length": 8192}, Spread()),
        (LLAMA_70B, accelerator(), {}, Spread(tensor=4)),
        (LLAMA_70B, H200, {}, Spread(tensor=2)),
        (PUBLIC["gpt-oss-120b"], accelerator(), {"length": 8192}, Spread()),  # "fits on one 80 GB GPU", its makers say
        (PUBLIC["gpt-oss-120b"], H200, {}, Spread()),
        (DEEPSEEK, H200, {}, Spread(tensor=8)),
        # 967 GiB of A.X-K1 in 16 bits are 8 devices of 121 GiB, and more than one node of H200 with all else.
        (PUBLIC["A.X-K1"], H200, {}, Spread(tensor=8, pipeline=2)),
        (PUBLIC["A.X-K1"], H200, {"quantization": "fp8"}, Spread(tensor=8)),
        (PUBLIC["Falcon-H1-34B-Instruct"], accelerator(), {}, Spread(tensor=2)),
        (PUBLIC["Param2-17B-A2.4B-Thinking"], accelerator(), {}, Spread()),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(getattr(value, "metadata", value) and value)[:40],
)  # fmt: skip
def test_known_models_take_known_devices(config: Any, on: Any, request_: Any, expected: Spread) -> None:
    found = sized(config, on, **request_)
    assert found.spread == expected
    assert found.devices == expected.devices
    assert found.nodes == (2 if expected.devices > 8 else 1)


def test_weights_of_a_sparse_model_are_those_of_all_its_experts() -> None:
    assert sized(DEEPSEEK, H200).weights > 660e9


def test_what_a_device_holds_adds_up() -> None:
    found = sized(LLAMA_70B, accelerator(), sequences=4)
    device = found.device
    assert device.usable == 73_600_000_000  # 0.92 of 80 GB
    assert device.weights + device.overhead + device.kv_cache == device.usable
    assert device.weights == pytest.approx(found.weights / 4, rel=0.01)
    assert found.kv_cache == 4 * device.kv_cache
    assert found.tokens * found.token_bytes <= found.kv_cache
    assert found.longest == 8192


def test_key_and_value_heads_are_repeated_once_there_are_more_devices_than_heads() -> None:
    """4 heads on 8 devices: a token takes twice the bytes of all devices together."""
    moe = PUBLIC["Qwen3-235B-A22B"]
    four, eight = (sized(moe, accelerator(memory="288G"), spread=Spread(tensor=size)) for size in (4, 8))
    assert four.token_bytes == 192512
    assert eight.token_bytes == 2 * four.token_bytes
    assert "4 key and value heads are repeated on 8 devices" in eight.notes


def test_a_latent_cache_is_whole_on_every_device() -> None:
    assert sized(DEEPSEEK, H200).token_bytes == 8 * 70272


def test_many_sequences_of_a_latent_cache_are_spread_with_the_experts() -> None:
    """Tensor parallelism repeats the cache on 8 devices; data parallelism repeats what is not experts instead."""
    found = sized(DEEPSEEK, H200, length=32768, sequences=64)
    assert found.spread == Spread(data=8, expert=True)
    assert found.token_bytes == 70272
    experts = 58 * 256 * 3 * 7168 * 2048
    assert found.device.weights == pytest.approx(experts / 8 + (found.weights - experts), rel=0.01)
    assert found.tokens >= 64 * 32768


def test_windows_stop_growing() -> None:
    whole = sized(LLAMA_8B, accelerator(), length=8192)
    sliding = sized(
        changed(LLAMA_8B, model_type="mistral", sliding_window=1024),
        accelerator(arguments=["--max-num-batched-tokens=1024"]),
        length=8192,
    )
    assert sliding.sequence_bytes == whole.token_bytes * 16 * 129  # 1023 + 1024 tokens, and a block
    assert sliding.token_bytes == 0


def test_a_smaller_type_of_the_cache_halves_it() -> None:
    assert sized(LLAMA_70B, H200, kv_type="fp8").token_bytes * 2 == sized(LLAMA_70B, H200).token_bytes


@pytest.mark.parametrize(("kv_type", "expected"), [("fp8_ds_mla", 656), ("nvfp4_ds_mla", 352), ("fp8", 576)])
def test_types_of_latent_caches_take_the_bytes_that_vllm_gives_them(kv_type: str, expected: int) -> None:
    assert sized(DEEPSEEK, H200, kv_type=kv_type).token_bytes == 8 * 61 * expected


def test_an_option_of_the_class_counts_and_the_models_own_counts_more() -> None:
    on = accelerator(arguments=["--gpu-memory-utilization", "0.5"])
    assert sized(LLAMA_8B, on, length=4096).device.usable == 40_000_000_000
    found = sized(LLAMA_8B, on, length=4096, arguments=("--gpu-memory-utilization=0.75",))
    assert found.device.usable == 60_000_000_000


def test_a_cache_of_a_fixed_size_is_what_there_is() -> None:
    found = sized(LLAMA_8B, accelerator(arguments=["--kv-cache-memory-bytes=4G"]), length=8192)
    assert found.kv_cache == 4 * GIB
    assert found.longest == 4 * GIB // (32 * 2 * 8 * 128 * 2)


def test_a_plain_cpu_has_no_devices() -> None:
    found = sized(LLAMA_8B, cpu("32Gi", "--kv-cache-memory-bytes=4G"), length=8192)
    assert (found.devices, found.nodes, found.spread) == (0, 1, Spread())


def test_what_was_asked_for_is_kept() -> None:
    found = sized(LLAMA_8B, accelerator(), devices=4, length=4096)
    assert found.devices == 4
    assert sized(LLAMA_8B, accelerator(), spread=Spread(tensor=2, pipeline=2), length=4096).spread.pipeline == 2


def test_stages_are_cut_as_vllm_cuts_them() -> None:
    assert [len(stage) for stage in stages(61, 4)] == [15, 15, 16, 15]
    assert [len(stage) for stage in stages(30, 4)] == [7, 8, 8, 7]
    assert stages(2, 2)[1] == range(1, 2)


def test_scales_that_would_be_cut_apart_spread_the_experts_instead() -> None:
    """1536 on 8 devices are 192, and a scale is for 128 of them: vLLM refuses to start like that."""
    fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    moe = changed(PUBLIC["Qwen3-235B-A22B"], quantization_config=fp8)
    assert sized(moe, accelerator(), devices=8).spread == Spread(tensor=8, expert=True)
    message = refusal(Reason.INVALID_MODEL, lambda: sized(moe, accelerator(), spread=Spread(tensor=8)))
    assert "cuts through groups of 128" in message


@pytest.mark.parametrize(
    ("change", "spread", "why"),
    [
        ({"vocab_size": 127990}, Spread(tensor=3), "padded to 128000"),
        ({"vocab_size": 129024}, Spread(tensor=3), "32 attention heads are not divided by 3"),
        ({"num_attention_heads": 48, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 129024},
         Spread(tensor=6), "neither divided by 6 nor repeated"),
        ({"intermediate_size": 14337}, Spread(tensor=2), "width of 14337"),
        ({}, Spread(pipeline=33), "32 layers do not make 33 stages"),
        ({}, Spread(data=2), "raise spec.replicas instead"),
        ({}, Spread(expert=True), "no experts"),
    ],
)  # fmt: skip
def test_a_spread_that_vllm_would_not_start_with_is_refused(change: Any, spread: Spread, why: str) -> None:
    message = refusal(
        Reason.INVALID_MODEL, lambda: sized(changed(LLAMA_8B, **change), accelerator(), spread=spread, length=4096)
    )
    assert why in message


@pytest.mark.parametrize(
    ("on", "request_", "reason", "why"),
    [
        (accelerator(memory=None), {}, Reason.MISSING_FIGURE, "add spec.memory"),
        (accelerator(memory="8G", devicesPerNode=None), {}, Reason.MISSING_FIGURE, "add spec.devicesPerNode"),
        (accelerator(memory="3G"), {"length": 4096}, Reason.DOES_NOT_FIT, "bytes of weights"),
        (accelerator(memory="24G"), {"sequences": 9, "devices": 1}, Reason.DOES_NOT_FIT, "set spec.context.maxLe"),
        (accelerator(), {"length": 131073}, Reason.INVALID_MODEL, "made for 131072 tokens"),
        (accelerator(), {"devices": 7}, Reason.INVALID_MODEL, "cannot be spread evenly"),
        (accelerator(), {"spread": Spread(tensor=16)}, Reason.INVALID_MODEL, "raise spec.parallelism.pipeline"),
        (accelerator(), {"kv_type": "turboquant_4bit_nc"}, Reason.UNKNOWN_QUANTIZATION, "set context.kvCacheType"),
        (accelerator(), {"kv_type": "fp8_ds_mla"}, Reason.UNKNOWN_QUANTIZATION, "set context.kvCacheType"),
        (accelerator(arguments=["--cpu-offload-gb=4"]), {}, Reason.UNSUPPORTED_FEATURE, "weights on the host"),
        (accelerator(arguments=["--gpu-memory-utilization=92"]), {}, Reason.FORBIDDEN_ARGUMENT, "not understood"),
        (accelerator(arguments=["--block-size=0"]), {}, Reason.FORBIDDEN_ARGUMENT, "not understood"),
        (accelerator(engines=[{"name": "furiosa-llm", "image": "i"}]), {}, Reason.UNSUPPORTED_ENGINE, "perReplica"),
        (accelerator(arguments=["--max-model-len=4096"]), {}, Reason.UNSUPPORTED_FEATURE, "another context"),
        (accelerator(arguments=["--kv-cache-mem=1G"]), {}, Reason.FORBIDDEN_ARGUMENT, "write out every option"),
        (accelerator(), {"devices": 0}, Reason.INVALID_MODEL, "set it to auto"),
        (cpu("64Gi", "--kv-cache-memory-bytes=1G"), {"spread": Spread(tensor=2)}, Reason.INVALID_MODEL, "a plain CPU"),
        (cpu(None, "--kv-cache-memory-bytes=1G"), {}, Reason.MISSING_FIGURE, "requests.memory"),
        (cpu("64Gi"), {}, Reason.MISSING_FIGURE, "add --kv-cache-memory-bytes"),
    ],
)
def test_what_is_not_known_or_does_not_fit_is_refused(on: Any, request_: Any, reason: Reason, why: str) -> None:
    assert why in refusal(reason, lambda: sized(LLAMA_8B, on, **request_))


def test_the_longest_context_of_a_refusal_does_fit() -> None:
    on = accelerator(memory="24G")
    message = refusal(Reason.DOES_NOT_FIT, lambda: sized(LLAMA_8B, on, devices=1, sequences=4))
    longest = int(message.partition("at most ")[2].partition(" ")[0])
    assert sized(LLAMA_8B, on, devices=1, sequences=4, length=longest).longest == longest
    refusal(Reason.DOES_NOT_FIT, lambda: sized(LLAMA_8B, on, devices=1, sequences=4, length=longest + 16))


MODELS = [
    model(LLAMA_8B),
    *(model(PUBLIC[name]) for name in ("gpt-oss-120b", "Qwen3-30B-A3B", "Falcon-H1-7B-Instruct")),
]
LENGTHS = st.integers(1, 40960)
MEMORIES = st.integers(10, 400)


def devices(what: Any, gigabytes: int, length: int, sequences: int) -> float:
    """Devices of a replica; infinite when it does not fit."""
    try:
        found: Sizing | None = sized(what, accelerator(memory=f"{gigabytes}G"), length=length, sequences=sequences)
    except UnsizableError as error:
        reason = error.problem.reason
        found = None
    if found is None:
        assert reason is Reason.DOES_NOT_FIT
        return float("inf")
    assert found.longest >= length
    assert found.tokens >= length
    return found.devices


properties = settings(max_examples=25, deadline=None)


@properties
@given(st.sampled_from(MODELS), MEMORIES, LENGTHS, LENGTHS, st.integers(1, 64))
def test_more_context_never_needs_fewer_devices(what: Any, memory: int, one: int, two: int, sequences: int) -> None:
    short, long = sorted((one, two))
    assert devices(what, memory, short, sequences) <= devices(what, memory, long, sequences)


@properties
@given(st.sampled_from(MODELS), MEMORIES, LENGTHS, st.integers(1, 64), st.integers(1, 64))
def test_more_sequences_never_need_fewer_devices(what: Any, memory: int, length: int, one: int, two: int) -> None:
    few, many = sorted((one, two))
    assert devices(what, memory, length, few) <= devices(what, memory, length, many)


@properties
@given(st.sampled_from(MODELS), MEMORIES, MEMORIES, LENGTHS, st.integers(1, 64))
def test_more_memory_never_needs_more_devices(what: Any, one: int, two: int, length: int, sequences: int) -> None:
    less, more = sorted((one, two))
    assert devices(what, more, length, sequences) <= devices(what, less, length, sequences)
