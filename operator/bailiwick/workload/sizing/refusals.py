"""The one way in which sizing says that it cannot."""

from __future__ import annotations

from bailiwick.residency.verdict import Problem, Reason


class UnsizableError(Exception):
    """Something is unknown, malformed or too large; ``problem`` tells what was seen and what to give."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(reason, message)
