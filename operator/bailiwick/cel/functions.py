"""What expressions call: CEL's own functions, and those that Kubernetes adds, as far as the chart's policies use them.

Each takes its receiver first. Kubernetes documents them under "Common Expression Language in Kubernetes".
"""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from bailiwick.cel.values import EvaluationError, Maybe, equal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CLASS: Final = re.compile(r"\[:(\w+):]")
_CLASSES: Final = {"space": r"\s", "digit": r"\d", "word": r"\w", "alpha": "A-Za-z", "alnum": "A-Za-z0-9"}
_UPPER: Final = {number: number - 32 for number in range(ord("a"), ord("z") + 1)}
_LOWER: Final = {upper: lower for lower, upper in _UPPER.items()}


@cache
def pattern(text: str) -> re.Pattern[str]:
    """A regular expression in RE2's notation. Raises EvaluationError."""
    try:
        return re.compile(_as_python(text), re.ASCII)
    except re.error as error:
        raise EvaluationError(f"{text} is no regular expression: {error}") from None


def _as_python(text: str) -> str:
    """In Python's notation, where `$` would also match before a last line break, and classes have no names."""
    made: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "[":
            piece, at = _class_at(text, at)
        elif text[at] == "\\":
            piece, at = text[at : at + 2], at + 2
        else:
            piece, at = (r"\Z" if text[at] == "$" else text[at]), at + 1
        made.append(piece)
    return "".join(made)


def _class_at(text: str, begin: int) -> tuple[str, int]:
    """The class of characters that begins there, and where it has ended. A `]` that comes first is one of them."""
    at = begin + (2 if text.startswith("[^", begin) else 1)
    made = [text[begin:at]]
    first = True
    while at < len(text) and (first or text[at] != "]"):
        first = False
        if named := _CLASS.match(text, at):
            if named[1] not in _CLASSES:
                raise EvaluationError(f"the class {named[0]} is not known")
            made.append(_CLASSES[named[1]])
            at = named.end()
        elif text[at] == "\\":
            made.append(text[at : at + 2])
            at += 2
        else:
            made.append(f"\\{text[at]}" if text[at] in "[]&~|" else text[at])
            at += 1
    return "".join([*made, "]"]), at + 1


def text_of(value: Any) -> str:
    """`string(value)`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise EvaluationError(f"{type(value).__name__} has no text")


def _found(text: str, wanted: str) -> str:
    match = pattern(wanted).search(text)
    return match[0] if match else ""


def _substring(text: str, begin: int, end: int | None = None) -> str:
    last = len(text) if end is None else end
    if not 0 <= begin <= last <= len(text):
        raise EvaluationError("a substring reaches past its text")
    return text[begin:last]


def _or_value(value: Maybe, otherwise: Any) -> Any:
    return value.held[0] if value.held else otherwise


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise EvaluationError(f"{text} is no CIDR: {error}") from None


def _contains(network: Network, other: Network | str) -> bool:
    inner = _network(other) if isinstance(other, str) else other
    return network.version == inner.version and inner.subnet_of(network)  # type: ignore[arg-type]  # same version


def _type(value: Any) -> type:
    return type(value)


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "size": len,
    "dyn": lambda value: value,
    "string": text_of,
    "type": _type,
    "cidr": _network,
}
TYPES: Final[Mapping[str, type]] = {"int": int, "string": str, "bool": bool, "double": float, "list": list, "map": dict}
METHODS: Final[Mapping[str, tuple[type | tuple[type, ...], Callable[..., Any]]]] = {
    "size": ((str, list, dict), len),
    "startsWith": (str, str.startswith),
    "endsWith": (str, str.endswith),
    "contains": (str, lambda text, part: part in text),
    "matches": (str, lambda text, wanted: pattern(wanted).search(text) is not None),
    "find": (str, _found),
    # Of ASCII alone: Python's own would turn more.
    "lowerAscii": (str, lambda text: text.translate(_LOWER)),
    "upperAscii": (str, lambda text: text.translate(_UPPER)),
    "replace": (str, str.replace),
    "split": (str, str.split),
    "substring": (str, _substring),
    "join": (list, lambda items, between="": between.join(items)),
    "hasValue": (Maybe, lambda value: bool(value.held)),
    "orValue": (Maybe, _or_value),
    "containsCIDR": ((ipaddress.IPv4Network, ipaddress.IPv6Network), _contains),
}
"""By name: what it is a method of."""


def among(value: Any, many: Any) -> bool:
    """`value in many`. Raises EvaluationError."""
    if isinstance(many, dict) or (isinstance(many, list) and isinstance(value, str)):
        return value in many
    if isinstance(many, list):
        return any(equal(value, each) for each in many)
    raise EvaluationError(f"nothing is in a {type(many).__name__}")
