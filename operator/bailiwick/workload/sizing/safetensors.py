"""Headers of safetensors files: which tensors there are, and how many bytes each has. The data is never read.

A file is 8 bytes (little endian) with the length of the header, the header (JSON), the data. Source: the format's
README and `safetensors/src/tensor.rs` (0.8), whose checks are repeated here: headers come from whoever made the model.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX_BYTES = 8
LONGEST_HEADER = 100_000_000
"""Bytes. The format's own limit."""
_MOST_TENSORS = 2_000_000
_MOST_DIMENSIONS = 16
_LARGEST = 2**63 - 1

BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one element, by the format's names of types."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: its type by the format's name, its shape, and its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


def header_length(prefix: bytes, *, file: str) -> int:
    """Bytes of the header, from the first 8 of the file. Raises UnsizableError when they cannot be right."""
    if len(prefix) != PREFIX_BYTES:
        raise _malformed(file, "is shorter than 8 bytes")
    length = int.from_bytes(prefix, "little")
    if not 2 <= length <= LONGEST_HEADER:  # noqa: PLR2004 - "{}"
        raise _malformed(file, f"says that its header has {length} bytes; from 2 to {LONGEST_HEADER} are possible")
    return length


def read_header(header: bytes, *, file: str, data_bytes: int | None = None) -> tuple[Tensor, ...]:
    """The tensors of one file, in the order of its data. ``data_bytes`` is what follows the header; None: not known.

    Raises UnsizableError for anything but tensors that fill the data without gap or overlap.
    """
    entries = _json_object(header, file)
    if len(entries) > _MOST_TENSORS:
        raise _malformed(file, f"names {len(entries)} tensors")
    found = [
        (*_entry(name, entry, file), name)
        for name, entry in entries.items()
        if name != "__metadata__"  # free text
    ]
    found.sort(key=lambda each: (each[0], each[0] + each[1].bytes))
    end = 0
    for begin, tensor, name in found:
        if begin != end:
            raise _malformed(file, f"has a gap or an overlap before tensor {_shown(name)}")
        end += tensor.bytes
    if data_bytes is not None and end != data_bytes:
        raise _malformed(file, f"describes {end} bytes of data, and {data_bytes} are there; it is cut off or padded")
    return tuple(tensor for _, tensor, _ in found)


def read_index(raw: bytes, *, file: str) -> Mapping[str, str]:
    """File by tensor, from ``model.safetensors.index.json``. Raises UnsizableError."""
    files = _json_object(raw, file).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise _malformed(file, "has no weight_map")
    for name, where in files.items():
        # A shard lies beside its index: another path would have us read what is not the model's.
        if not isinstance(where, str) or not re.fullmatch(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,250}\.safetensors", where):
            raise _malformed(file, f"puts tensor {_shown(name)} into {_shown(str(where))}, which is no file beside it")
    return files


def whole_model(files: Mapping[str, Sequence[Tensor]], index: Mapping[str, str] | None = None) -> tuple[Tensor, ...]:
    """All tensors of a model, from the headers of its files. With an index, exactly the tensors that it lists."""
    tensors: dict[str, Tensor] = {}
    for file, found in sorted(files.items()):
        for tensor in found:
            if tensor.name in tensors:
                raise _malformed(file, f"repeats tensor {_shown(tensor.name)} of another file")
            if index is not None and index.get(tensor.name) != file:
                raise _malformed(file, f"has tensor {_shown(tensor.name)}, which the index does not put there")
            tensors[tensor.name] = tensor
    missing = [name for name in index or () if name not in tensors]
    if missing and index is not None:
        where = index[missing[0]]
        raise UnsizableError(
            Reason.MALFORMED_WEIGHTS,
            f"{len(missing)} tensors of the index are missing, the first is {_shown(missing[0])} in {where}; give the "
            f"header of every file that the index names",
        )
    if not tensors:
        raise UnsizableError(Reason.MALFORMED_WEIGHTS, "the files hold no tensor; give the model's safetensors files")
    return tuple(tensors.values())


def _entry(name: str, entry: Any, file: str) -> tuple[int, Tensor]:
    if not isinstance(entry, dict):
        raise _malformed(file, f"describes tensor {_shown(name)} by something that is no object")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _malformed(file, f"gives tensor {_shown(name)} the unknown type {_shown(str(dtype))}")
    if not _are_counts(shape) or len(shape) > _MOST_DIMENSIONS:
        raise _malformed(file, f"gives tensor {_shown(name)} a shape that is none")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - begin and end
        raise _malformed(file, f"gives tensor {_shown(name)} data_offsets that are none")
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise _malformed(
            file,
            f"gives tensor {_shown(name)} {offsets[1] - offsets[0]} bytes, and its shape and type need {bits // 8}",
        )
    return offsets[0], Tensor(name, dtype, tuple(shape), bits // 8)


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each <= _LARGEST for each in value)


def _json_object(raw: bytes, file: str) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        raise _malformed(file, "is not JSON, or repeats a key") from None
    if not isinstance(value, dict):
        raise _malformed(file, "is no JSON object")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two entries counts, so there must not be two."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated key")
    return found


def _shown(text: str) -> str:
    return repr(text[:80])


def _malformed(file: str, what: str) -> UnsizableError:
    return UnsizableError(Reason.MALFORMED_WEIGHTS, f"{file} {what}; fetch the file again, and compare its digest")
