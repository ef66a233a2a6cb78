"""Headers are read exactly, and whatever is malformed is refused with a reason."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.refusals import UnsizableError
from bailiwick.workload.sizing.safetensors import (
    BITS,
    LONGEST_HEADER,
    Tensor,
    header_length,
    read_header,
    read_index,
    whole_model,
)

TENSOR = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
FILE = "model.safetensors"


def header(value: Any) -> bytes:
    return json.dumps(value).encode()


def refused(why: str, call: Any) -> None:
    with pytest.raises(UnsizableError, match=why) as caught:
        call()
    assert caught.value.problem.reason is Reason.MALFORMED_WEIGHTS


def test_tensors_are_read_in_the_order_of_the_data() -> None:
    entries = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [12, 16]},
        "a": TENSOR,
        "empty": {"dtype": "I8", "shape": [0, 7], "data_offsets": [16, 16]},
    }
    assert read_header(header(entries), file=FILE, data_bytes=16) == (
        Tensor("a", "BF16", (2, 3), 12),
        Tensor("b", "F32", (), 4),
        Tensor("empty", "I8", (0, 7), 0),
    )


def test_numbers_of_four_bits_are_half_a_byte() -> None:
    packed = {"a": {"dtype": "F4", "shape": [2, 3], "data_offsets": [0, 3]}}
    assert read_header(header(packed), file=FILE)[0].bytes == 3


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ([], "no object"),
        ({**TENSOR, "dtype": "BF17"}, "unknown type 'BF17'"),
        ({**TENSOR, "dtype": ["BF16"]}, "unknown type"),
        ({**TENSOR, "shape": [2, -3]}, "a shape that is none"),
        ({**TENSOR, "shape": [2, True]}, "a shape that is none"),
        ({**TENSOR, "shape": [2, 3.0]}, "a shape that is none"),
        ({**TENSOR, "shape": [1] * 17}, "a shape that is none"),
        ({**TENSOR, "shape": [2**63, 2**63]}, "a shape that is none"),
        ({**TENSOR, "shape": [2**62, 2**62]}, "its shape and type need"),
        ({**TENSOR, "shape": [2, 4]}, "12 bytes, and its shape and type need 16"),
        ({**TENSOR, "data_offsets": [12, 0]}, "data_offsets that are none"),
        ({**TENSOR, "data_offsets": [0]}, "data_offsets that are none"),
        ({**TENSOR, "data_offsets": [4, 16]}, "a gap or an overlap"),
        ({"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}, "its shape and type need"),
    ],
)
def test_a_malformed_tensor_is_refused(entry: Any, why: str) -> None:
    refused(why, lambda: read_header(header({"a": entry}), file=FILE))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "no JSON object"),
        (b'{"a": 1', "is not JSON"),
        (b'{"a": {}, "a": {}}', "repeats a key"),
        (b'{"a":' * 100_000, "is not JSON"),
        (b'{"a": {"shape": [' + b"9" * 5000 + b"]}}", "is not JSON"),
    ],
)
def test_a_malformed_header_is_refused(raw: bytes, why: str) -> None:
    refused(why, lambda: read_header(raw, file=FILE))


def test_tensors_that_overlap_are_refused() -> None:
    refused("overlap", lambda: read_header(header({"a": TENSOR, "b": TENSOR}), file=FILE))


def test_a_file_that_is_cut_off_is_refused() -> None:
    refused("12 bytes of data, and 11 are there", lambda: read_header(header({"a": TENSOR}), file=FILE, data_bytes=11))


@pytest.mark.parametrize("length", [0, 1, LONGEST_HEADER + 1, 2**64 - 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_read(length: int) -> None:
    refused("are possible", lambda: header_length(length.to_bytes(8, "little"), file=FILE))


def test_a_file_shorter_than_its_length_is_refused() -> None:
    refused("shorter than 8 bytes", lambda: header_length(b"\x02", file=FILE))


@pytest.mark.parametrize("where", ["../other/model.safetensors", "/etc/passwd", "a/b.safetensors", "model.bin", 7, ""])
def test_an_index_names_only_files_beside_it(where: Any) -> None:
    refused("no file beside it", lambda: read_index(header({"weight_map": {"a": where}}), file="index"))


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}, []])
def test_an_index_without_a_map_is_refused(index: Any) -> None:
    refused("weight_map|no JSON object", lambda: read_index(header(index), file="index"))


def test_shards_are_put_together_by_their_index() -> None:
    one, two = Tensor("a", "BF16", (1,), 2), Tensor("b", "BF16", (1,), 2)
    index = read_index(header({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}), file="index")
    files = {"1.safetensors": [one], "2.safetensors": [two]}
    assert whole_model(files, index) == (one, two)
    refused("1 tensors of the index are missing", lambda: whole_model({"1.safetensors": [one]}, index))
    refused("does not put there", lambda: whole_model({**files, "3.safetensors": [Tensor("c", "I8", (), 1)]}, index))
    refused("repeats tensor", lambda: whole_model({"1.safetensors": [one], "2.safetensors": [one]}))
    refused("hold no tensor", lambda: whole_model({}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
ENTRIES = st.dictionaries(
    st.text(max_size=8),
    JSON | st.fixed_dictionaries({
        "dtype": st.sampled_from([*BITS, "X"]),
        "shape": st.lists(st.integers(-1, 2**64), max_size=4),
        "data_offsets": st.lists(st.integers(-1, 2**64), max_size=3),
    }),
    max_size=4,
)  # fmt: skip


@given(st.binary(max_size=200) | ENTRIES.map(header))
def test_any_header_is_read_or_refused(raw: bytes) -> None:
    """Nothing else is ever raised, and what is read fills the data without gap."""
    with suppress(UnsizableError):
        tensors = read_header(raw, file=FILE)
        assert all(tensor.bytes >= 0 and tensor.dtype in BITS for tensor in tensors)


@given(st.binary(max_size=200) | JSON.map(header))
def test_any_index_is_read_or_refused(raw: bytes) -> None:
    try:
        files = read_index(raw, file="index")
    except UnsizableError:
        return
    assert all("/" not in where for where in files.values())


@given(st.lists(st.tuples(st.sampled_from([name for name in BITS if BITS[name] >= 8]), st.integers(0, 9)), max_size=8))
def test_what_is_written_right_is_read_back(shapes: list[tuple[str, int]]) -> None:
    entries, end = {}, 0
    for index, (dtype, count) in enumerate(shapes):
        size = count * BITS[dtype] // 8
        entries[f"t{index}"] = {"dtype": dtype, "shape": [count], "data_offsets": [end, end + size]}
        end += size
    assert sum(tensor.bytes for tensor in read_header(header(entries), file=FILE, data_bytes=end)) == end
