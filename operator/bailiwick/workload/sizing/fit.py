"""Whether a model fits a class of accelerators, on how many devices, and how long its context may be there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.architecture import LatentAttention
from bailiwick.workload.sizing.cache import Cache, growth, pool
from bailiwick.workload.sizing.engine import activations, room
from bailiwick.workload.sizing.parameters import active_share
from bailiwick.workload.sizing.quantization import stored
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.spread import Spread, objection, spreads, stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bailiwick.api.acceleratorclass import AcceleratorClass, ServingEngine
    from bailiwick.workload.sizing.architecture import Architecture
    from bailiwick.workload.sizing.engine import Room
    from bailiwick.workload.sizing.parameters import Parts
    from bailiwick.workload.sizing.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for. None: the model's own length; one sequence; as many devices and spread as is best."""

    length: int | None = None
    sequences: int = 1
    kv_type: str = "auto"
    quantization: str | None = None
    devices: int | None = None
    spread: Spread | None = None
    arguments: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is to be served: one variant of a model."""

    name: str
    architecture: Architecture
    weights: Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Bytes of the fullest device of a replica: what the engine may use, and what of it goes where."""

    usable: int
    weights: int
    overhead: int
    kv_cache: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """One replica on one class. Bytes of ``weights`` and ``kv_cache`` are those of all its devices together.

    ``longest`` is the longest context of ``sequences`` at once that these devices hold, at most the model's own;
    ``tokens`` is what vLLM logs as its KV cache size; ``token_bytes`` is what a further token takes on all devices;
    ``read_bytes`` is what one device reads for one token.
    """

    accelerator: str
    resource: str | None
    devices: int
    nodes: int
    spread: Spread
    weights: int
    kv_cache: int
    token_bytes: int
    sequence_bytes: int
    tokens: int
    length: int
    sequences: int
    longest: int
    kv_type: str
    device: Device
    read_bytes: int
    notes: tuple[str, ...] = field(default=())


def fit(model: Model, accelerator: AcceleratorClass, serving: ServingEngine, request: Request) -> Sizing:
    """The plainest spread on which all asked sequences fit at their full length. Raises UnsizableError."""
    offered = room(accelerator, serving, request.arguments)
    kv_type = offered.kv_type or request.kv_type
    length = _length(model, request)
    tried = tuple(_tried(model, accelerator, offered, request))
    for spread in tried:
        found = _size(model, accelerator, offered, request, spread, length=length, kv_type=kv_type)
        if found is not None:
            return found
    raise _too_small(model, accelerator, offered, request, tried, length=length, kv_type=kv_type)


def _length(model: Model, request: Request) -> int:
    longest = model.architecture.longest
    if request.length is None:
        return longest
    if request.length > longest:
        raise UnsizableError(
            Reason.INVALID_MODEL,
            f"spec.context.maxLength is {request.length}, and model {model.name} was made for {longest} tokens; ask "
            f"for at most {longest}",
        )
    return request.length


