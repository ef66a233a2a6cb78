"""Objects of which nothing may differ: those of the border, whose every field decides what is refused.

`bailiwick.cluster.drift` asks who owns a field. Here that is not enough: whoever may write a policy may also write
fields that nobody owns. So the whole spec is compared, and replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from bailiwick.cluster.drift import adopt_fields
from bailiwick.cluster.errors import Conflict

if TYPE_CHECKING:
    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.resources import Resource

_DEFAULTS: Final = {"matchPolicy": "Equivalent", "scope": "*", "failurePolicy": "Fail"}
"""What the API server adds to policies and bindings where nothing is said."""
HAND_OVERS: Final = 5
_NOT_THERE: Final = "1"
"""A resourceVersion that no object has: with it an apply makes a new object, or conflicts with any that is there."""


class Fault(StrEnum):
    """What was wrong with an object."""

    GONE = "was gone"
    CHANGED = "was changed"


@dataclass(frozen=True, slots=True)
class Put:
    """An object as it is now, and what was wrong with it before; None when nothing was, so nothing was written."""

    manifest: Raw
    fault: Fault | None


def same(live: Raw, wanted: Raw) -> bool:
    """Whether an object has exactly the spec that is wanted, and at least the labels and annotations."""
    return _bare(live.get("spec")) == _bare(wanted.get("spec")) and all(
        wanted["metadata"].get(key, {}).items() <= (live["metadata"].get(key) or {}).items()
        for key in ("labels", "annotations")
    )


async def put(api: Api, resource: Resource, wanted: Raw, live: Raw | None, *, manager: str) -> Put:
    """Make a cluster-scoped object what is wanted, given how a store knows it.

    ``manager`` is left as the one that applied the spec: that of whoever installs the object, so that its next upgrade
    meets nobody else's fields. Raises what `Api.apply` raises.
    """
    name = wanted["metadata"]["name"]
    if live is None:
        new = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": _NOT_THERE}}
        try:
            return Put(await api.apply(resource, new, manager=manager), Fault.GONE)
        except Conflict:  # there is one by now
            pass
    live = await api.get(resource, name)
    if same(live, wanted):
        return Put(live, None)
    written = await api.patch_json(resource, name, None, _changes(live, wanted))
    return Put(await _hand_over(api, resource, written, manager), Fault.CHANGED)


async def _hand_over(api: Api, resource: Resource, written: Raw, manager: str) -> Raw:
    """Make ``manager`` the owner of the spec. Kubernetes tells by then in the status what it thinks of a new policy."""
    name = written["metadata"]["name"]
    for _ in range(HAND_OVERS):
        managed_fields = written["metadata"].get("managedFields") or []
        adopted = adopt_fields(managed_fields, manager)
        if adopted == managed_fields:
            break
        owned = {"op": "replace", "path": "/metadata/managedFields", "value": adopted}
        try:
            return await api.patch_json(resource, name, None, [_unmoved(written), owned])
        except Conflict:
            written = await api.get(resource, name)
    return written


def _changes(live: Raw, wanted: Raw) -> list[Raw]:
    changes: list[Raw] = [{"op": "replace", "path": "/spec", "value": wanted["spec"]}]
    for key in ("labels", "annotations"):
        if more := wanted["metadata"].get(key):
            both = {**(live["metadata"].get(key) or {}), **more}
            changes.append({"op": "add", "path": f"/metadata/{key}", "value": both})
    return changes


def _unmoved(live: Raw) -> Raw:
    """Replacing the version with itself makes the API server compare it: a conflict when somebody was faster."""
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}


def _bare(value: Any) -> Any:
    """A value without what is as good as absent: nothing, and what the API server adds by itself."""
    if isinstance(value, dict):
        return {key: bare for key, each in value.items() if not _absent(bare := _bare(each), key)}
    return [_bare(each) for each in value] if isinstance(value, list) else value


def _absent(value: Any, key: str) -> bool:
    return value is None or value in ({}, []) or value == _DEFAULTS.get(key)
