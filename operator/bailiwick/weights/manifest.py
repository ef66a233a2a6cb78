"""Manifests: which files there must be, with the SHA-256 of each, in the format of sha256sum (GNU coreutils)."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from bailiwick.weights.problems import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "SHA256SUMS"
MOST_BYTES: Final = 16 * 2**20
_LINE = re.compile("([0-9a-f]{64}) [ *](.+)")
_REMEDY = "write it with: bailiwick weights manifest FOLDER (or sha256sum, from within the folder)"


def parse(text: bytes) -> Mapping[str, str]:
    """SHA-256 in hexadecimal by path below the folder. Raises WeightsError ManifestInvalid.

    Paths are relative, in their shortest form (``./`` in front is what `find` writes, and is dropped), each given once.
    """
    if len(text) > MOST_BYTES:
        raise _invalid(f"it has {len(text)} bytes, and {MOST_BYTES} are the most")
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise _invalid(f"byte {error.start} is not UTF-8") from None
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        found = _LINE.fullmatch(line)
        if not found or not found[2].isprintable():
            raise _invalid(f"line {number} is not 64 lower-case hexadecimal digits, two spaces and a path")
        path = found[2].removeprefix("./")
        if not is_path(path):
            raise _invalid(f"line {number}: {path!r} is no path below the folder in its shortest form")
        if path in digests:
            raise _invalid(f"line {number}: {path!r} is given twice")
        digests[path] = found[1]
    if not digests:
        raise _invalid("it lists no file")
    return digests


def write(digests: Mapping[str, str]) -> bytes:
    """The one manifest of some files: by path, in the order of its bytes. Its SHA-256 is the digest of a model."""
    paths = sorted(digests, key=str.encode)
    return "".join(f"{digests[path]}  {path}\n" for path in paths).encode()


def digest(digests: Mapping[str, str]) -> str:
    """``sha256:`` and the SHA-256 of the manifest that `write` makes."""
    return f"sha256:{sha256(write(digests)).hexdigest()}"


def is_path(path: str) -> bool:
    """Whether it names something below the folder, in one way only."""
    return path.isprintable() and not any(part in {"", ".", ".."} for part in path.split("/")) and "\\" not in path


def _invalid(why: str) -> WeightsError:
    return WeightsError("ManifestInvalid", f"the manifest cannot be used: {why}; {_REMEDY}")
