"""A hollow library satisfies the loader and does nothing else."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster import elf, hollow
from e2e.cluster.elf import Wanted

SONAME = "libgpu.so.13"
WANTS = [
    Wanted("gpuMultiply", "libgpu.so.13", SONAME),
    Wanted("gpuAdd", "GPU_2", SONAME),
    Wanted("gpuUnversioned"),
    Wanted("GPUAlsoMine"),
    Wanted("printf", "GLIBC_2.2.5", "libc.so.6"),
    Wanted("otherThing"),
]


def library(folder: Path, wants: list[Wanted]) -> Path:
    path = folder / SONAME
    path.write_bytes(hollow.hollow(SONAME, wants))
    return path


def version_of(loaded: ctypes.CDLL, symbol: str, version: str) -> int | None:
    find = ctypes.CDLL(None).dlvsym
    find.restype = ctypes.c_void_p
    find.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    address: int | None = find(loaded._handle, symbol.encode(), version.encode())  # noqa: SLF001
    return address


def test_the_loader_finds_every_symbol_that_is_wanted_of_it(tmp_path: Path) -> None:
    loaded = ctypes.CDLL(str(library(tmp_path, WANTS)))
    for name in ("gpuMultiply", "gpuAdd", "gpuUnversioned", "GPUAlsoMine"):
        assert hasattr(loaded, name)


def test_it_defines_nothing_of_others(tmp_path: Path) -> None:
    loaded = ctypes.CDLL(str(library(tmp_path, WANTS)))
    assert not hasattr(loaded, "otherThing")


def test_symbols_have_the_version_that_is_wanted(tmp_path: Path) -> None:
    loaded = ctypes.CDLL(str(library(tmp_path, WANTS)))
    assert version_of(loaded, "gpuMultiply", "libgpu.so.13")
    assert version_of(loaded, "gpuAdd", "GPU_2")
    assert version_of(loaded, "gpuAdd", "GPU_1") is None


def test_a_library_of_which_nothing_is_wanted_can_be_loaded_too(tmp_path: Path) -> None:
    assert ctypes.CDLL(str(library(tmp_path, []))) is not None


def test_a_call_ends_the_process(tmp_path: Path) -> None:
    call = f"import ctypes; ctypes.CDLL({str(library(tmp_path, WANTS))!r}).gpuAdd()"
    assert subprocess.run([sys.executable, "-c", call], check=False, capture_output=True).returncode < 0


def test_it_reads_what_a_real_library_wants() -> None:
    ctypes.CDLL("libm.so.6")
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    (libm,) = (path for path in mapped if path.endswith("/libm.so.6"))
    with elf.mapped(Path(libm)) as data:
        assert "libc.so.6" in elf.needed(data)
        assert any(want.library == "libc.so.6" and want.version.startswith("GLIBC_") for want in elf.wanted(data))


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01"])
def test_what_is_no_64_bit_elf_file_wants_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with elf.mapped(path) as data:
        assert (elf.needed(data), elf.wanted(data)) == ((), frozenset())
