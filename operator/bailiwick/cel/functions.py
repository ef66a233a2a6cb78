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
    """A regular expression in RE2's notation, in which `$` is the very end, and classes are of ASCII.

    Raises EvaluationError.
    """

    def classed(found: re.Match[str]) -> str:
        if found[1] not in _CLASSES:
            raise EvaluationError(f"the class {found[0]} is not known")
        return _CLASSES[found[1]]

    try:
        return re.compile(_ends(_CLASS.sub(classed, text)), re.ASCII)
    except re.error as error:
        raise EvaluationError(f"{text} is no regular expression: {error}") from None


def _ends(text: str) -> str:
    """With the mark for the end as Python writes it: `$` would also match before a last line break."""
    made, within, escaped = [], False, False
    for character in text:
        made.append(r"\Z" if character == "$" and not within and not escaped else character)
        if not escaped:
            within = character == "[" or (within and character != "]")
        escaped = character == "\\" and not escaped
    return "".join(made)


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
