"""Bytes of weights in the memory of devices: from the headers of the files, or else from the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

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


Part = Literal["layers", "experts", "embedding", "head", "beside"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Bytes on disk of the tensors of one part and type: of matrices, and of ``others`` such as norms and biases.

    Of ``layers`` and ``experts``, each of the layers from ``first`` to ``last`` has as many; elsewhere both are 0.
    """

    part: Part
    first: int = 0
    last: int = 0
    dtype: str
    matrices: int
    others: int

    @property
    def bytes(self) -> int:
        """Of all its layers together."""
        return (self.matrices + self.others) * (self.last - self.first + 1)

    def continued_by(self, after: Group) -> bool:
        """Whether ``after`` is the next layer, and alike."""
        return replace(self, first=after.first, last=after.last) == after and self.last + 1 == after.first


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
    return weigh_groups(
        architecture, None if tensors is None else group(tensors), asked_quantization=asked_quantization
    )


def weigh_groups(
    architecture: Architecture, groups: Sequence[Group] | None, *, asked_quantization: str | None = None
) -> Weights:
    """The same from what `group` made of the tensors."""
    how = stored(architecture, asked=asked_quantization, known=groups is not None)
    if groups is not None:
        return _from_groups(architecture, groups, how)
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


def group(tensors: Sequence[Tensor]) -> tuple[Group, ...]:
    """Bytes on disk by part and type; layers that are alike stand together. As much as sizing needs, and no names."""
    sums: dict[tuple[Part, int, str], list[int]] = {}
    for tensor in tensors:
        part, layer = _part(tensor.name)
        held = sums.setdefault((part, layer, tensor.dtype), [0, 0])
        held[0 if len(tensor.shape) > 1 else 1] += tensor.bytes
    found: list[Group] = []
    for (part, layer, dtype), (matrices, others) in sorted(
        sums.items(), key=lambda each: (each[0][0], *each[0][2:], each[0][1])
    ):
        last = found[-1] if found else None
        here = Group(part=part, first=layer, last=layer, dtype=dtype, matrices=matrices, others=others)
        if last and last.continued_by(here):
            found[-1] = replace(last, last=layer)
        else:
            found.append(here)
    return tuple(found)


def _part(name: str) -> tuple[Part, int]:
    """Where a tensor belongs; the layer is 0 outside of layers."""
    if match := _LAYER.match(name):
        return ("experts" if _EXPERTS.search(name) and "shared" not in name else "layers"), int(match[1])
    if _EMBEDDING.fullmatch(name):
        return "embedding", 0
    return ("head" if _HEAD.fullmatch(name) else "beside"), 0


def _from_groups(architecture: Architecture, groups: Sequence[Group], how: Stored) -> Weights:
    count = len(architecture.layers)
    by_layer = {"layers": [0] * count, "experts": [0] * count}
    once = {"embedding": 0, "head": 0, "beside": 0}
    by_type: dict[str, int] = {}
    for each in groups:
        by_type[each.dtype] = by_type.get(each.dtype, 0) + each.bytes
        held = _held(each, architecture, how)
        if each.part in once:
            once[each.part] += held
            continue
        for index in range(each.first, min(each.last + 1, count)):  # those beyond predict further tokens: not loaded
            by_layer[each.part][index] += held
    weights = Weights(
        layers=tuple(
            _divided(architecture, index, by_layer["layers"][index], by_layer["experts"][index])
            for index in range(count)
        ),
        embedding=once["embedding"],
        head=0 if architecture.tied else once["head"],
        beside=once["beside"],
        exact=True,
        by_type=dict(sorted(by_type.items())),
    )
    _agree(architecture, weights, how)
    return weights


def _held(group: Group, architecture: Architecture, how: Stored) -> int:
    """Bytes in memory of what lies on disk: plain numbers are turned into the type that is computed in."""
    if how.method is not None and not how.online:
        return group.matrices + group.others
    if group.dtype not in _FLOATS:
        raise UnsizableError(
            Reason.UNKNOWN_QUANTIZATION,
            f"tensors of {group.part} are of type {group.dtype}, and config.json has no quantization_config; give "
            f"the configuration that the quantized model was published with",
        )
    in_layers = group.part in ("layers", "experts")
    return sum(
        int(
            held
            * 8
            // BITS[group.dtype]
            * how.byte_of(matrix=matrix and in_layers, number_bytes=architecture.number_bytes)
        )
        for held, matrix in ((group.matrices, True), (group.others, False))
    )


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
