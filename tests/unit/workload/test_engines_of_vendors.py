"""How the servers of vendors are started, and vLLM with their plug-ins: from what they publish, for none ran here."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.workload.given import GPU, IMAGE, engine, gpus, model, plan, pod

if TYPE_CHECKING:
    from bailiwick.workload.plan import WorkloadPlan

RBLN = {"name": "VLLM_PLUGINS", "value": "rbln,rbln_custom_ops,rbln_new_models"}
OPTIMUM = {"arguments": ["--model-impl=transformers"], "environment": [RBLN]}
ITSELF = {"arguments": ["--model-impl", "vllm"], "environment": [RBLN]}
MESH = {"environment": [{"name": "VLLM_PLUGINS", "value": "tt"}, {"name": "MESH_DEVICE", "value": "T3K"}]}


def served(name: str, offer: Any = None, **spec: Any) -> WorkloadPlan:
    """The plan for a model on devices whose class offers one engine."""
    arguments = spec.pop("arguments", [])
    accelerators = {"classes": ["gpu"], "perReplica": spec.pop("devices", "auto")}
    asked = model(**{"engine": {"name": name, "arguments": arguments}, "accelerators": accelerators, **spec})
    return plan(asked, classes=[gpus(offer={"name": name, **(offer or {})})])


def test_rebellions_compiler_is_told_over_how_many_devices_and_vllm_nothing() -> None:
    args = engine(served("vllm", OPTIMUM, devices=4))["args"]
    assert "--rbln-num-devices-per-local-rank=4" in args
    assert not [each for each in args if "tensor-parallel" in each]


def test_with_vllms_own_implementation_its_own_number_counts() -> None:
    args = engine(served("vllm", ITSELF, parallelism={"tensor": 4, "pipeline": 2}))["args"]
    assert {"--tensor-parallel-size=4", "--pipeline-parallel-size=2"} <= set(args)


def test_one_device_needs_no_number() -> None:
    args = engine(served("vllm", OPTIMUM, devices=1))["args"]
    assert not [each for each in args if "rbln" in each or "parallel" in each]


def test_a_mesh_is_what_its_class_says() -> None:
    made = served("vllm", MESH, devices=4)
    assert engine(made)["resources"]["limits"] == {GPU: "4"}
    assert not [each for each in engine(made)["args"] if "parallel" in each]


@pytest.mark.parametrize(
    ("name", "offer", "spec", "reason", "says"),
    [
        ("vllm", {"environment": [RBLN]}, {}, "ForbiddenArgument", "does not say --model-impl=transformers or"),
        ("vllm", {**OPTIMUM, "arguments": ["--model-impl"]}, {}, "ForbiddenArgument", "nobody knows how"),
        ("vllm", OPTIMUM, {"arguments": ["--model-impl=vllm"]}, "ForbiddenArgument", "is for accelerator class"),
        ("vllm", OPTIMUM, {"parallelism": {"pipeline": 2}}, "UnsupportedFeature", "spec.parallelism.pipeline is"),
        ("vllm", OPTIMUM, {"parallelism": {"expert": True}}, "UnsupportedFeature", "spec.parallelism.expert is"),
        ("vllm", ITSELF, {"adapters": [{"name": "a", "source": IMAGE}]}, "UnsupportedFeature", "spec.adapters is"),
        ("vllm", MESH, {"parallelism": {"pipeline": 2}}, "UnsupportedFeature", "spec.parallelism.pipeline is"),
        ("furiosa-llm", {}, {"parallelism": {"tensor": 2}}, "UnsupportedFeature", "spec.parallelism.tensor is nothing"),
        ("furiosa-llm", {}, {"context": {"quantization": "fp8"}}, "UnsupportedFeature", "compile the model so"),
        ("furiosa-llm", {}, {"adapters": [{"name": "a", "source": IMAGE}]}, "UnsupportedFeature", "spec.adapters is"),
        ("furiosa-llm", {}, {"arguments": ["--seed", "1"]}, "ForbiddenArgument", "'--seed' in spec.engine.arguments"),
        ("furiosa-llm", {}, {"arguments": ["evil/model"]}, "ForbiddenArgument", "is a value that no option takes"),
        ("furiosa-llm", {}, {"arguments": ["-O2"]}, "ForbiddenArgument", "'-O2' in spec.engine.arguments is an"),
        ("furiosa-llm", {"arguments": ["--host=::"]}, {}, "ForbiddenArgument", "argument --host=:: of engine"),
        ("furiosa-llm", {"arguments": ["--enable-payload"]}, {}, "ForbiddenArgument", "it writes prompts"),
        (
            "furiosa-llm", {"environment": [{"name": "HF_HUB_OFFLINE", "value": "0"}]}, {}, "ForbiddenArgument",
            "variable HF_HUB_OFFLINE of",
        ),
        ("hailo", {}, {"arguments": ["--seed"]}, "UnsupportedFeature", "spec.engine.arguments is nothing"),
        ("hailo", {}, {"context": {"maxLength": 8}}, "UnsupportedFeature", "spec.context is nothing"),
        ("hailo", {}, {"devices": 2}, "UnsupportedFeature", "spec.accelerators.perReplica is nothing"),
        ("hailo", {"arguments": ["x"]}, {}, "ForbiddenArgument", "argument x of engine hailo"),
        (
            "hailo", {"environment": [{"name": "XDG_CONFIG_DIRS", "value": "/model"}]}, {}, "ForbiddenArgument",
            "variable XDG_CONFIG_DIRS of",
        ),
    ],
)  # fmt: skip
def test_what_a_vendors_engine_cannot_do_is_refused_with_a_remedy(
    name: str, offer: Any, spec: Any, reason: str, says: str
) -> None:
    made = served(name, offer, **spec)
    assert (made.verdict.allowed, made.verdict.reason) == (False, reason), made.verdict
    assert says in made.verdict.message
    assert ";" in made.verdict.message, "a remedy follows"


def test_furiosa_llm_serves_a_folder_on_loopback_to_no_other_origin() -> None:
    container = engine(served("furiosa-llm", context={"maxLength": 4096, "maxSequences": 8}))
    told = dict(pairwise(container["args"]))
    assert container["command"] == ["furiosa-llm", "serve"]
    assert container["args"][0] == "/model"
    assert (told["--host"], told["--port"], told["--allowed-origins"]) == ("127.0.0.1", "8000", "[]")
    assert {"--max-model-len=4096", "--max-concurrency=8"} <= set(container["args"])
    assert container["args"][-2:] == ["--allowed-media-domains", "none.invalid"], "a list takes all that follows"


def test_furiosa_llm_takes_its_own_tuning_alone() -> None:
    tuning = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--no-enable-prefix-caching"]
    args = engine(served("furiosa-llm", arguments=tuning))["args"]
    assert args[-6:-2] == tuning


def test_hailo_ollama_is_given_a_configuration_that_closes_it() -> None:
    made = served("hailo")
    container = engine(made)
    told = {each["name"]: each["value"] for each in container["env"]}
    configuration = json.loads(told["HAILO_OLLAMA_CONFIG"])
    assert configuration["server"] == {"host": "127.0.0.1", "port": 8000}
    assert configuration["library"]["host"].endswith(".invalid"), "it downloads models from there"
    assert told["XDG_CONFIG_HOME"] == "/tmp/.config"  # noqa: S108 - in the container
    assert told["XDG_DATA_HOME"] == "/model"
    assert container["command"][:2] == ["/bin/sh", "-c"]
    assert container["command"][2].endswith("&& exec hailo-ollama"), "or nobody would tell it to stop"
    assert container["args"] == []


def test_the_gate_asks_hailo_ollama_for_its_health_where_it_tells_it() -> None:
    gate = next(each for each in pod(served("hailo"))["initContainers"] if each["name"] == "gate")
    assert gate["env"] == [{"name": "ENGINE_HEALTH", "value": "/api/version"}]
