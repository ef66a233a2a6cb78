"""Manifests in files, read as a cluster would read them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from bailiwick.api.resource import API_VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

R = TypeVar("R", bound=Resource)


STANDARD_INPUT = "standard input"
_NAMES = frozenset({".yaml", ".yml"})


class UnusableError(Exception):
    """What was given cannot be used; the message is for whoever gave it."""


def every(kind: type[R], paths: Sequence[Path]) -> list[R]:
    """All objects of a kind in several files. Raises UnusableError."""
    return [read(kind, raw, path) for path in paths for raw in manifests(path, kind.__name__)]


def read(kind: type[R], raw: dict[str, Any], path: Path | str) -> R:
    """One object of a kind. Raises UnusableError with every field that is wrong."""
    try:
        return kind.read(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'spec'}: {each['msg']}" for each in found)
        raise UnusableError(f"{path} is no {kind.__name__} that a cluster would take: {wrong}") from None


class Loader(yaml.SafeLoader):
    """Times stay text, as for a cluster: read and written again, they would no longer be in its notation."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parsed(text: bytes, path: Path | str) -> list[Any]:
    """The YAML documents of a text that ``path`` holds, without empty ones. Raises UnusableError."""
    try:
        return [each for each in yaml.load_all(text, Loader) if each is not None]
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UnusableError(f"{path} is not YAML") from None


def manifests(
    path: Path, kind: str, *, only: int = 0, some: bool = True, api_version: str = API_VERSION
) -> list[dict[str, Any]]:
    """The objects of a kind in a file, ``only`` so many, and at least ``some``. Raises UnusableError."""
    expected = (api_version, kind)
    found = [
        each
        for each in parsed(content(path), path)
        if isinstance(each, dict) and (each.get("apiVersion"), each.get("kind")) == expected
    ]
    if (some and not found) or (only and len(found) != only):
        raise UnusableError(f"{path} holds {len(found)} objects {kind} ({api_version}); give {only or 'some'}")
    return found


def content(path: Path) -> bytes:
    """The bytes of a file. Raises UnusableError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}") from None


def texts(paths: Sequence[Path], *, deep: bool = False) -> Iterator[tuple[str, bytes]]:
    """Files, those of folders (``deep``: also of folders below), and ``-`` for standard input, each with where it is.

    Raises UnusableError.
    """
    for path in paths:
        if str(path) == "-":
            yield STANDARD_INPUT, sys.stdin.buffer.read()
        elif path.is_dir():
            files = sorted(file for file in (path.rglob("*") if deep else path.iterdir()) if file.suffix in _NAMES)
            if not files:
                raise UnusableError(f"{path} is a folder without *.yaml; name the files, or the folder below it")
            yield from ((str(file), content(file)) for file in files)
        else:
            yield str(path), content(path)
