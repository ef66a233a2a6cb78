"""vLLM: offline, on loopback, from safetensors, without any code of the model's.

Sources: vLLM 0.32 `docs/usage/security.md`, `docs/usage/usage_stats.md`, `vllm/envs.py`, and what a loopback-only
network namespace showed that it tries (docs/serving.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.workload.layout import ADAPTER_PATH, DRAIN_SECONDS, ENGINE_PORT, MODEL_PATH, SCRATCH_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.api.acceleratorclass import ServingEngine
    from bailiwick.api.sovereignmodel import SovereignModel

_OFFLINE = {
    "VLLM_NO_USAGE_STATS": "1",  # literally 1: "true" does not count
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
}
_PLUGINS = "VLLM_PLUGINS"
"""Set to nothing: no plug-in, instead of whatever is installed. A device whose support is one names it."""
_SCRATCH = {"HOME": SCRATCH_PATH, "TMPDIR": SCRATCH_PATH, "XDG_CACHE_HOME": f"{SCRATCH_PATH}/.cache"}


def refusal(model: SovereignModel) -> str | None:
    """What this release cannot start with vLLM yet."""
    parallelism = model.spec.parallelism
    if parallelism and parallelism.data > 1:
        return "data parallelism needs a group of pods, which this release does not make; use replicas"
    return None


def arguments(model: SovereignModel, serving: ServingEngine) -> Sequence[str]:
    """What identifies the model first, then limits, then what the device and the user add."""
    return [
        *("--model", MODEL_PATH, "--served-model-name", model.spec.model.name),
        *("--host", "127.0.0.1", "--port", str(ENGINE_PORT)),
        *("--load-format", "safetensors"),  # "auto" falls back to pickle
        *("--shutdown-timeout", str(DRAIN_SECONDS)),
        *("--disable-access-log-for-endpoints", "/health,/metrics"),
        *_limits(model),
        *_adapters(model),
        *serving.arguments,
        *model.spec.engine.arguments,
    ]


def environment(serving: ServingEngine) -> Sequence[Mapping[str, Any]]:
    """Offline by construction; what the device needs can add to it, not change it."""
    fixed = _OFFLINE | _SCRATCH
    added = [each for each in serving.environment if each.name not in fixed]
    return [
        *({"name": name, "value": value} for name, value in sorted(fixed.items())),
        *([] if any(each.name == _PLUGINS for each in added) else [{"name": _PLUGINS}]),
        # Otherwise the engine finds its own address by asking the network for the way to a public one.
        {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        *({"name": each.name, "value": each.value} if each.value else {"name": each.name} for each in added),
    ]


def _limits(model: SovereignModel) -> Iterator[str]:
    context, parallelism = model.spec.context, model.spec.parallelism
    asked = {
        "--max-model-len": context.max_length,
        "--max-num-seqs": context.max_sequences,
        "--kv-cache-dtype": context.kv_cache_type,
        "--quantization": context.quantization,
        "--tensor-parallel-size": parallelism.tensor if parallelism else None,
        "--pipeline-parallel-size": parallelism.pipeline if parallelism else None,
    }
    for flag, value in asked.items():
        if value is not None:
            yield from (flag, str(value))
    if parallelism and parallelism.expert:
        yield "--enable-expert-parallel"


def _adapters(model: SovereignModel) -> Iterator[str]:
    if model.spec.adapters:
        yield from ("--enable-lora", "--lora-modules")
        yield from (f"{adapter.name}={ADAPTER_PATH}/{adapter.name}" for adapter in model.spec.adapters)