def _tried(model: Model, accelerator: AcceleratorClass, offered: Room, request: Request) -> Iterable[Spread]:
    """The spreads to try, the plainest first. Raises UnsizableError where none is possible, or nobody can tell."""
    name = accelerator.metadata.name
    how = stored(model.architecture, asked=request.quantization, known=model.weights.exact)
    if request.devices == 0 and not offered.plain_cpu:
        raise UnsizableError(
            Reason.INVALID_MODEL,
            f"spec.accelerators.perReplica is 0, and accelerator class {name} has devices; set it to auto",
        )
    if offered.plain_cpu:
        if request.spread not in (None, Spread()):
            raise UnsizableError(
                Reason.INVALID_MODEL,
                f"spec.parallelism spreads the model over {request.spread}, and accelerator class {name} is a plain "
                f"CPU; leave it out",
            )
        return (Spread(),)
    if request.spread is not None:
        if why := objection(request.spread, model.architecture, group=how.group, method=how.method):
            raise UnsizableError(Reason.INVALID_MODEL, f"spec.parallelism cannot be: {why}; leave it out, or change it")
        if offered.per_node is not None and request.spread.tensor > offered.per_node:
            raise UnsizableError(
                Reason.INVALID_MODEL,
                f"spec.parallelism.tensor is {request.spread.tensor}, and a node of accelerator class {name} has "
                f"{offered.per_node} devices; lower it and raise spec.parallelism.pipeline",
            )
        return (request.spread,)
    possible = list(spreads(model.architecture, per_node=offered.per_node or 1, group=how.group, method=how.method))
    if offered.per_node is None:
        possible = [each for each in possible if each.devices == 1]
    if request.devices:
        possible = [each for each in possible if each.devices == request.devices]
        if not possible:
            raise UnsizableError(
                Reason.INVALID_MODEL,
                f"spec.accelerators.perReplica is {request.devices}, and model {model.name} cannot be spread evenly "
                f"over so many devices of accelerator class {name}"
                + ("" if offered.per_node else ", which does not say how many a node has (spec.devicesPerNode)")
                + "; set it to auto",
            )
    return possible


