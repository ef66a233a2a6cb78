"""A folder of weights as it lies there: its files, what is wrong with them, and their digests."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bailiwick.weights import kinds
from bailiwick.weights.manifest import NAME, is_path
from bailiwick.weights.problems import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SIGNATURE: Final = "model.sig"
BESIDE: Final = frozenset({NAME, SIGNATURE})
"""Files of the folder itself that say what the others must be, and cannot say it of themselves."""
_OF_THE_DISK = "lost+found"
_THREADS = 4


def files(folder: Path) -> tuple[str, ...]:
    """Paths of all files below the folder, in order. Raises WeightsError for what is neither file nor folder.

    Links are followed where they end at a file within the folder. The folder that ext4 makes on every disk is left out.
    """
    try:
        return tuple(sorted(_files(folder.resolve(strict=True), folder), key=str.encode))
    except OSError as error:
        raise _unreadable(error) from error


def judge(folder: Path, paths: Iterable[str], weights: str) -> None:
    """Raises WeightsError ForbiddenFile for the first file that must not be there, and when there are no weights."""
    found = list(paths)
    for path in found:
        try:
            with (folder / path).open("rb") as file:
                head, size = file.read(kinds.HEAD_BYTES), os.fstat(file.fileno()).st_size
        except OSError as error:
            raise _unreadable(error) from error
        if why := kinds.objection(path, head, size, weights):
            raise WeightsError("ForbiddenFile", f"{path} must not be served: {why}")
    if not any(path.endswith(f".{weights}") for path in found):
        seen = ", ".join(found[:5]) or "nothing"
        raise WeightsError(
            "NoWeights", f"no .{weights} file lies in the folder, only {seen}; check the source's path, or import it"
        )


def digests(folder: Path, paths: Iterable[str]) -> Mapping[str, str]:
    """SHA-256 in hexadecimal by path, several files at a time. Raises WeightsError when one cannot be read."""

    def of(path: str) -> str:
        with (folder / path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    listed = list(paths)
    try:
        with ThreadPoolExecutor(_THREADS) as threads:
            return dict(zip(listed, threads.map(of, listed), strict=True))
    except OSError as error:
        raise _unreadable(error) from error


def _files(root: Path, folder: Path) -> Iterator[str]:
    for where, folders, names in os.walk(folder, onerror=_raise):
        if Path(where) == folder and _OF_THE_DISK in folders:
            folders.remove(_OF_THE_DISK)
        for name in (*names, *(each for each in folders if (Path(where) / each).is_symlink())):
            found = Path(where) / name
            path = str(found.relative_to(folder))
            if not is_path(path):
                raise WeightsError("ForbiddenFile", f"{path!r} has a name that no manifest can hold; rename it")
            try:
                target = found.resolve(strict=True)
            except (OSError, RuntimeError):
                raise WeightsError("ForbiddenFile", f"{path} is a link to nothing; put the file itself there") from None
            if not target.is_relative_to(root):
                raise WeightsError(
                    "ForbiddenFile", f"{path} is a link out of the folder; put the file itself there, not a link"
                )
            if not stat.S_ISREG(target.stat().st_mode):
                raise WeightsError("ForbiddenFile", f"{path} is neither a file nor a folder; remove it")
            yield path


def _raise(error: OSError) -> None:
    raise error


def _unreadable(error: OSError) -> WeightsError:
    return WeightsError(
        "WeightsUnreadable",
        f"{error.filename}: {error.strerror}; the files must be readable by user and group 65532, or by everybody",
    )
