"""What an accelerator class must not set in the environment of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.residency.verdict import Reason, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bailiwick.workload.eligibility import Need


def opened(need: Need, where: str, *, never: Collection[str], fixed: Mapping[str, str]) -> Verdict | None:
    """Refuse the first variable that is ``never`` to be set, or set otherwise than ``fixed``; None: all are fine.

    ``where`` says of which engine and class, for the message.
    """
    for variable in need.serving.environment:
        if variable.name in never or variable.value != fixed.get(variable.name, variable.value):
            return refuse(
                Reason.FORBIDDEN_ARGUMENT,
                f"variable {variable.name} {where} is refused: Bailiwick keeps the engine offline and closed by it; "
                f"leave it out",
            )
    return None
