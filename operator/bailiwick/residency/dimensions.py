"""The questions that are asked about a machine, and how answers to them are worded."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from bailiwick.residency.verdict import Reason


class Dimension(StrEnum):
    """One question about a machine."""

    PLACE = "place"
    CONTROL = "control"
    BRAND = "brand"
    MANUFACTURE = "manufacture"
    DESIGN = "design"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a dimension is spoken of. ``question`` and ``answer`` have a place for `NodeFacts.called`.

    ``unknown`` is the reason where nobody ever said anything, ``wrong`` where the answer is outside; ``field`` is the
    part of a policy that asks.
    """

    question: str
    answer: str
    unknown: Reason
    wrong: Reason
    field: str


WORDING: Mapping[Dimension, Wording] = MappingProxyType({
    Dimension.PLACE: Wording(
        question="where {} stands",
        answer="{} stands in",
        unknown=Reason.PLACE_UNKNOWN,
        wrong=Reason.WRONG_PLACE,
        field="place",
    ),
    Dimension.CONTROL: Wording(
        question="whose law reaches the operator of {}",
        answer="the operator of {} is under the law of",
        unknown=Reason.CONTROL_UNKNOWN,
        wrong=Reason.WRONG_CONTROL,
        field="control",
    ),
    Dimension.BRAND: Wording(
        question="whose brand the hardware of {} carries",
        answer="the hardware of {} carries a brand from",
        unknown=Reason.ORIGIN_UNKNOWN,
        wrong=Reason.WRONG_ORIGIN,
        field="origin.brand",
    ),
    Dimension.MANUFACTURE: Wording(
        question="where the hardware of {} was made",
        answer="the hardware of {} was made in",
        unknown=Reason.ORIGIN_UNKNOWN,
        wrong=Reason.WRONG_ORIGIN,
        field="origin.manufacture",
    ),
    Dimension.DESIGN: Wording(
        question="where the hardware of {} was designed",
        answer="the hardware of {} was designed in",
        unknown=Reason.ORIGIN_UNKNOWN,
        wrong=Reason.WRONG_ORIGIN,
        field="origin.design",
    ),
})  # fmt: skip
