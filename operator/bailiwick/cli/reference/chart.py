"""The values of the chart in Markdown: what values.yaml says above each, and what values.schema.json lets it be."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Raw = dict[str, Any]

_HEAD = """\
# Values of the chart

<!-- Generated from values.yaml and values.schema.json of the chart by `make generate`; edit these, not this file. -->

A value that is not listed here is refused by its name. [Install](../install.md) says which ones to decide on.

"""
_TABLE = "| value | type | default | meaning |\n|---|---|---|---|"
_COMMENT = re.compile(r"^( *)# ?(.*)$")


class UndocumentedError(Exception):
    """A value without a comment, or one that the schema does not know; the message names it."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value that has no others below it: its path, what may stand there, what does, and what it is for."""

    path: str
    type: str
    default: str
    meaning: str


def chart_reference(values: str, schema: str) -> str:
    """The whole page, from the texts of values.yaml and values.schema.json. Raises UndocumentedError."""
    known: Raw = json.loads(schema)
    root = yaml.compose(values, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise UndocumentedError("values.yaml is no map")
    rows = [_row(value) for value in _values(root, known, known, values.splitlines(), "")]
    return _HEAD + "\n".join([_TABLE, *rows]) + "\n"


def _values(node: yaml.MappingNode, schema: Raw, whole: Raw, lines: Sequence[str], above: str) -> Iterator[Value]:
    """Every value below a map. One of whose parts the schema says nothing is a value by itself: a Kubernetes type."""
    for key, value in node.value:
        path = above + key.value
        known = schema.get("properties", {}).get(key.value)
        if known is None:
            raise UndocumentedError(f"{path} is in values.yaml, and values.schema.json does not know it")
        meaning = _comment(lines, key.start_mark.line, key.start_mark.column)
        if "properties" in known and isinstance(value, yaml.MappingNode):
            if meaning:
                yield Value(path, "", "", meaning)
            yield from _values(value, known, whole, lines, f"{path}.")
            continue
        if not meaning:
            raise UndocumentedError(f"{path} is in values.yaml without a comment above it that says what it is for")
        default = yaml.safe_load(yaml.serialize(value, Dumper=yaml.SafeDumper))
        yield Value(path, _type(known, whole), json.dumps(default, ensure_ascii=False), meaning)


def _comment(lines: Sequence[str], line: int, column: int) -> str:
    """The comment that ends right above a line, at the same depth; empty when there is none."""
    said: list[str] = []
    for text in reversed(lines[:line]):
        found = _COMMENT.match(text)
        if found is None or len(found[1]) != column:
            break
        said.insert(0, found[2].strip())
    return " ".join(said)


def _type(schema: Raw, whole: Raw) -> str:
    """What the schema lets stand there, in words."""
    if "$ref" in schema:
        schema = whole["definitions"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    kind: str = schema["type"]
    if kind == "array":
        items = schema.get("items", {})
        return "list of names" if "enum" in items else f"list of {_type(items, whole)}s"
    if kind == "object" and "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        return f"map of {_type(schema['additionalProperties'], whole)}s"
    return kind


def _row(value: Value) -> str:
    cells = (f"`{value.path}`", value.type, f"`{value.default}`" if value.default else "", value.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
