"""The condition Stalled: what is wrong will stay wrong until somebody acts. Pure.

GitOps controllers compute health by the rules of kstatus: an object whose Ready is not True is on its way, for ever if
need be, unless Stalled is True: then it failed. So a reason that time, or another object of the same push, can cure
waits, and every other reason stands still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.conditions import STALLED, true
from bailiwick.api.resource import ConditionStatus
from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from bailiwick.api.conditions import Stated

WAITS: frozenset[str] = frozenset({
    # Work goes on, or the API server is asked again.
    "Progressing", "Importing", "NotWritten",
    # Something that the object names, or is to be found by, is not there yet; a push may hold both, in any order.
    Reason.UNGOVERNED, Reason.ENDPOINT_UNKNOWN, Reason.AUTHORITY_UNKNOWN, Reason.MISSING_PROFILE,
    Reason.NO_ACCELERATOR, Reason.NOT_INSTALLED, Reason.UNKNOWN_JURISDICTION, "PolicyUnknown",
    "CredentialsMissing", "CreateContainerConfigError", "GateNotStarted",
    # A machine is to come, or to become free.
    "NoNodeInside", "NodeUnknown", "NoEligibleNode", "Unschedulable", "Evicted",
    # A controller tries again: a quota that is used up, a border that is being written, a network that is being shut.
    "FailedCreate", "FailedDelete", "NotSealed", "SourceUnreachable", "SourceChanged",
    # People, or the clock.
    Reason.APPROVALS_MISSING, "NotYet",
})  # fmt: skip
"""Reasons that pass by themselves. Any other does not, also of those that containers and other controllers give."""


def with_stalled(ready: Stated, *, cause: str | None = None, overdue: bool = False) -> tuple[Stated, ...]:
    """Ready, and Stalled beside it, with the same words, where nothing gets better by waiting.

    ``cause`` is the reason behind that of Ready, if it is another; ``overdue`` says that what was waited for should
    have come by now.
    """
    waits = (cause or ready.reason) in WAITS and not overdue
    if ready.status is ConditionStatus.TRUE or waits:
        return (ready,)
    return (ready, true(STALLED, ready.reason, ready.message))
