"""Shared libraries with names and no code, for a program that links against libraries it never calls.

The ordinary torch wheel is linked against eleven CUDA libraries of 2.4 GB together and cannot be imported without
them, although an engine on a CPU never calls one. A hollow library has the same name and defines the symbols that the
wheel asks for, so the loader is content; a call into one ends the process.

Layout of the files: System V ABI, chapters 4 and 5 (ELF64, little endian); symbol versions: Linux Standard Base, 10.7.
"""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import TYPE_CHECKING

from e2e.cluster.elf import SYMBOL, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DT_NULL, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_SONAME = 0, 4, 5, 6, 10, 11, 14
DT_VERSYM, DT_VERDEF, DT_VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD
PT_LOAD, PT_DYNAMIC = 1, 2
GLOBAL_SYMBOL = 0x10  # binding global, of no type
SOME_SECTION = 1  # any index but 0, which would mean undefined
HEADERS = 64 + 2 * 56
PAGE = 0x1000


def hollow(soname: str, wants: Iterable[Wanted]) -> bytes:
    """A library called `soname` that defines those of the symbols that are wanted from it.

    A versioned symbol names its library; an unversioned one is taken when it begins like the library's own name
    (`cuFile…` for libcufile.so.0).
    """
    prefix = soname.removeprefix("lib").partition(".so")[0].casefold()
    mine = {
        Wanted(want.symbol, want.version)
        for want in wants
        if want.library == soname or (not want.library and want.symbol.casefold().startswith(prefix))
    }
    return _shared_object(soname, sorted(mine))


class _Strings:
    """A string table: bytes that begin with NUL, and where each string stands in them."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        self.data += text.encode() + b"\0"
        return len(self.data) - len(text.encode()) - 1


def _shared_object(soname: str, symbols: Sequence[Wanted]) -> bytes:
    """One segment: headers, strings, symbols, hash table, versions, dynamic section, and a word that all symbols name.

    The loader relocates the dynamic section in place, so the segment is writable; nothing in it can be executed.
    """
    versions = sorted({symbol.version for symbol in symbols if symbol.version})
    strings = _Strings()
    name_of_file = strings.add(soname)
    names = [strings.add(symbol.symbol) for symbol in symbols]
    definitions = _version_definitions([soname, *versions], [name_of_file, *(strings.add(name) for name in versions)])
    # Number 1 is the file's own base version, which unversioned symbols carry.
    numbers = [0, *(versions.index(symbol.version) + 2 if symbol.version else 1 for symbol in symbols)]
    # One bucket, whose chain runs through all symbols: slow to search, small to write.
    chain = [0, *range(2, len(symbols) + 1), 0][: len(symbols) + 1]
    parts = [
        bytes(strings.data),
        bytes(SYMBOL.size * (len(symbols) + 1)),
        struct.pack(f"<{3 + len(chain)}I", 1, len(symbols) + 1, 1 if symbols else 0, *chain),
        struct.pack(f"<{len(numbers)}H", *numbers),
        definitions,
    ]
    parts = [part + bytes(-len(part) % 8) for part in parts]
    at_strings, at_symbols, at_hash, at_numbers, at_definitions, dynamic = accumulate(
        (HEADERS, *(len(part) for part in parts))
    )
    entries = (
        (DT_SONAME, name_of_file), (DT_HASH, at_hash), (DT_STRTAB, at_strings), (DT_SYMTAB, at_symbols),
        (DT_STRSZ, len(strings.data)), (DT_SYMENT, SYMBOL.size), (DT_VERSYM, at_numbers),
        (DT_VERDEF, at_definitions), (DT_VERDEFNUM, len(versions) + 1), (DT_NULL, 0),
    )  # fmt: skip
    target = dynamic + 16 * len(entries)
    table = [bytes(SYMBOL.size), *(SYMBOL.pack(name, GLOBAL_SYMBOL, 0, SOME_SECTION, target, 8) for name in names)]
    parts[1] = b"".join(table)
    body = b"".join((*parts, *(struct.pack("<QQ", *entry) for entry in entries), bytes(8)))
    return _headers(size=HEADERS + len(body), dynamic=dynamic, dynamic_size=16 * len(entries)) + body


def _headers(*, size: int, dynamic: int, dynamic_size: int) -> bytes:
    """The ELF header of an x86-64 shared object and its two program headers."""
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", PT_LOAD, 6, 0, 0, 0, size, size, PAGE)
    segment = struct.pack("<IIQQQQQQ", PT_DYNAMIC, 6, dynamic, dynamic, dynamic, dynamic_size, dynamic_size, 8)
    return elf + load + segment


def _version_definitions(names: Sequence[str], positions: Sequence[int]) -> bytes:
    """Version definitions, the first of them the file's own (flag 1)."""
    last = len(names) - 1
    return b"".join(
        struct.pack("<HHHHIII", 1, int(number == 0), number + 1, 1, _elf_hash(name), 20, 0 if number == last else 28)
        + struct.pack("<II", position, 0)
        for number, (name, position) in enumerate(zip(names, positions, strict=True))
    )


def _elf_hash(name: str) -> int:
    """The System V hash of a name (figure 5-13 of the ABI)."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value
