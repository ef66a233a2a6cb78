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
    """The values by key; empty where there is no Secret. The kubelet's own entries begin with two dots."""
    # The kubelet swaps a whole Secret at once, by a link. What it removes between two reads is seen at the next look.
    found: Contents = {}
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("..") and path.is_file():
                found[path.name] = path.read_bytes()
    except FileNotFoundError:
        return {}
    return found


def required(told: Mapping[str, bytes], name: str, secret: str) -> bytes:
    """A value that must be there. Raises Broken."""
    if not told.get(name, b"").strip():
        there = ", ".join(told) or "nothing"
        raise Broken(f"the Secret {secret} holds no {name}: expected the key {name} with a value, it has {there}")
    return told[name]
