"""What the engine keeps for itself: how much of a device vLLM takes, and what of that is neither weights nor cache.

Estimates are constants here, with where they come from; options of the class or the model that say otherwise win.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.api.quantities import amount
from bailiwick.residency.verdict import Reason
from bailiwick.workload.arguments import option_of
from bailiwick.workload.sizing.architecture import Experts, Feed
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass, ServingEngine
    from bailiwick.workload.sizing.architecture import Architecture

GIB = 1 << 30
UTILIZATION = Decimal("0.92")
"""Part of a device's memory that vLLM takes (`--gpu-memory-utilization`). Source: vLLM 0.32, `vllm/config/cache.py`."""
STEP_TOKENS_ON_DEVICES = 16384
STEP_TOKENS_ON_CPU = 2048
"""Tokens of one step (`--max-num-batched-tokens`): the largest of vLLM's defaults for devices of any size, so that a
larger device never seems to hold less. Source: vLLM 0.32, `EngineArgs.get_batch_defaults`."""
BLOCK_ON_DEVICES = 16
BLOCK_ON_CPU = 128
LATENT_BLOCK_ON_CPU = 16
"""Tokens of a block of the cache (`--block-size`), as vLLM 0.32 chose them when it was run on a CPU."""
DEVICE_OVERHEAD = 2 * GIB
"""Bytes on each device for the runtime's context, collectives and captured graphs: 1 to 3 GiB are usual. Unchecked."""
CPU_OVERHEAD = 3 * GIB // 2
"""Bytes of the process on a CPU beside weights and cache. Measured with vLLM 0.32 and a model of 0.3 MB: 1.5 GB."""

_UNCOUNTED = {
    "cpu-offload-gb": "weights on the host",
    "speculative-config": "a second model",
    "mamba-cache-dtype": "states of another type",
    "mamba-ssm-cache-dtype": "states of another type",
    "mamba-block-size": "blocks of another size",
    "decode-context-parallel-size": "a cache that is divided by position",
    "prefill-context-parallel-size": "a cache that is divided by position",
    "kv-cache-dtype-skip-layers": "layers with a cache of another type",
    "quantization": "another quantization",
    "data-parallel-size": "further copies",
    "num-gpu-blocks-override": "a cache of another size",
    "enable-lora": "adapters",
    "max-loras": "adapters",
    "max-model-len": "another context",
    "dtype": "numbers of another size",
    "disable-hybrid-kv-cache-manager": "windows that keep everything",
    "disable-sliding-window": "another context",
    "enable-expert-parallel": "experts that are spread",
    "enable-eplb": "further experts",
}
"""Options that change what is counted here, and what by."""
_READ = frozenset({
    "gpu-memory-utilization", "device-memory-utilization", "kv-cache-memory-bytes", "kv-cache-dtype", "block-size",
    "max-num-batched-tokens",
})  # fmt: skip
"""Options that are read here."""
_BINARY = {"K": 10, "M": 20, "G": 30, "T": 40}
_DECIMAL = {"k": 3, "m": 6, "g": 9, "t": 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What one device offers: bytes that the engine may use, and what limits it.

    ``kv_bytes`` is a cache of a fixed size; None: whatever is left. ``per_node`` None: not known.
    """

    usable: int
    overhead: int
    kv_bytes: int | None
    step_tokens: int
    block: int
    latent_block: int
    per_node: int | None
    kv_type: str | None
    plain_cpu: bool


def room(accelerator: AcceleratorClass, serving: ServingEngine, arguments: Sequence[str]) -> Room:
    """What a device of the class offers to vLLM with the model's further ``arguments``. Raises UnsizableError."""
    name = accelerator.metadata.name
    if serving.name is not EngineName.VLLM:
        raise UnsizableError(
            Reason.UNSUPPORTED_ENGINE,
            f"how engine {serving.name} of accelerator class {name} uses memory is not known; give "
            f"spec.accelerators.perReplica, as the vendor recommends",
        )
    options = _options([*serving.arguments, *arguments])  # of two, the engine takes the last
    for option in options.keys() - _READ - _UNCOUNTED.keys():
        if whole := next((each for each in sorted(_READ | _UNCOUNTED.keys()) if each.startswith(option)), None):
            raise UnsizableError(
                Reason.FORBIDDEN_ARGUMENT, f"option --{option} may stand for --{whole}; write out every option"
            )
    if counted := next((option for option in _UNCOUNTED if option in options), None):
        raise UnsizableError(
            Reason.UNSUPPORTED_FEATURE,
            f"option --{counted} brings {_UNCOUNTED[counted]}, which is not counted; leave it out, or count "
            f"yourself and give spec.accelerators.perReplica and spec.parallelism",
        )
    plain_cpu = not accelerator.spec.resources and not accelerator.spec.device_classes
    memory = serving.requests.get("memory") if plain_cpu else accelerator.spec.memory
    if memory is None:
        where = "spec.engines[].requests.memory" if plain_cpu else "spec.memory"
        raise UnsizableError(
            Reason.MISSING_FIGURE, f"accelerator class {name} does not say how much memory it has; add {where}"
        )
    kv_bytes = options.get("kv-cache-memory-bytes")
    if plain_cpu and kv_bytes is None:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"accelerator class {name} is a plain CPU and does not say how large the KV cache is; add "
            f"--kv-cache-memory-bytes to its arguments",
        )
    share = _share(options) if not plain_cpu else Decimal(1)
    return Room(
        usable=int(amount(memory) * share),
        overhead=CPU_OVERHEAD if plain_cpu else DEVICE_OVERHEAD,
        kv_bytes=_number("kv-cache-memory-bytes", kv_bytes) if kv_bytes is not None else None,
        step_tokens=_given(
            options, "max-num-batched-tokens", STEP_TOKENS_ON_CPU if plain_cpu else STEP_TOKENS_ON_DEVICES
        ),
        block=_given(options, "block-size", BLOCK_ON_CPU if plain_cpu else BLOCK_ON_DEVICES),
        latent_block=_given(options, "block-size", LATENT_BLOCK_ON_CPU if plain_cpu else BLOCK_ON_DEVICES),
        per_node=1 if plain_cpu else accelerator.spec.devices_per_node,
        kv_type=options.get("kv-cache-dtype"),
        plain_cpu=plain_cpu,
    )