def _size(  # noqa: PLR0913 - everything that counts
    model: Model,
    accelerator: AcceleratorClass,
    offered: Room,
    request: Request,
    spread: Spread,
    *,
    length: int,
    kv_type: str,
) -> Sizing | None:
    """The sizing on one spread; None when it does not fit."""
    layers = model.architecture.layers
    cache = _cache(model, offered, spread, kv_type)
    own = -(-request.sequences // spread.data)
    fullest: Device | None = None
    spare = 0
    capacity, longest, tokens = 0, model.architecture.longest, 0
    for stage in stages(len(layers), spread.pipeline):
        here = pool(layers[stage.start : stage.stop], cache)
        device = _device(model, offered, spread, stage)
        if device is None or not here.holds(device.kv_cache, own, length):
            return None
        capacity += device.kv_cache
        longest = here.longest(device.kv_cache, own, up_to=longest)
        held = here.tokens(device.kv_cache, length)
        tokens = min(tokens, held) if fullest else held
        needs = own * here.sequence_bytes(length)
        if fullest is None or device.kv_cache - needs < spare:
            fullest, spare = device, device.kv_cache - needs
    copies, whole = spread.tensor * spread.data, pool(layers, cache)
    assert fullest is not None  # noqa: S101 - there is a stage
    return Sizing(
        accelerator=accelerator.metadata.name,
        resource=next(iter(accelerator.spec.resources), None),
        devices=0 if offered.plain_cpu else spread.devices,
        nodes=spread.nodes(offered.per_node or spread.tensor),
        spread=spread,
        weights=model.weights.total,
        kv_cache=capacity * copies,
        token_bytes=growth(layers, cache) * spread.tensor,
        sequence_bytes=whole.sequence_bytes(length) * spread.tensor,
        tokens=tokens * spread.data,
        length=length,
        sequences=request.sequences,
        longest=longest,
        kv_type=kv_type,
        device=fullest,
        read_bytes=_read(model, spread, whole.sequence_bytes(length)),
        notes=_notes(model, offered, spread),
    )


def _cache(model: Model, offered: Room, spread: Spread, kv_type: str) -> Cache:
    latent = any(isinstance(each, LatentAttention) for each in model.architecture.attentions)
    return Cache(
        kv_type=kv_type,
        number_bytes=model.architecture.number_bytes,
        tensor=spread.tensor,
        step_tokens=offered.step_tokens,
        block=offered.latent_block if latent else offered.block,
    )


def _device(model: Model, offered: Room, spread: Spread, stage: range) -> Device | None:
    """One device of a stage, with what is left for the cache; None when nothing is."""
    weights = sum(_share(model, model.weights.layers[index], index, spread) for index in stage)
    first, last = stage.start == 0, stage.stop == len(model.architecture.layers)
    table = model.weights.embedding if first or (last and model.architecture.tied) else 0
    weights += -(-(table + (model.weights.head if last else 0)) // spread.tensor)
    weights += model.weights.beside if first else 0
    overhead = offered.overhead + activations(model.architecture, spread.tensor, offered.step_tokens)
    left = offered.usable - weights - overhead
    if left <= 0 or (offered.kv_bytes is not None and offered.kv_bytes > left):
        return None
    return Device(
        usable=offered.usable,
        weights=weights,
        overhead=overhead,
        kv_cache=left if offered.kv_bytes is None else offered.kv_bytes,
    )


def _share(model: Model, layer: Parts, index: int, spread: Spread) -> int:
    """Bytes of a layer on one device."""
    tensor = spread.tensor
    attention = model.architecture.layers[index].attention
    # Once every head has a device of its own, further devices repeat heads.
    heads = min(tensor, getattr(attention, "kv_heads", tensor))
    experts = tensor * spread.data if spread.expert else tensor
    return -(-layer.split // tensor) + -(-layer.kv // heads) + layer.whole + -(-layer.experts // experts)


def _read(model: Model, spread: Spread, cached: int) -> int:
    """Bytes that one device reads to write one token of one sequence, stage by stage: active weights and its cache."""
    active = sum(layer.total for layer in model.weights.layers) * active_share(model.architecture)
    head = model.weights.head or model.weights.embedding
    return int((active + head) / spread.tensor) + cached


def _notes(model: Model, offered: Room, spread: Spread) -> tuple[str, ...]:
    told = []
    if not model.weights.exact:
        told.append("weights are computed from config.json; headers of the files make them exact")
    kv_heads = min(
        (getattr(each.attention, "kv_heads", spread.tensor) for each in model.architecture.layers), default=1
    )
    if kv_heads < spread.tensor:
        told.append(f"{kv_heads} key and value heads are repeated on {spread.tensor} devices")
    if offered.per_node is None:
        told.append("the class gives no devicesPerNode, so only one device was tried")
    return tuple(told)


def _too_small(  # noqa: PLR0913 - everything that counts
    model: Model,
    accelerator: AcceleratorClass,
    offered: Room,
    request: Request,
    tried: Sequence[Spread],
    *,
    length: int,
    kv_type: str,
) -> UnsizableError:
    """Why nothing fits: what would, and what to change."""
    name, most = accelerator.metadata.name, tried[-1]
    if offered.per_node is None and most.devices == 1 and not request.spread:
        return UnsizableError(
            Reason.MISSING_FIGURE,
            f"model {model.name} does not fit one device of accelerator class {name}, which does not say how many a "
            f"node has; add spec.devicesPerNode to the class",
        )
    longest = 0
    for spread in tried:
        cache = _cache(model, offered, spread, kv_type)
        own = -(-request.sequences // spread.data)
        fits = model.architecture.longest
        for stage in stages(len(model.architecture.layers), spread.pipeline):
            device = _device(model, offered, spread, stage)
            here = pool(model.architecture.layers[stage.start : stage.stop], cache)
            fits = here.longest(device.kv_cache, own, up_to=fits) if device else 0
        longest = max(longest, fits)
    asked = f"{request.sequences} sequences of {length} tokens" if request.sequences > 1 else f"{length} tokens"
    on = f"{most.devices} devices" if most.devices > 1 else "one device"
    if longest:
        return UnsizableError(
            Reason.DOES_NOT_FIT,
            f"model {model.name} with {asked} does not fit {on} of accelerator class {name}; at most {longest} tokens "
            f"would: set spec.context.maxLength to that, lower maxSequences, or use a class with more memory",
        )
    return UnsizableError(
        Reason.DOES_NOT_FIT,
        f"model {model.name} ({model.weights.total} bytes of weights) does not fit {on} of accelerator class {name} "
        f"({offered.usable} usable bytes each); use a class with more memory, more devices, or a quantized variant",
    )
