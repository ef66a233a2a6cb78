"""Conditions as the API convention has them: the time moves only when the status does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.api.resource import ConditionStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime


STALLED = "Stalled"
"""The one condition that is bad news when it is True, as kstatus has it; it is there only while it is."""


@dataclass(frozen=True, slots=True)
class Stated:
    """One aspect, as it is judged now. ``reason`` is one CamelCase word, ``message`` a sentence."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def true(kind: str, reason: str, message: str = "") -> Stated:
    """The aspect is as it should be."""
    return Stated(kind, ConditionStatus.TRUE, reason, message)


def false(kind: str, reason: str, message: str) -> Stated:
    """The aspect is not as it should be; the message says why and what to do."""
    return Stated(kind, ConditionStatus.FALSE, reason, message)


def unknown(kind: str, reason: str, message: str) -> Stated:
    """Nobody can say."""
    return Stated(kind, ConditionStatus.UNKNOWN, reason, message)


def settle(
    previous: Iterable[Mapping[str, Any]], stated: Sequence[Stated], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The conditions of a status, as JSON. An aspect that kept its status keeps the time of its last transition."""
    since = {(known["type"], known["status"]): known["lastTransitionTime"] for known in previous}
    return [
        {
            "type": each.type,
            "status": each.status.value,
            "observedGeneration": generation,
            "lastTransitionTime": since.get((each.type, each.status.value), f"{now:%Y-%m-%dT%H:%M:%SZ}"),
            "reason": each.reason,
            "message": each.message,
        }
        for each in stated
    ]
