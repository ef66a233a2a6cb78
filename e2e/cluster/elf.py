"""What a shared library or program wants from others, read from the bytes of its ELF64 file.

Layout: System V ABI, chapters 4 and 5; symbol versions: Linux Standard Base, 10.7.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little endian
SHT_DYNAMIC, SHT_DYNSYM, SHT_GNU_VERNEED, SHT_GNU_VERSYM = 6, 11, 0x6FFFFFFE, 0x6FFFFFFF
DT_NEEDED = 1
SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
SECTION = struct.Struct("<IIQQQQIIQQ")  # name, type, flags, address, offset, size, link, info, alignment, entry size
Bytes = mmap | bytes


@dataclass(frozen=True, slots=True, order=True)
class Wanted:
    """A symbol that a file expects from a library; version and library are empty when the file names none."""

    symbol: str
    version: str = ""
    library: str = ""


def wanted(data: Bytes) -> frozenset[Wanted]:
    """The undefined dynamic symbols of a file; none when it is no ELF64 file."""
    return _Elf(data).wanted() if data[: len(MAGIC)] == MAGIC else frozenset()


def needed(data: Bytes) -> tuple[str, ...]:
    """The names of the libraries that a file is linked against; none when it is no ELF64 file."""
    return _Elf(data).needed() if data[: len(MAGIC)] == MAGIC else ()


@contextmanager
def mapped(file: Path) -> Iterator[Bytes]:
    """A file's bytes, of which only what is looked at is read: libraries of half a gigabyte are not rare."""
    if file.stat().st_size == 0:
        yield b""
        return
    with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as data:
        yield data


class _Elf:
    """As much of an ELF64 file as its dynamic section and symbols need."""

    def __init__(self, data: Bytes) -> None:
        self._data = data
        (start,), (size, count) = struct.unpack_from("<Q", data, 0x28), struct.unpack_from("<HH", data, 0x3A)
        self._sections = [SECTION.unpack_from(data, start + index * size) for index in range(count)]

    def wanted(self) -> frozenset[Wanted]:
        table = self._section(SHT_DYNSYM)
        if table is None:
            return frozenset()
        numbers, versions = self._version_numbers(), self._needed_versions()
        strings = self._sections[table[6]][4]
        found = set()
        for index, offset in enumerate(range(table[4], table[4] + table[5], SYMBOL.size)):
            name, _, _, section, _, _ = SYMBOL.unpack_from(self._data, offset)
            if section == 0 and name:
                version, library = versions.get(numbers[index], ("", "")) if numbers else ("", "")
                found.add(Wanted(self._string(strings + name), version, library))
        return frozenset(found)

    def needed(self) -> tuple[str, ...]:
        section = self._section(SHT_DYNAMIC)
        if section is None:
            return ()
        strings = self._sections[section[6]][4]
        entries = struct.iter_unpack("<QQ", self._data[section[4] : section[4] + section[5]])
        return tuple(self._string(strings + value) for tag, value in entries if tag == DT_NEEDED)

    def _section(self, kind: int) -> tuple[int, ...] | None:
        return next((section for section in self._sections if section[1] == kind), None)

    def _string(self, offset: int) -> str:
        return self._data[offset : self._data.find(b"\0", offset)].decode()

    def _version_numbers(self) -> Sequence[int]:
        section = self._section(SHT_GNU_VERSYM)
        return struct.unpack_from(f"<{section[5] // 2}H", self._data, section[4]) if section else ()

    def _needed_versions(self) -> dict[int, tuple[str, str]]:
        """Version name and library by the number that symbols refer to."""
        section = self._section(SHT_GNU_VERNEED)
        if section is None:
            return {}
        strings, need = self._sections[section[6]][4], section[4]
        found = {}
        while True:
            _, count, file, first, following = struct.unpack_from("<HHIII", self._data, need)
            entry = need + first
            for _ in range(count):
                _, _, number, name, step = struct.unpack_from("<IHHII", self._data, entry)
                found[number] = (self._string(strings + name), self._string(strings + file))
                entry += step
            if not following:
                return found
            need += following
