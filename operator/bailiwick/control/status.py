"""The end of a reconcile: one status write, and Kubernetes Events for the conditions that turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.conditions import STALLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.events import Events
    from bailiwick.cluster.resources import Resource
    from bailiwick.control.writer import Writer


class StatusWriter:
    """Writes a status when it says something new, and tells what turned only after the write succeeded."""

    def __init__(self, *, writer: Writer, events: Events) -> None:
        self._writer = writer
        self._events = events

    async def write(self, resource: Resource, manifest: Raw, status: Mapping[str, Any]) -> None:
        """Make ``status`` the status of an object that was read as ``manifest``."""
        if not await self._writer.status(resource, manifest, status):
            return
        for condition in turned(manifest.get("status") or {}, status):
            good = condition["status"] == "True"
            note = condition["message"] or f"{condition['type']} is {condition['status']}"
            self._events.post(manifest, condition["reason"], note, action=condition["type"], warning=not good)


def turned(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Conditions that became True or False since ``before``. A new object's first steps are no news unless good.

    Stalled is none: Ready tells the same.
    """
    known = {condition["type"]: condition["status"] for condition in before.get("conditions", ())}
    for condition in after.get("conditions", ()):
        was = known.get(condition["type"], "False")
        if condition["status"] not in {was, "Unknown"} and condition["type"] != STALLED:
            yield condition
