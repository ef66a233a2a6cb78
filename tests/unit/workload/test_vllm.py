"""How vLLM is started: what it is told, and what it cannot be told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.unit.workload.given import GPU, accelerator, engine, gpus, model, plan


def variables(container: dict[str, Any]) -> dict[str, Any]:
    found = {each["name"]: each.get("value", each.get("valueFrom", "")) for each in container["env"]}
    assert len(found) == len(container["env"]), "no variable is set twice"
    return found


def test_it_listens_on_loopback_alone_and_reads_safetensors_from_a_local_path() -> None:
    args = engine(plan(model()))["args"]
    told = dict(pairwise(args))
    assert (told["--host"], told["--port"]) == ("127.0.0.1", "8000")
    assert (told["--model"], told["--load-format"]) == ("/model", "safetensors")
    assert told["--served-model-name"] == "tiny"
    assert told["--allowed-media-domains"] == "none.invalid"


def test_it_is_offline_and_closed_whatever_its_image_says() -> None:
    told = variables(engine(plan(model())))
    offline = {"VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
    assert {told[name] for name in offline} == {"1"}
    closed = {"VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_ALLOW_INSECURE_SERIALIZATION"}
    assert {told[name] for name in closed} == {"0"}
    assert told["VLLM_PLUGINS"] == ""
    assert told["VLLM_HOST_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert not {"HF_TOKEN", "VLLM_API_KEY"} & told.keys()


def test_a_class_adds_to_the_environment_and_sets_what_is_its_own() -> None:
    added = [
        {"name": "VLLM_PLUGINS", "value": "npu"},
        {"name": "X", "value": "1"},
        {"name": "DO_NOT_TRACK", "value": "1"},
    ]
    told = variables(engine(plan(model(), classes=[accelerator(offer={"environment": added})])))
    assert (told["VLLM_PLUGINS"], told["X"], told["DO_NOT_TRACK"]) == ("npu", "1", "1")


def test_it_writes_only_where_the_pod_has_scratch_space() -> None:
    container = engine(plan(model()))
    told = variables(container)
    assert {told["HOME"], told["TMPDIR"]} == {"/tmp"}  # noqa: S108 - in the container
    writable = [each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")]
    assert writable == ["/tmp", "/dev/shm"]  # noqa: S108 - in the container
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        ({"context": {"maxLength": 2048, "maxSequences": 4}}, ["--max-model-len=2048", "--max-num-seqs=4"]),
        ({"context": {"kvCacheType": "fp8", "quantization": "awq"}}, ["--kv-cache-dtype=fp8", "--quantization=awq"]),
        ({"parallelism": {"expert": True}}, ["--enable-expert-parallel"]),
        ({"engine": {"arguments": ["--max-num-batched-tokens", "8192"]}}, ["--max-num-batched-tokens", "8192"]),
    ],
)
def test_what_a_model_asks_for_comes_last(spec: Any, arguments: list[str]) -> None:
    plain = engine(plan(model()))["args"]
    assert engine(plan(model(**spec)))["args"] == [*plain, *arguments]


def test_a_models_tuning_goes_before_its_classs() -> None:
    on = accelerator(offer={"arguments": ["--enforce-eager", "--seed=1"]})
    args = engine(plan(model(engine={"arguments": ["--seed=2"]}), classes=[on]))["args"]
    assert args[-3:] == ["--enforce-eager", "--seed=1", "--seed=2"]


def test_adapters_are_loaded_at_start_from_mounted_files() -> None:
    sources = [
        {"oci": {"image": "registry.example/a:1"}},
        {"persistentVolumeClaim": {"claimName": "adapters", "path": "b"}},
    ]
    adapters = [{"name": "Letters_v2", "source": sources[0]}, {"name": "b.c", "source": sources[1]}]
    container = engine(plan(model(adapters=adapters)))
    at = container["args"].index("--lora-modules")
    assert container["args"][at - 1 : at + 3] == [
        "--enable-lora", "--lora-modules", "Letters_v2=/adapters/Letters_v2", "b.c=/adapters/b.c",
    ]  # fmt: skip
    assert container["volumeMounts"][1:3] == [
        {"name": "adapter-0", "mountPath": "/adapters/Letters_v2", "readOnly": True},
        {"name": "adapter-1", "mountPath": "/adapters/b.c", "readOnly": True, "subPath": "b"},
    ]


def test_the_image_of_the_class_is_used_unless_the_model_names_one() -> None:
    assert engine(plan(model()))["image"] == "registry.example/cpu"
    assert engine(plan(model(engine={"image": "registry.example/mine:1"})))["image"] == "registry.example/mine:1"


def test_memory_is_a_limit_and_devices_are_both() -> None:
    on = gpus(offer={"requests": {"cpu": "8", "memory": "64Gi"}})
    asked = model(accelerators={"classes": ["gpu"], "perReplica": 2})
    assert engine(plan(asked, classes=[on]))["resources"] == {
        "requests": {"cpu": "8", "memory": "64Gi", GPU: "2"},
        "limits": {"memory": "64Gi", GPU: "2"},
    }


EAGER, KEPT = ["--enforce-eager"], ["--kv-cache-memory-bytes", "256M"]
STAGES: dict[str, Any] = {"parallelism": {"pipeline": 2}}
MODE = ['--compilation-config={"mode": 1}']


@pytest.mark.parametrize(
    ("offer", "spec", "refused"),
    [
        ([*EAGER, *KEPT], STAGES, True),
        (KEPT, {**STAGES, "engine": {"arguments": EAGER}}, True),
        ([*EAGER, "--kv_cache_memory_bytes=256M"], STAGES, True),
        ([*EAGER, *KEPT], {}, False),
        ([*EAGER, *KEPT], {"parallelism": {"pipeline": 1}}, False),
        (EAGER, STAGES, False),
        ([*MODE, *KEPT], STAGES, False),
        ([*EAGER, *KEPT], {**STAGES, "engine": {"arguments": ["--no-enforce-eager"]}}, False),
    ],
    ids=str,
)
def test_stages_on_cpus_that_would_end_at_their_first_request_are_not_started(
    offer: list[str], spec: Any, refused: bool
) -> None:
    made = plan(model(**spec), classes=[accelerator(offer={"arguments": offer})])
    assert made.verdict.allowed is not refused
    if refused:
        assert (made.verdict.reason, made.objects) == ("UnsupportedFeature", ())
        assert (
            'take a class that has --compilation-config={"mode": 1} in place of --enforce-eager' in made.verdict.message
        )


def test_stages_on_devices_are_started_as_their_class_says() -> None:
    on = gpus(offer={"arguments": [*EAGER, *KEPT]})
    assert plan(model(accelerators={"classes": ["gpu"]}, **STAGES), classes=[on]).verdict.allowed
