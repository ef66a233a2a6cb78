"""Values of a `config.json`, read with care: it comes from whoever made the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.residency.verdict import Reason
from bailiwick.workload.sizing.refusals import UnsizableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 2**40
_MOST_LAYERS = 10_000
NUMBER_BYTES: Mapping[str, int] = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 2, "float": 2}
"""Bytes in memory by the type of the files: vLLM serves what was stored in 32 bits with 16 (`vllm/config/model.py`)."""


class Configuration:
    """Reads figures by any of the names that makers of models give them; the first that is there counts."""

    def __init__(self, values: Mapping[str, Any], *, outer: Mapping[str, Any] | None = None) -> None:
        self._values = values
        self._outer = outer if outer is not None else values

    @property
    def values(self) -> Mapping[str, Any]:
        """The block itself."""
        return self._values

    @property
    def model_type(self) -> str:
        """The family, as Transformers names it."""
        name = self._values.get("model_type")
        if not isinstance(name, str) or not name:
            raise _missing("model_type", "its family, such as llama")
        return name

    def count(self, *names: str) -> int:
        """A positive number that must be there."""
        found = self.optional(*names)
        if found is None:
            raise _missing(names[0], "a positive number")
        if found == 0:
            raise _wrong(names[0], 0, "a positive number")
        return found

    def optional(self, *names: str) -> int | None:
        """A number, or None when there is none."""
        for name in names:
            value = self._values.get(name)
            if value is not None:
                if type(value) is not int or not 0 <= value <= _LARGEST:
                    raise _wrong(name, value, "a number")
                return value
        return None

    def layers(self) -> int:
        """How many layers the decoder has."""
        found = self.count("num_hidden_layers", "n_layer", "num_layers")
        if found > _MOST_LAYERS:
            raise _wrong("num_hidden_layers", found, f"at most {_MOST_LAYERS}")
        return found

    def flag(self, name: str, *, default: bool) -> bool:
        """Yes or no."""
        value = self._values.get(name, self._outer.get(name))
        if value is None:
            return default
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
        return value

    def words(self, name: str, *, length: int) -> tuple[str, ...] | None:
        """One word for each layer, or None when there is no such list."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value) or len(value) < length:
            raise _wrong(name, value, f"a list of {length} words")
        return tuple(value[:length])

    def numbers(self, name: str) -> tuple[int, ...]:
        """A list of numbers; empty when there is none."""
        value = self._values.get(name) or []
        if not isinstance(value, list) or not all(type(each) is int for each in value):
            raise _wrong(name, value, "a list of numbers")
        return tuple(value)

    def block(self, name: str) -> Mapping[str, Any] | None:
        """An object, of this block or of the one around it; None when there is none."""
        value = self._values.get(name) or self._outer.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _wrong(name, value, "an object")
        return value

    def number_bytes(self) -> int:
        """Bytes of one number of the type that the model computes in."""
        for block in (self._values, self._outer):
            name = block.get("dtype") or block.get("torch_dtype")
            if name is not None:
                if not isinstance(name, str) or name not in NUMBER_BYTES:
                    raise _wrong("dtype", name, f"one of {', '.join(NUMBER_BYTES)}")
                return NUMBER_BYTES[name]
        raise _missing("dtype", "the type of its numbers, such as bfloat16")


def _missing(name: str, what: str) -> UnsizableError:
    return UnsizableError(Reason.MISSING_FIGURE, f"config.json gives no {name}; add {what}, as the model's maker tells")


def _wrong(name: str, value: Any, expected: str) -> UnsizableError:
    return UnsizableError(
        Reason.MISSING_FIGURE,
        f"config.json says {name} = {str(value)[:60]!r}, and {expected} is expected; give the model's own file",
    )
