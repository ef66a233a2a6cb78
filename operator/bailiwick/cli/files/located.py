"""Manifests that remember on which line of which file each of their fields stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from bailiwick.cli.files.manifests import Loader, UnusableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.preview.requests import Path

_MOST_NODES: Final = 1_000_000
"""Of one document with its aliases followed: a few lines can stand for billions."""


class QuickLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml is several times faster
    """Reads as every other command of Bailiwick does."""


QuickLoader.yaml_implicit_resolvers = Loader.yaml_implicit_resolvers


@dataclass(frozen=True, slots=True)
class Located:
    """One object of a file, and the tree of what is written there."""

    raw: Any
    file: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """Where it begins; the first line is 1."""
        return _line(self.node)

    def items(self) -> Iterator[Located]:
        """Itself, or the objects of a List."""
        items = self.raw.get("items") if isinstance(self.raw, dict) and self.raw.get("kind") == "List" else None
        below = _at(self.node, ("items",)) if isinstance(items, list) else None
        if not isinstance(items, list) or not isinstance(below, yaml.SequenceNode):
            yield self
            return
        for item, node in zip(items, below.value, strict=True):
            yield from Located(item, self.file, node).items()

    def line_of(self, path: Path, seen: str) -> int:
        """Where the value stands that a message speaks of: the longest text below the path that the message tells."""
        below = _at(self.node, path)
        told = [
            (len(scalar.value), -_line(scalar))
            for scalar in _scalars(below)
            if len(scalar.value) > 1 and scalar.value in seen and _stands_in(scalar.value, seen)
        ]
        return -max(told)[1] if told else _line(below)


def documents(text: bytes, where: str) -> Iterator[Located]:
    """The objects of a text that ``where`` holds. Raises UnusableError."""
    try:
        loader = QuickLoader(text)
        while loader.check_node():
            node = loader.get_node()
            if b"&" in text and _count(node, {}) > _MOST_NODES:  # without anchors it is as long as it looks
                raise UnusableError(f"{where} stands for more than {_MOST_NODES} values; write less by anchors")
            raw = loader.construct_document(node)
            if raw is not None:
                yield from Located(raw, where, node).items()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UnusableError(f"{where} is not YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError):
        raise UnusableError(f"{where} is not YAML") from None
    except RecursionError:
        raise UnusableError(f"{where} holds something that contains itself, or is nested too deep") from None


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a tree stands for, however often it names each. Raises RecursionError when it holds itself."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise RecursionError
        return known[id(node)]
    known[id(node)] = -1
    below = _below(node)
    known[id(node)] = 1 + sum(_count(each, known) for each in below)
    return known[id(node)]


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    for each in _below(node):
        yield from _scalars(each)


def _at(node: yaml.Node, path: Path) -> yaml.Node:
    """What a path leads to, or as far as it leads: a part may come from a merge key."""
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            found = [value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == step]
            if not found:
                return node
            node = found[-1]
        else:
            return node
    return node


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _stands_in(value: str, text: str) -> bool:
    """As a word of its own: "8" is not told of by "80"."""
    return re.search(rf"(?<![\w/.:@-]){re.escape(value)}(?![\w/:@-])", text) is not None
