"""What `bailiwick doctor` finds: one answer for each check, worst first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Raw = dict[str, Any]

VERSION = 1
"""Of the JSON; it grows by fields, and changes its number when one goes or means something else."""
MOST_HOLDERS = 100
"""In the JSON, of one finding. Their number is always told."""


class Severity(StrEnum):
    """How an answer is, worst first."""

    BAD = "Bad"
    DOUBTFUL = "Doubtful"
    UNSEEN = "Unseen"
    GOOD = "Good"


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something that could not be looked at: why, and what to do to see it."""

    why: str
    remedy: str


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """Somebody who has a right, and by what: the binding, the role that it gives, and the rule in it."""

    subject: str
    binding: str
    role: str
    rule: str

    def as_json(self) -> Raw:
        """For programs."""
        return {"subject": self.subject, "binding": self.binding, "role": self.role, "rule": self.rule}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer. ``remedy`` is empty where there is nothing to do."""

    severity: Severity
    check: str
    seen: str
    expected: str = ""
    remedy: str = ""
    holders: tuple[Holder, ...] = ()

    def as_json(self) -> Raw:
        """For programs."""
        told: Raw = {
            "severity": self.severity.value, "check": self.check, "seen": self.seen, "expected": self.expected,
            "remedy": self.remedy,
        }  # fmt: skip
        if self.holders:
            told["holdersTotal"] = len(self.holders)
            told["holders"] = [each.as_json() for each in self.holders[:MOST_HOLDERS]]
        return told


def good(check: str, seen: str) -> Finding:
    """As it should be."""
    return Finding(severity=Severity.GOOD, check=check, seen=seen)


def bad(check: str, seen: str, *, expected: str, remedy: str, holders: Sequence[Holder] = ()) -> Finding:
    """Nothing to build a border on."""
    return Finding(
        severity=Severity.BAD, check=check, seen=seen, expected=expected, remedy=remedy, holders=tuple(holders)
    )


def doubtful(check: str, seen: str, *, expected: str, remedy: str, holders: Sequence[Holder] = ()) -> Finding:
    """It may be meant so, or be wrong: somebody has to look."""
    return Finding(
        severity=Severity.DOUBTFUL, check=check, seen=seen, expected=expected, remedy=remedy, holders=tuple(holders)
    )


def unseen(check: str, what: Unseen, *, expected: str) -> Finding:
    """Neither good nor bad: whoever asked could not see it."""
    return Finding(severity=Severity.UNSEEN, check=check, seen=what.why, expected=expected, remedy=what.remedy)


@dataclass(frozen=True, slots=True)
class Fitness:
    """All answers, worst first, in the order of the checks otherwise."""

    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Fitness:
        """In order."""
        order = list(Severity)
        return cls(tuple(sorted(findings, key=lambda each: order.index(each.severity))))

    def having(self, severity: Severity) -> tuple[Finding, ...]:
        """The answers of one kind."""
        return tuple(each for each in self.findings if each.severity is severity)

    @property
    def fit(self) -> bool | None:
        """False where anything is bad; None where nothing is, but not everything could be seen."""
        if self.having(Severity.BAD):
            return False
        return None if self.having(Severity.UNSEEN) else True

    def as_json(self) -> Raw:
        """For programs."""
        return {"version": VERSION, "fit": self.fit, "findings": [each.as_json() for each in self.findings]}
