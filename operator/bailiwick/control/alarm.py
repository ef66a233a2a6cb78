"""What happens when somebody took something of the border away, or changed it: a log line, a metric, no more proof."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from bailiwick.control.canary import SETTLE_SECONDS
from bailiwick.control.routes import CANARY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.exact import Fault
    from bailiwick.control.canary import CanaryLoop
    from bailiwick.control.queue import KeyedQueue

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told about every object of the border that was not as it must be."""

    def repaired(self, guard: str, fault: str, outcome: str) -> None:
        """``guard`` is the in-tree policy that it is or puts into force; ``outcome``: repaired or failed."""


class Alarm:
    """Raised by the loops that put things back, for the residency policies (by name) that need them.

    These are not enforced from then on, until the canary proves it again; that turn is a Kubernetes Event.
    """

    def __init__(self, *, canary: CanaryLoop, queue: KeyedQueue, observer: Observer) -> None:
        self._canary = canary
        self._queue = queue
        self._observer = observer

    def repaired(self, manifest: Raw, fault: Fault, policies: Iterable[str]) -> None:
        """An object is as it must be again. Until then nothing could tell what went on."""
        self._raise(manifest, fault, "repaired", "is put back; the canary tries again", policies)

    def failed(self, manifest: Raw, fault: Fault, error: Exception, policies: Iterable[str]) -> None:
        """An object could not be put right."""
        self._raise(manifest, fault, "failed", f"could not be put back: {error}", policies)

    def _raise(self, manifest: Raw, fault: Fault, outcome: str, then: str, policies: Iterable[str]) -> None:
        name = manifest["metadata"]["name"]
        said = f"{manifest['kind']} {name} {fault} and {then}"
        logger.warning("%s", said)
        self._observer.repaired(guard_of(manifest), fault.name.lower(), outcome)
        for policy in policies:
            if self._canary.broken(policy, said):
                self._queue.add_after(CANARY, policy, SETTLE_SECONDS)


def guard_of(manifest: Raw) -> str:
    """The in-tree policy that an object is, or puts into force; another object's own name."""
    return str(manifest["spec"].get("policyName") or manifest["metadata"]["name"])
