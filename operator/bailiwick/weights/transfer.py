"""An import: files of a remote become a folder, which has its name only when everything in it was verified.

Whatever was fetched stays, so an import that is interrupted at any point goes on where it was. What it holds meanwhile
is in a folder beside the result, together with a list of what each file is to become.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Final

import aiohttp

from bailiwick.weights import kinds
from bailiwick.weights.problems import WeightsError
from bailiwick.weights.remote import MOST_LISTED, Entry, Remote, refuse_status, unreachable
from bailiwick.weights.resolving import WholeNames
from bailiwick.weights.verification import Expected, verify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from pathlib import Path
    from ssl import SSLContext

_ALL = 100
_WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try; then the container ends, says why, and is started again by the kubelet."""
_CHUNK = 2**20
_SPARE = 2**20
_PART = ".part"
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30, sock_read=120)
PASSING: Final = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
    asyncio.TimeoutError,
)
"""What may go by itself."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is, and how long this part of it took."""

    bytes: int
    of: int
    seconds: float
    fetched: int
    """Bytes that this part brought."""
    complete: bool


class Import:
    """One import of a remote into ``root / name``. ``expected`` is asked of the whole before it gets its name."""

    def __init__(  # noqa: PLR0913 - what an import is made of
        self,
        remote: Remote,
        root: Path,
        name: str,
        *,
        expected: Expected,
        now: Callable[[], datetime],
        trust: SSLContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._remote = remote
        self._root = root
        self._final = root / name
        self._partial = root / f".import-{name}"
        self._files = self._partial / "files"
        self._expected = expected
        self._now = now
        self._trust = trust
        self._sleep = sleep
        self._fetched = 0

    async def run(self, share: int = 100) -> Progress:
        """Fetch until ``share`` percent of all bytes are there; with 100, verify and give the folder its name."""
        begun = time.monotonic()
        try:
            with self._locked():
                return self._done() if self._final.is_dir() else await self._run(share, begun)
        except OSError as error:
            raise _of_the_volume(error) from error

    def _locked(self) -> IO[str]:
        """Alone: an import that is being ended may write for some seconds more, and another may fetch the same."""
        while True:
            self._files.mkdir(parents=True, exist_ok=True)
            try:
                lock = (self._partial / "lock").open("w")
            except FileNotFoundError:
                continue  # who finished took the folder away in between
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_nlink:
                return lock
            lock.close()

    def _done(self) -> Progress:
        shutil.rmtree(self._partial)
        size = sum(path.stat().st_size for path in self._final.rglob("*") if path.is_file())
        return Progress(size, size, 0.0, 0, complete=True)

    async def _run(self, share: int, begun: float) -> Progress:
        connector = aiohttp.TCPConnector(ssl=self._trust, resolver=WholeNames())
        async with aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False, connector=connector) as session:
            entries = await self._entries(session)
            self._forget_what_changed(entries)
            total = sum(entry.size for entry in entries)
            self._room(total - sum(map(self._there, entries)))
            left = total * share // _ALL - sum(map(self._there, entries))
            for entry in entries:
                if share == _ALL or left > 0:
                    left -= await self._fetch(session, entry, entry.size if share == _ALL else left)
        if share == _ALL:
            self._finish()
        there = total if share == _ALL else sum(map(self._there, entries))
        return Progress(there, total, time.monotonic() - begun, self._fetched, complete=share == _ALL)

    async def _entries(self, session: aiohttp.ClientSession) -> Sequence[Entry]:
        """The files that may be served, smallest first, so that a mistake in the small ones is seen early."""
        found = await self._listed(session)
        wanted = [entry for entry in found if kinds.passes(entry.path, self._expected.weights)]
        if not any(entry.path.endswith(f".{self._expected.weights}") for entry in wanted):
            seen = ", ".join(sorted(entry.path for entry in found)[:5]) or "nothing"
            raise WeightsError(
                "NoWeights",
                f"the source holds no .{self._expected.weights} file, only {seen}; correct its prefix or repository, "
                f"or convert the model",
            )
        return sorted(wanted, key=lambda entry: (entry.size, entry.path))

    async def _listed(self, session: aiohttp.ClientSession) -> Sequence[Entry]:
        for wait in (*_WAITS, None):
            found: list[Entry] = []
            try:
                async for entry in self._remote.list(session):
                    found.append(entry)
                    if len(found) > MOST_LISTED:
                        raise WeightsError("ForbiddenFile", f"over {MOST_LISTED} files; name a folder")
            except PASSING as error:
                if wait is None:
                    raise unreachable(error) from error
                await self._sleep(wait)
            else:
                break
        return found

    async def _fetch(self, session: aiohttp.ClientSession, entry: Entry, budget: int) -> int:
        """Bring a file, or as much of it as the budget allows; how many bytes came."""
        final, part = self._files / entry.path, self._part(entry)
        if final.exists():
            return 0
        _make(part)
        before, waits = _size(part), list(_WAITS)
        limit = min(entry.size, before + budget)
        while (size := _size(part)) < limit:
            try:
                await self._more(session, entry, part, limit)
            except PASSING as error:
                waits = list(_WAITS) if _size(part) > size else waits  # what brought something does not count
                if not waits:
                    raise unreachable(error) from error
                await self._sleep(waits.pop(0))
        came = _size(part) - before
        self._fetched += came
        if _size(part) >= entry.size:
            _compare(entry, part)
            part.rename(final)
        return came

    async def _more(self, session: aiohttp.ClientSession, entry: Entry, part: Path, limit: int) -> None:
        size = _size(part)
        async with self._remote.get(session, entry, size) as response:
            await refuse_status(response, entry.path)
            if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                _forget(part)
                raise WeightsError("SourceChanged", f"{entry.path} is shorter than it was; the import begins it anew")
            ranged = response.status == HTTPStatus.PARTIAL_CONTENT
            if ranged and not response.headers.get("content-range", "").startswith(f"bytes {size}-"):
                raise WeightsError("SourceNotUnderstood", f"{entry.path}: another range came than was asked for")
            size = size if ranged else 0  # a server that does not know ranges sends all of it again
            with part.open("ab" if ranged else "wb") as file:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    file.write(chunk)
                    size += len(chunk)
                    if size >= limit:
                        break
        if size < limit:
            raise aiohttp.ClientPayloadError(f"{entry.path} ended after {size} of {entry.size} bytes")

    def _forget_what_changed(self, entries: Sequence[Entry]) -> None:
        """What is there of a file goes when the file is another one by now."""
        listing = self._partial / "listing.json"
        now = {entry.path: entry.identity for entry in entries}
        try:
            before = json.loads(listing.read_text())
        except (OSError, ValueError):
            before = {}
        for path in [each for each in self._files.rglob("*") if each.is_file()]:
            name = str(path.relative_to(self._files)).removesuffix(_PART)
            if name not in now or before.get(name) != now[name]:
                path.unlink()
        written = listing.with_suffix(".new")
        written.write_text(json.dumps(now))
        written.replace(listing)

    def _room(self, missing: int) -> None:
        free = shutil.disk_usage(self._partial).free
        if missing + _SPARE > free:
            raise WeightsError(
                "NoSpace",
                f"{missing} bytes are still to come, and {free} are free; enlarge the claim, or remove what it need "
                f"not hold any more",
            )

    def _there(self, entry: Entry) -> int:
        return _size(self._files / entry.path) or _size(self._part(entry))

    def _part(self, entry: Entry) -> Path:
        return self._files / f"{entry.path}{_PART}"

    def _finish(self) -> None:
        """All files are there: what was said of them is asked, and only then does the folder get its name."""
        try:
            verify(self._files, self._expected, self._now())
        except WeightsError as error:
            if error.reason in {"FileDiffers", "DigestDiffers"}:
                shutil.rmtree(self._partial)  # or every further try would find the same
            raise
        self._files.rename(self._final)
        shutil.rmtree(self._partial)


def _of_the_volume(error: OSError) -> Exception:
    """What a volume that cannot be written means; anything else stays what it is."""
    if not isinstance(error, aiohttp.ClientError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return WeightsError("NoSpace", f"the volume is full ({error.strerror}); enlarge the claim")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return WeightsError(
            "ClaimNotWritable",
            f"{error.filename} cannot be written ({error.strerror}); take a claim whose class honours fsGroup, or let "
            f"user and group 65532 write to the folder",
        )
    return error


def _forget(part: Path) -> None:
    part.unlink()


def _make(part: Path) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()


def _compare(entry: Entry, part: Path) -> None:
    """The hash that the source told of a file is the file's, or the file goes."""
    hasher, seen = entry.hasher(), entry.identity
    if hasher is not None:
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
        seen = hasher.hexdigest()
    if seen != entry.identity or _size(part) != entry.size:
        size = _size(part)
        part.unlink()
        raise WeightsError(
            "FileDiffers",
            f"{entry.path} is not what the source says it is: expected {entry.size} bytes with {entry.algorithm} "
            f"{entry.identity}, seen {size} with {seen}; it is fetched anew, and if it stays so, tell who runs the "
            f"source",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
