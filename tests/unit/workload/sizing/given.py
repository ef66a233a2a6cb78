"""Models, classes and requests for the tests of sizing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.workload.sizing.choice import Offer
from bailiwick.workload.sizing.families import read_architecture
from bailiwick.workload.sizing.fit import Model, Request, Sizing, fit
from bailiwick.workload.sizing.weights import weigh

PUBLIC: dict[str, dict[str, Any]] = {
    each["name"].partition("/")[2]: each["config"]
    for each in yaml.safe_load(Path(__file__).with_name("models.yaml").read_text())
}
LLAMA_8B: dict[str, Any] = {
    "model_type": "llama", "dtype": "bfloat16", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "tie_word_embeddings": False,
}  # fmt: skip


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A configuration with some values changed, and those that are None left out."""
    return {key: value for key, value in {**config, **changes}.items() if value is not None}


def model(config: dict[str, Any], name: str = "m", quantization: str | None = None) -> Model:
    architecture = read_architecture(config)
    return Model(name=name, architecture=architecture, weights=weigh(architecture, asked_quantization=quantization))


def accelerator(name: str = "gpu", arguments: list[str] | None = None, **spec: Any) -> AcceleratorClass:
    """A class of GPUs; None leaves a figure out."""
    figures = {
        "resources": ["vendor.example/gpu"], "memory": "80G", "bandwidth": "3000G", "thermalDesignPower": 700,
        "devicesPerNode": 8, **spec,
    }  # fmt: skip
    engines = figures.pop("engines", [{"name": "vllm", "image": "i", "arguments": arguments or []}])
    given = {key: value for key, value in figures.items() if value is not None}
    return AcceleratorClass.read({"metadata": {"name": name}, "spec": {**given, "engines": engines}})


def cpu(memory: str | None = "96Gi", *arguments: str) -> AcceleratorClass:
    """A class of plain CPUs."""
    requests = {"memory": memory} if memory else {}
    return AcceleratorClass.read(
        {
            "metadata": {"name": "cpu"},
            "spec": {"engines": [{"name": "vllm", "image": "i", "requests": requests, "arguments": list(arguments)}]},
        }
    )


def offer(accelerator: AcceleratorClass) -> Offer:
    return Offer(accelerator=accelerator, serving=accelerator.spec.engines[0])


def sized(what: Model | dict[str, Any], on: AcceleratorClass, **request: Any) -> Sizing:
    found = what if isinstance(what, Model) else model(what, quantization=request.get("quantization"))
    return fit(found, on, on.spec.engines[0], Request(**request))
