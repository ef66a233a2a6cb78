"""What `bailiwick check` found, as every kind of report tells it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from bailiwick.api.residencypolicy import Mode


class Level(StrEnum):
    """How bad: what the API server does about it in the policy's mode."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


LEVELS = {Mode.ENFORCE: Level.ERROR, Mode.WARN: Level.WARNING, Mode.AUDIT: Level.NOTE}


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """An object of a file. ``namespace`` is empty where it has none."""

    file: str
    line: int
    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Violation:
    """A rule that an object breaks. ``line`` is that of the field as far as it could be found, else the object's."""

    thing: Thing
    line: int
    level: Level
    guard: str
    policy: str
    """Empty for what holds whatever policies there are."""
    rule: str
    """The Reason."""
    expected: str
    seen: str
    remedy: str

    @property
    def message(self) -> str:
        """As the API server would say it."""
        seen = f", but {self.seen}" if self.seen else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.rule}: {self.expected}{seen}{remedy}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        thing = self.thing
        return {
            "file": thing.file, "line": self.line, "level": self.level,
            "object": {
                "apiVersion": thing.api_version, "kind": thing.kind, "namespace": thing.namespace or None,
                "name": thing.name, "line": thing.line,
            },
            "policy": self.policy or None, "guard": self.guard, "rule": self.rule, "expected": self.expected,
            "seen": self.seen, "remedy": self.remedy,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Unjudged:
    """What only a cluster can judge of an object, and by which policy."""

    what: str
    thing: Thing
    guard: str
    policy: str

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "what": self.what, "file": self.thing.file, "line": self.thing.line, "object": str(self.thing),
            "guard": self.guard, "policy": self.policy or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Unusable:
    """Why something that was given could not be judged at all."""

    file: str
    line: int
    message: str

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


@dataclass(slots=True)
class Result:
    """Of one run."""

    judged: list[Thing] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    unjudged: list[Unjudged] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def failing(self, *, strict: bool) -> bool:
        """Whether something was found that the API server would refuse; ``strict``: or would tell of."""
        return any(strict or each.level is Level.ERROR for each in self.violations)


def taken_apart(message: str) -> tuple[str, str, str, str]:
    """Reason, what was expected, what was seen and what to do, of a message of an in-tree policy."""
    reason, _, rest = message.partition(": ")
    expected, but, told = rest.partition(", but ")
    if not but:
        expected, _, remedy = rest.partition("; ")
        return reason, expected, "", remedy
    seen, semicolon, remedy = told.rpartition("; ")
    return (reason, expected, seen, remedy) if semicolon else (reason, expected, told, "")
