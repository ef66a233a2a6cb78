"""Whether a folder holds what it must: nothing else, nothing less, nothing changed, and nothing that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.weights import folder as folders
from bailiwick.weights import manifest
from bailiwick.weights.problems import WeightsError
from bailiwick.weights.profile import compare
from bailiwick.weights.signature import NOT_SIGNED, Key, signed_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from pathlib import Path

    from bailiwick.evidence.certificates import Root


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a folder must hold, as far as somebody said so. ``weights`` is a kind of `kinds.WEIGHTS`."""

    weights: str = "safetensors"
    digest: str | None = None
    manifest: Path | None = None
    signature: Path | None = None
    keys: tuple[Key, ...] = ()
    roots: tuple[Root, ...] = ()
    profile: Path | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds; ``digest`` is None when nothing asked for the files to be read."""

    files: int
    digest: str | None


def verify(folder: Path, expected: Expected, now: datetime) -> Found:
    """Read and compare. Raises WeightsError for the first thing that is not as it must be."""
    paths = folders.files(folder)
    folders.judge(folder, paths, expected.weights)
    if expected.profile:
        compare(folder, expected.profile)
    if not (expected.digest or expected.manifest or expected.signature):
        return Found(len(paths), None)
    signed = _signed(expected, now)
    listed = manifest.parse(_read(expected.manifest, "ManifestMissing")) if expected.manifest else None
    # Names first: that a file is missing is known at once, and its neighbours need an hour.
    content = [path for path in paths if path not in folders.BESIDE]
    if listed is not None:
        _same_names(content, listed, "the manifest")
    if signed is not None:
        _same_names(content, signed, "the signature", but=NOT_SIGNED)
    seen = folders.digests(folder, content)
    for source, wanted in (("the manifest", listed), ("the signature", signed)):
        _same(seen, wanted or {}, source)
    if expected.digest and (found := manifest.digest(seen)) != expected.digest:
        raise WeightsError(
            "DigestDiffers",
            f"the files were expected to have the digest {expected.digest}, seen {found}; take the copy that it was "
            f"written of, or, if this one is right, write its digest (bailiwick weights digest FOLDER)",
        )
    return Found(len(paths), manifest.digest(seen))


def _signed(expected: Expected, now: datetime) -> Mapping[str, str] | None:
    if expected.signature is None:
        return None
    return signed_files(_read(expected.signature, "SignatureMissing"), expected.keys, now, roots=expected.roots)


def _same_names(seen: Collection[str], wanted: Mapping[str, str], source: str, *, but: Collection[str] = ()) -> None:
    there = set(seen)
    if missing := sorted(wanted.keys() - there):
        raise WeightsError(
            "FileMissing", f"{missing[0]} is listed by {source} and not there ({len(missing)} are missing); import it"
        )
    if strange := sorted(there - wanted.keys() - set(but)):
        raise WeightsError(
            "FileUnlisted", f"{strange[0]} is not listed by {source} ({len(strange)} are not); remove it, or list it"
        )


def _same(seen: Mapping[str, str], wanted: Mapping[str, str], source: str) -> None:
    for path, expected in wanted.items():
        if seen[path] != expected:
            raise WeightsError(
                "FileDiffers",
                f"{path} was changed: {source} expects sha256:{expected}, seen sha256:{seen[path]}; put the right file "
                f"back, and find out who changed it",
            )


def _read(path: Path, reason: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(manifest.MOST_BYTES + 1)
    except OSError as error:
        raise WeightsError(
            reason,
            f"{path} cannot be read ({error.strerror}); check the ConfigMap and key, or the file beside the weights",
        ) from error