def activations(architecture: Architecture, tensor: int, step_tokens: int) -> int:
    """Bytes that a step's intermediate values take on one device: four vectors, and the widest layer's two halves."""
    widest = max((_width(layer.feed) for layer in architecture.layers), default=0)
    return step_tokens * architecture.number_bytes * (4 * architecture.hidden + -(-2 * widest // tensor))


def _width(feed: Feed | Experts | None) -> int:
    match feed:
        case Feed(width=width):
            return width
        case Experts() as experts:
            return experts.active * experts.width + experts.shared_width
    return 0


def _options(arguments: Sequence[str]) -> Mapping[str, str]:
    """The value of each long option; of one that is given twice, the last."""
    found: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        option = option_of(argument)
        if option is None:
            continue
        _, equals, value = argument.partition("=")
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        found[option] = value if equals else following if option_of(following) is None else ""
    return found


def _share(options: Mapping[str, str]) -> Decimal:
    given = options.get("device-memory-utilization", options.get("gpu-memory-utilization"))
    if given is None:
        return UTILIZATION
    if not re.fullmatch(r"0?\.[0-9]{1,6}|1(\.0{1,6})?", given) or not Decimal(given):
        raise _not_a_number("gpu-memory-utilization", given)
    return Decimal(given)


def _given(options: Mapping[str, str], option: str, default: int) -> int:
    return _number(option, options[option]) if option in options else default


def _number(option: str, text: str) -> int:
    """As vLLM reads it: 1k is 1000 and 1K is 1024 (`vllm/utils/argparse_utils.py`)."""
    match = re.fullmatch(r"([0-9]{1,18})([kKmMgGtT]?)", text)
    if not match:
        raise _not_a_number(option, text)
    number, suffix = int(match[1]), match[2]
    if not number:
        raise _not_a_number(option, text)
    return number << _BINARY[suffix] if suffix in _BINARY else number * 10 ** _DECIMAL.get(suffix, 0)


def _not_a_number(option: str, text: str) -> UnsizableError:
    return UnsizableError(
        Reason.FORBIDDEN_ARGUMENT,
        f"the value {text[:40]!r} of option --{option} is not understood; give a positive number",
    )
