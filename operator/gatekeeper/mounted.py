"""A Secret as the kubelet mounts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Contents = dict[str, bytes]


class Broken(Exception):  # noqa: N818 - what it says, the Secret is
    """A Secret does not hold what it should; says what was expected, what is there, and what to do."""


def contents(folder: Path) -> Contents:
    """The values by key, all of one version of the Secret; empty where there is none."""
    # The kubelet swaps a whole Secret by the link `..data`, and then removes what it led to before.
    while True:
        version = _version(folder)
        try:
            files = [path for path in sorted(version.iterdir()) if path.is_file() and not path.name.startswith("..")]
            found = {path.name: path.read_bytes() for path in files}
        except FileNotFoundError:
            if not folder.exists():
                return {}
        else:
            if version == _version(folder):
                return found


def _version(folder: Path) -> Path:
    data = folder / "..data"
    return data.resolve() if data.exists() else folder


def required(told: Mapping[str, bytes], name: str, secret: str) -> bytes:
    """A value that must be there. Raises Broken."""
    if not told.get(name, b"").strip():
        there = ", ".join(told) or "nothing"
        raise Broken(f"the Secret {secret} holds no {name}: expected the key {name} with a value, it has {there}")
    return told[name]
