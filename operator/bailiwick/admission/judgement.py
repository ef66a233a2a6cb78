"""What a check says: a verdict, and warnings that refuse nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from bailiwick.admission.known import Known
from bailiwick.admission.review import Review
from bailiwick.residency.verdict import ALLOWED, Reason, Verdict, refuse

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to one review."""

    verdict: Verdict = ALLOWED
    warnings: tuple[str, ...] = ()


Check = Callable[[Review, Known], Awaitable[Judgement]]
"""Judges one kind. Raises `LookupFailedError` when what it needs cannot be known."""

FINE = Judgement()


def refused(reason: Reason, message: str) -> Judgement:
    """No."""
    return Judgement(refuse(reason, message))


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more."""
    every = sorted(set(names))
    more = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {more} more" if more > 0 else "")
