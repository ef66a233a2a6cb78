"""Values of the chart: its own under those that people give, merged and checked as Helm does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bailiwick.cli.files.manifests import UnusableError, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
Raw = dict[str, Any]

_CALLED = {str: "text", bool: "true or false", dict: "a map", list: "a list"}


@dataclass(frozen=True, slots=True)
class Values:
    """What is given by whom, and all of it merged. Later layers win; null is no value."""

    layers: dict[str, Raw]
    merged: Raw

    @classmethod
    def read(cls, texts: Mapping[str, bytes], *, schema: bytes) -> Self:
        """Files by what they are called. Raises UnusableError with the file and the field."""
        layers = {where: _map(text, where) for where, text in texts.items()}
        try:
            known = json.loads(schema)
        except ValueError:
            raise UnusableError(f"{next(iter(texts))}: values.schema.json beside it is not JSON") from None
        merged: Raw = {}
        for where, layer in layers.items():
            try:
                _refuse_unknown(layer, known, where, "")
                merged = _merge(merged, layer)
            except RecursionError:
                raise UnusableError(f"{where} holds something that contains itself, or is nested too deep") from None
        return cls(layers, merged)

    def at(self, path: str, kind: type[T]) -> T:
        """The value at ``a.b``. Raises UnusableError when it is absent, or of another kind."""
        found = _look(self.merged, path)
        if not isinstance(found, kind):
            seen = "absent" if found is None else repr(found)[:80]
            raise UnusableError(f"{self.told_by(path)}: {path} must be {_CALLED[kind]}, and is {seen}")
        return found

    def told_by(self, path: str) -> str:
        """The file that says what ``a.b`` is: the last one that has it, or something above it."""
        return next(
            (where for where, layer in reversed(self.layers.items()) if _says(layer, path)), next(iter(self.layers))
        )


def _map(text: bytes, where: str) -> Raw:
    documents = parsed(text, where)
    if not documents:
        return {}
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise UnusableError(f"{where} is no file of values: one map is wanted")
    found: Raw = documents[0]
    return found


def _merge(below: Raw, above: Raw) -> Raw:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key, {}), dict):
            merged[key] = _merge(merged.get(key, {}), value)
        else:
            merged[key] = value
    return merged


def _refuse_unknown(values: Raw, schema: Raw, where: str, path: str) -> None:
    """A misspelt value would be ignored, and what was meant by it not be listed."""
    known = schema.get("properties", {})
    for key, value in values.items():
        if key not in known and schema.get("additionalProperties") is False:
            raise UnusableError(
                f"{where}: {path}{key} is no value of the chart; values there: {', '.join(sorted(known))}"
            )
        if isinstance(value, dict) and key in known:
            _refuse_unknown(value, known[key], where, f"{path}{key}.")


def _look(values: Any, path: str) -> Any:
    for part in path.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _says(values: Any, path: str) -> bool:
    """Whether it says what ``a.b`` is, be it by something else in the place of the map ``a``."""
    for part in path.split("."):
        if not isinstance(values, dict):
            return True
        if part not in values:
            return False
        values = values[part]
    return True
