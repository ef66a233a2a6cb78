"""Values as CEL sees them. Lists, maps, texts, numbers and null are Python's own; what Python has not is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class EvaluationError(Exception):
    """An expression has no value for what it is asked about. The API server refuses the request then."""


class UnknownError(EvaluationError):
    """Its value hangs on something that is not known here; the text says on what."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Stands for a value that only a cluster knows: whatever reads it has no value either."""

    what: str


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value that may be absent: of ``a.?b``, and whatever is selected of that."""

    held: tuple[Any, ...]
    """The value alone, or nothing."""

    def select(self, field: str) -> Maybe:
        """The field, when both are there."""
        value = self.held[0] if self.held else None
        return Maybe((known(value[field]),)) if isinstance(value, dict) and field in value else ABSENT


ABSENT: Final = Maybe(())


@dataclass(slots=True)
class Deferred:
    """A value that is worked out when somebody first asks for it, as the variables of a policy are."""

    work_out: Callable[[], Any]
    _held: list[Any] = field(default_factory=list)

    def value(self) -> Any:
        """The value. Raises EvaluationError each time where there is none."""
        if not self._held:
            self._held.append(self.work_out())
        return self._held[0]


def known(value: Any) -> Any:
    """The value itself. Raises UnknownError where it stands for one that is not known."""
    if isinstance(value, Unknown):
        raise UnknownError(value.what)
    return value.value() if isinstance(value, Deferred) else value


def equal(left: Any, right: Any) -> bool:
    """As CEL compares: a truth value is no number."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    return bool(left == right)


def truth(value: Any) -> bool:
    """The value if it is a truth value. Raises EvaluationError: nothing else counts as one."""
    if value is True or value is False:
        return value
    raise EvaluationError(f"{type(value).__name__} is no truth value")
