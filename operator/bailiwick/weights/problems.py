"""What is the matter with weights: a reason for programs, and a sentence that says what to do."""

from __future__ import annotations


class WeightsError(Exception):
    """Weights that must not be served, or could not be fetched. ``reason`` becomes that of a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
