"""Making an object what we want it to be: nothing when it is, one apply when it is not, a reclaim after a hand edit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bailiwick.cluster.drift import Drift, adopt_fields, drift
from bailiwick.cluster.errors import Conflict, NotFound, Terminal
from bailiwick.cluster.trim import is_ours

if TYPE_CHECKING:
    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.resources import Resource

logger = logging.getLogger(__name__)

_NOT_THERE = "1"
"""A resourceVersion that no object has: with it an apply makes a new object, or conflicts with any that is there."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left on the API server, and why it was needed; ``drift`` is empty for a new object."""

    manifest: Raw
    drift: Drift


async def ensure(api: Api, resource: Resource, desired: Raw, live: Raw | None) -> Written | None:
    """Make an object what we want, given how a store knows it. Returns None when nothing had to be written.

    Raises Terminal (reason NameTaken) when the object is not in the store because somebody else made it, or belongs to
    another owner of ours, and what `Api.apply` raises; Conflict when it changed in between.
    """
    if live is None:
        return Written(await _make(api, resource, desired), Drift())
    _refuse_of_another(resource, live, desired)
    found = drift(live, desired)
    if not found:
        return None
    written = await (reclaim(api, resource, desired) if found.editors else api.apply(resource, desired))
    if left := drift(written, desired):
        logger.warning("%s %s still differs after an apply: %s", resource.kind, desired["metadata"]["name"], left)
    return Written(written, found)


async def reclaim(api: Api, resource: Resource, desired: Raw) -> Raw:
    """Apply, and remove what others put into ``spec`` of the object.

    Two writes. When the first one alone succeeds, we own fields that we do not want, which `drift` sees as surplus, so
    the next look repairs it. Raises Conflict when the object changed between reading and writing.
    """
    name, namespace = desired["metadata"]["name"], desired["metadata"].get("namespace")
    live = await api.get(resource, name, namespace)
    managed_fields = live["metadata"].get("managedFields") or []
    adopted = adopt_fields(managed_fields)
    if adopted != managed_fields:
        operations: list[dict[str, Any]] = [
            {"op": "replace", "path": "/metadata/managedFields", "value": adopted},
            # Replacing it with itself makes the API server compare it: a conflict when somebody was faster.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        ]
        await api.patch_json(resource, name, namespace, operations)
    return await api.apply(resource, desired)


async def _make(api: Api, resource: Resource, desired: Raw) -> Raw:
    """Apply an object that seems not to exist, without taking fields from anybody.

    The store may lag, or the object lost the label that we watch: then it is ours and is reclaimed. Otherwise somebody
    has an object of this name, and it stays theirs.
    """
    new = {**desired, "metadata": {**desired["metadata"], "resourceVersion": _NOT_THERE}}
    try:
        return await api.apply(resource, new)
    except Conflict as conflict:
        live = await _find(api, resource, desired)
        if live is None:
            raise
        if _is_ours(live, desired):
            _refuse_of_another(resource, live, desired)
            return await reclaim(api, resource, desired)
        raise _taken(resource, desired) from conflict


def _taken(resource: Resource, desired: Raw) -> Terminal:
    what = f"a {resource.kind} {desired['metadata']['name']!r}"
    return _name_taken(resource, desired, f"{what} that Bailiwick did not make is in the way; rename or remove it")


def _refuse_of_another(resource: Resource, live: Raw, desired: Raw) -> None:
    """Raises Terminal for what belongs to another owner, such as that of another model: two would undo each other.

    Owners are compared by name, so one that was deleted and made anew keeps what it had.
    """
    owner, wanted = _controller(live), _controller(desired)
    if owner and wanted and owner != wanted:
        what = f"a {resource.kind} {desired['metadata']['name']!r}"
        raise _name_taken(resource, desired, f"{what} belongs to {' '.join(owner)}; rename {' '.join(wanted)}")


def _controller(manifest: Raw) -> tuple[str, str] | None:
    owners = manifest["metadata"].get("ownerReferences") or ()
    return next(((owner["kind"], owner["name"]) for owner in owners if owner.get("controller")), None)


def _name_taken(resource: Resource, desired: Raw, message: str) -> Terminal:
    call = f"apply {resource.plural} {desired['metadata']['name']}"
    return Terminal(call, status=HTTPStatus.CONFLICT, reason="NameTaken", message=message)


async def _find(api: Api, resource: Resource, desired: Raw) -> Raw | None:
    try:
        return await api.get(resource, desired["metadata"]["name"], desired["metadata"].get("namespace"))
    except NotFound:
        return None


def _is_ours(live: Raw, desired: Raw) -> bool:
    """Whether we applied the object before, or it belongs to the same owner."""
    owners = {owner["uid"] for owner in live["metadata"].get("ownerReferences") or ()}
    wanted = {owner["uid"] for owner in desired["metadata"].get("ownerReferences") or ()}
    return bool(owners & wanted) or any(is_ours(entry) for entry in live["metadata"].get("managedFields") or ())
