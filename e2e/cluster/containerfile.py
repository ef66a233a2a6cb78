"""Containerfiles that only put files into place, read so that such an image needs no container engine."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from e2e.cluster.oci_archive import Config
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(slots=True)
class Recipe:
    """What a Containerfile says: its base (empty for scratch), what it copies where, and how the image runs."""

    base: str = ""
    copies: list[tuple[str, str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    folder: str = ""
    stop_signal: str = ""

    @property
    def config(self) -> Config:
        return Config(
            environment=tuple(f"{name}={value}" for name, value in self.environment.items()),
            entrypoint=self.entrypoint,
            command=self.command,
            user=self.user,
            folder=self.folder,
            stop_signal=self.stop_signal,
            labels=self.labels,
        )


def read(path: Path) -> Recipe:
    """Read a Containerfile of ARG, FROM, COPY, ENV, LABEL, USER, WORKDIR, STOPSIGNAL, ENTRYPOINT and CMD.

    Raises ClusterError for any other instruction, because leaving it out would make another image.
    """
    recipe = Recipe()
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        reader = _READERS.get(instruction.upper())
        if reader is None:
            raise ClusterError(f"{path} says {instruction}; without a container engine only {_KNOWN} can be followed")
        reader(recipe, rest.strip())
    return recipe


def _from(recipe: Recipe, rest: str) -> None:
    recipe.base = "" if rest == "scratch" else rest


def _copy(recipe: Recipe, rest: str) -> None:
    source, target = shlex.split(rest)
    recipe.copies.append((source.rstrip("/"), target))


def _pairs(rest: str) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in shlex.split(rest))}


def _environment(recipe: Recipe, rest: str) -> None:
    recipe.environment |= _pairs(rest)


def _labels(recipe: Recipe, rest: str) -> None:
    recipe.labels |= _pairs(rest)


def _entrypoint(recipe: Recipe, rest: str) -> None:
    recipe.entrypoint = tuple(json.loads(rest))


def _command(recipe: Recipe, rest: str) -> None:
    recipe.command = tuple(json.loads(rest))


def _user(recipe: Recipe, rest: str) -> None:
    recipe.user = rest


def _folder(recipe: Recipe, rest: str) -> None:
    recipe.folder = rest


def _stop_signal(recipe: Recipe, rest: str) -> None:
    recipe.stop_signal = rest


def _argument(_recipe: Recipe, _rest: str) -> None:
    """ARG BASE only: what the base is, the caller knows."""


_READERS: dict[str, Callable[[Recipe, str], None]] = {
    "ARG": _argument,
    "FROM": _from,
    "COPY": _copy,
    "ENV": _environment,
    "LABEL": _labels,
    "USER": _user,
    "WORKDIR": _folder,
    "STOPSIGNAL": _stop_signal,
    "ENTRYPOINT": _entrypoint,
    "CMD": _command,
}
_KNOWN = ", ".join(_READERS)
