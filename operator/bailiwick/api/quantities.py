"""Amounts in Kubernetes' notation: 80Gi, 500m, 4."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from bailiwick.api.markers import IntOrString, Rule
from bailiwick.api.names import named

_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]{1,9})|([numkMGTPE]|[KMGTPE]i)?)")

_FORM = "^[+-]?[.]?[0-9][0-9.]*([eE][+-]?[0-9]{1,2}|[a-zA-Z]{0,2})$"
"""What is asked whether it is a quantity. Of an exponent such as 999999999 the API server would make a number of as
many digits, for minutes; and a bare suffix would be an amount of 0."""


def amount(quantity: str) -> Decimal:
    """The number that a quantity stands for, in its base unit (bytes, cores, devices). Raises ValueError.

    Source of the notation: apimachinery, pkg/api/resource/quantity.go.
    """
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity such as 80Gi, 500m or 4")
    number, exponent, suffix = match.groups()
    return Decimal(f"{number}{exponent}") if exponent else Decimal(number) * _FACTORS[suffix or ""]


def _is_amount(quantity: str) -> bool:
    try:
        return re.fullmatch(_FORM, quantity) is not None and amount(quantity) >= 0
    except ValueError:
        return False


def _as_text(value: Any) -> Any:
    """YAML's ``cpu: 4`` is a number, and means ``"4"``."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(max_length=32),
    IntOrString,
    Rule(
        f"string(self).matches('{_FORM}') && isQuantity(string(self))"
        " && !quantity(string(self)).isLessThan(quantity('0'))",
        "must be a quantity such as 80Gi, 500m or 4, and not negative",
        holds=_is_amount,
    ),
]
"""An amount that is not negative; ``amount`` reads it."""

PositiveNumber = Annotated[
    str,
    Field(max_length=32),
    named(
        "^(0[.][0-9]{0,14}[1-9][0-9]{0,14}|[1-9][0-9]{0,14}([.][0-9]{1,15})?)$",
        "must be a positive decimal number such as 0.35",
    ),
]
"""A decimal number above 0, as text: a float would not be read the same everywhere."""
