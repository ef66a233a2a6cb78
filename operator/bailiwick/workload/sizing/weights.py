"""Bytes of weights in the memory of devices: from the headers of the files, or else from the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.parameters import Parts, embedding_parameters, layer_parameters
from bailiwick.workload.sizing.quantization import Stored, stored
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.safetensors import BITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.workload.sizing.architecture import Architecture
    from bailiwick.workload.sizing.safetensors import Tensor

_LAYER = re.compile(r"(?:model\.|language_model\.|decoder\.|transformer\.)*(?:layers|h)\.([0-9]{1,5})\.")
_EMBEDDING = re.compile(r"(?:.*\.)?(?:embed_tokens|wte)\.weight")
_HEAD = re.compile(r"(?:.*\.)?lm_head\.weight")
_EXPERTS = re.compile(r"(?:^|[._])experts?\.")
_TOLERATED = 0.1
"""How far files may be from their configuration. Norms, biases and scales are not counted and stay far below."""
_FLOATS = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Bytes in memory. ``exact`` ones come from headers. ``beside`` is what is not the decoder, such as an image tower.

    ``by_type`` are the bytes on disk by the format's names of types; empty when there are no files to tell.
    """

    layers: tuple[Parts, ...]
    embedding: int
    head: int
    beside: int = 0
    exact: bool
    by_type: Mapping[str, int]

    @property
    def total(self) -> int:
        """Bytes of one copy."""
        return sum(layer.total for layer in self.layers) + self.embedding + self.head + self.beside


def weigh(
    architecture: Architecture, tensors: Sequence[Tensor] | None = None, *, asked_quantization: str | None = None
) -> Weights:
    """What the model weighs. Without ``tensors`` the configuration must tell it. Raises UnsizableError."""
    how = stored(architecture, asked=asked_quantization, known=tensors is not None)
    if tensors is not None:
        return _from_headers(architecture, tensors, how)
    if architecture.wrapped:
        raise UnsizableError(
            Reason.MISSING_FIGURE,
            f"the model has parts beside its {architecture.model_type} decoder, which config.json does not measure; "
            f"give the headers of its safetensors files",
        )
    table = embedding_parameters(architecture) * architecture.number_bytes
    return Weights(
        layers=tuple(how.bytes_of(layer_parameters(architecture, layer)) for layer in architecture.layers),
        embedding=table,
        head=0 if architecture.tied else table,
        exact=False,
        by_type={},
    )


def _from_headers(architecture: Architecture, tensors: Sequence[Tensor], how: Stored) -> Weights:
    count = len(architecture.layers)
    plain, experts = [0] * count, [0] * count
    embedding = head = beside = 0
    by_type: dict[str, int] = {}
    for tensor in tensors:
        by_type[tensor.dtype] = by_type.get(tensor.dtype, 0) + tensor.bytes
        held = _held(tensor, architecture, how)
        if match := _LAYER.match(tensor.name):
            index = int(match[1])
            if index < count:  # those beyond predict further tokens, and are not loaded
                (experts if _EXPERTS.search(tensor.name) and "shared" not in tensor.name else plain)[index] += held
        elif _EMBEDDING.fullmatch(tensor.name):
            embedding += held
        elif _HEAD.fullmatch(tensor.name):
            head += 0 if architecture.tied else held
        else:
            beside += held
    weights = Weights(
        layers=tuple(_divided(architecture, index, plain[index], experts[index]) for index in range(count)),
        embedding=embedding,
        head=head,
        beside=beside,
        exact=True,
        by_type=dict(sorted(by_type.items())),
    )
    _agree(architecture, weights, how)
    return weights


def _held(tensor: Tensor, architecture: Architecture, how: Stored) -> int:
    """Bytes in memory of what lies on disk: plain numbers are turned into the type that is computed in."""
    if how.method is not None and not how.online:
        return tensor.bytes
    if tensor.dtype not in _FLOATS:
        raise UnsizableError(
            Reason.UNKNOWN_QUANTIZATION,
            f"tensor {tensor.name[:80]} is of type {tensor.dtype}, and config.json has no quantization_config; give "
            f"the configuration that the quantized model was published with",
        )
    numbers = tensor.bytes * 8 // BITS[tensor.dtype]
    matrix = len(tensor.shape) > 1 and _LAYER.match(tensor.name)
    return int(numbers * how.byte_of(matrix=bool(matrix), number_bytes=architecture.number_bytes))


def _divided(architecture: Architecture, index: int, plain: int, experts: int) -> Parts:
    """The bytes of one layer, divided as its parameters are."""
    counted = layer_parameters(architecture, architecture.layers[index])
    rest = counted.total - counted.experts
    kv, whole = (plain * amount // rest if rest else 0 for amount in (counted.kv, counted.whole))
    return Parts(split=plain - kv - whole, kv=kv, whole=whole, experts=experts)


def _agree(architecture: Architecture, weights: Weights, how: Stored) -> None:
    if empty := next((index for index, layer in enumerate(weights.layers) if not layer.total), None):
        raise UnsizableError(
            Reason.MALFORMED_WEIGHTS,
            f"config.json has {len(architecture.layers)} layers, and the files have nothing for layer {empty}; give "
            f"the header of every file of the model",
        )
    expected = sum(how.bytes_of(layer_parameters(architecture, layer)).total for layer in architecture.layers)
    there = sum(layer.total for layer in weights.layers)
    if how.measured and abs(there - expected) > _TOLERATED * expected:
        raise UnsizableError(
            Reason.MALFORMED_WEIGHTS,
            f"the layers of the files have {there} bytes, and those that config.json describes {expected}; give "
            f"config.json and files of one model",
        )
