"""Kubernetes Events: what people see in `kubectl describe`. Post them on transitions only.

An Event is a courtesy. Posting one never waits, never raises and never floods: what was said lately is not said again,
and what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from datetime import UTC
from typing import TYPE_CHECKING, Protocol

from bailiwick.cluster.errors import ApiError
from bailiwick.cluster.resources import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.pace import Pace

CONTROLLER = "bailiwick.dev/operator"
PER_SECOND, AT_ONCE = 5.0, 25
"""The lasting rate, and how many may be posted at once after a silence."""
WAITING = 250
REMEMBERED = 2048
QUIET_SECONDS = 600.0
"""The same thing about the same object is not said again for so long."""
NOTE_LENGTH = 1024
"""The API server's limit, in bytes."""
CALL_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told what became of every Event."""

    def event(self, outcome: str) -> None:
        """``outcome``: posted, repeated (so not posted), dropped (too many) or failed."""


class Events:
    """Posts Events about objects; `run` does the work. ``instance`` is the name of this pod."""

    def __init__(
        self,
        *,
        api: Api,
        instance: str,
        pace: Pace,
        now: Callable[[], datetime],
        observer: Observer | None = None,
    ) -> None:
        self._api = api
        self._instance = instance
        self._pace = pace
        self._now = now
        self._observer = observer
        self._said: OrderedDict[tuple[str, str, int], float] = OrderedDict()
        self._queue: asyncio.Queue[Raw] = asyncio.Queue(WAITING)

    def post(self, regarding: Raw, reason: str, note: str, *, action: str, warning: bool = False) -> None:
        """Say ``note`` about an object. ``reason`` and ``action`` are CamelCase words: why, and what we do about it."""
        metadata = regarding["metadata"]
        if self._repeated((metadata.get("uid", ""), reason, hash(note))):
            self._observe("repeated")
            return
        event = self._event(regarding, reason, note)
        event |= {"action": action, "type": "Warning" if warning else "Normal"}
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._observe("dropped")

    async def run(self) -> None:
        """Post what waits, no faster than the rate, until cancelled."""
        tokens, filled = float(AT_ONCE), self._pace.clock()
        while True:
            event = await self._queue.get()
            now = self._pace.clock()
            tokens, filled = min(tokens + (now - filled) * PER_SECOND, AT_ONCE), now
            if tokens < 1:
                await self._pace.sleep((1 - tokens) / PER_SECOND)
            tokens -= 1
            try:
                await self._api.create(EVENTS, event, seconds=CALL_SECONDS)
            except ApiError as error:
                logger.info("an Event could not be posted: %s", error)
                self._observe("failed")
            else:
                self._observe("posted")

    def _repeated(self, said: tuple[str, str, int]) -> bool:
        now = self._pace.clock()
        before = self._said.get(said)
        if before is not None and now - before < QUIET_SECONDS:
            return True
        self._said[said] = now
        self._said.move_to_end(said)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return False

    def _event(self, regarding: Raw, reason: str, note: str) -> Raw:
        metadata = regarding["metadata"]
        reference = {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            **{key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata},
        }
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            # Events about cluster-scoped objects live in the namespace "default"; the API server insists.
            "metadata": {
                "name": f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata.get("namespace", "default"),
            },
            "eventTime": self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "reason": reason,
            "note": _shortened(note),
            "regarding": reference,
        }

    def _observe(self, outcome: str) -> None:
        if self._observer:
            self._observer.event(outcome)


def _shortened(note: str) -> str:
    encoded = note.encode()
    if len(encoded) <= NOTE_LENGTH:
        return note
    return encoded[: NOTE_LENGTH - 3].decode(errors="ignore") + "…"
