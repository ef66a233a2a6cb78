"""The port to the API server: raw objects in, raw objects out, a timeout on every call, three kinds of error.

No typed models: what we read goes through orjson into dicts, what we write is a dict. Every write carries our field
manager and asks for strict field validation, so that a misspelt field is an error and never silently dropped.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson

from bailiwick.cluster.calls import Call, Caller, Raw
from bailiwick.cluster.errors import Conflict, NotFound, Terminal, refusal, unreachable
from bailiwick.cluster.resources import RELEASE, kinds_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from bailiwick.cluster.calls import Observer
    from bailiwick.cluster.connection import Connection
    from bailiwick.cluster.errors import ApiError
    from bailiwick.cluster.resources import Resource

__all__ = ["FIELD_MANAGER", "Api", "Event", "Page", "Person", "Raw"]

FIELD_MANAGER = "bailiwick"
TOTAL_SECONDS = 30.0
CONCURRENCY = 32
PAGE_SIZE = 100
"""Objects per page of a list: a page of Deployments of 12 KB each takes some 8 MiB while it is parsed."""
SILENCE_SECONDS = 90.0
"""A watch without event or bookmark for so long is dead: the API server sends bookmarks every minute."""

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"

Propagation = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a list, with apiVersion and kind, and the version of the world that the whole list shows."""

    items: Sequence[Raw]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to act as. Without ``group``, Kubernetes adds those that follow from a service account's name."""

    user: str
    group: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """What asks the API server for it."""
        return {"Impersonate-User": self.user} | ({"Impersonate-Group": self.group} if self.group else {})


class Event(NamedTuple):
    """One event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK (its object has only a resourceVersion)."""

    type: str
    object: Raw


class Api:
    """The verbs, each within ``seconds`` in all, at most ``concurrency`` calls at once.

    They raise Transient, Conflict or Terminal (NotFound among them) of `bailiwick.cluster.errors`.
    ``guard`` is asked before every write and may raise; the leader's lease stops a process that lost it there.
    ``acting_as`` is somebody else in whose name every call is made, for which the right to impersonate is needed.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        connection: Connection,
        *,
        concurrency: int = CONCURRENCY,
        seconds: float = TOTAL_SECONDS,
        observer: Observer | None = None,
        guard: Callable[[], None] | None = None,
        acting_as: Person | None = None,
    ) -> None:
        self._caller = Caller(
            connection,
            concurrency=concurrency,
            seconds=seconds,
            observer=observer,
            guard=guard,
            headers=acting_as.headers if acting_as else None,
        )

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, seconds: float | None = None
    ) -> Raw:
        """One object, within ``seconds`` (absent: the usual time). Raises NotFound when it is not there."""
        return await self._caller.object(Call("get", "GET", resource, namespace, name), seconds)

    async def release(self, *, seconds: float | None = None) -> tuple[int, int]:
        """Major and minor version of Kubernetes, as the API server tells. Raises Transient for an odd answer, too."""
        call = Call("get", "GET", RELEASE)
        told = await self._caller.object(call, seconds)
        try:
            # Some makers write a minor version as 36+.
            major, minor = (int(str(told[part]).rstrip("+")) for part in ("major", "minor"))
        except (KeyError, ValueError) as error:
            raise unreachable(str(call), error) from error
        return major, minor

    async def served(self, api_version: str) -> frozenset[str]:
        """Plural names of what a group and version offers; empty where the API server does not serve it."""
        try:
            told = await self._caller.object(Call("get", "GET", kinds_of(api_version)))
        except NotFound:
            return frozenset()
        return frozenset(str(each["name"]) for each in told.get("resources") or ())

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        size: int = PAGE_SIZE,
    ) -> AsyncGenerator[Page]:
        """A consistent list, page by page. Raises Expired when reading it took too long: start again."""
        token = ""
        while True:
            chosen = {"labelSelector": labels, "fieldSelector": fields, "limit": str(size), "continue": token}
            params = {key: value for key, value in chosen.items() if value}
            answer = await self._caller.object(Call("list", "GET", resource, namespace, params=params))
            items = answer.get("items") or []
            for item in items:
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            yield Page(items, answer["metadata"]["resourceVersion"])
            token = answer["metadata"].get("continue", "")
            if not token:
                return

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> AsyncGenerator[Raw]:
        """The objects of a list, one by one."""
        async for page in self.pages(resource, namespace, labels=labels, fields=fields):
            for item in page.items:
                yield item

    async def create(
        self, resource: Resource, manifest: Raw, *, dry_run: bool = False, seconds: float | None = None
    ) -> Raw:
        """A new object. Raises Conflict (reason AlreadyExists) when there is one."""
        namespace = manifest["metadata"].get("namespace")
        params = _write(dry_run=dry_run)
        return await self._caller.object(
            Call("create", "POST", resource, namespace, params=params, body=manifest), seconds
        )

    async def apply(
        self,
        resource: Resource,
        manifest: Raw,
        *,
        subresource: str | None = None,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Raw:
        """Server-side apply: what ``manager`` stops setting is removed; what others own is its own after it.

        With a metadata.resourceVersion that is not the current one: Conflict.
        """
        metadata = manifest["metadata"]
        params = {**_write(dry_run=dry_run), "fieldManager": manager, "force": "true"}
        where = (resource, metadata.get("namespace"), metadata["name"], subresource)
        return await self._caller.object(Call("apply", "PATCH", *where, params, manifest, _APPLY))

    async def patch_status(self, resource: Resource, manifest: Raw, status: Raw) -> Raw:
        """Make ``status`` the whole status of the object that was read as ``manifest``: one write.

        A JSON patch, because only its test holds for every kind: a server-side apply of a custom resource's status
        ignores the uid, and would tell the state of a deleted object of another one with its name. Conflict then.
        """
        metadata = manifest["metadata"]
        operations: list[Raw] = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "add", "path": "/status", "value": status},
        ]
        name, namespace = metadata["name"], metadata.get("namespace")
        try:
            return await self.patch_json(resource, name, namespace, operations, subresource="status")
        except Terminal as error:
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or error.details:
                raise
            # Without details it is the test that failed; a status that the schema refuses has its causes there.
            message = f"another {resource.kind} has this name by now"
            raise Conflict(error.call, status=error.status, reason="Replaced", message=message) from error

    async def patch_merge(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Raw,
        *,
        subresource: str | None = None,
        dry_run: bool = False,
        seconds: float | None = None,
    ) -> Raw:
        """JSON merge patch: null removes. A metadata.resourceVersion in it must be current: Conflict."""
        params = _write(dry_run=dry_run)
        call = Call("patch", "PATCH", resource, namespace, name, subresource, params, patch, _MERGE)
        return await self._caller.object(call, seconds)

    async def patch_json(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        operations: Sequence[Raw],
        *,
        subresource: str | None = None,
    ) -> Raw:
        """JSON patch. A ``test`` that fails is Terminal (422); to race safely, replace /metadata/resourceVersion."""
        return await self._caller.object(
            Call("patch", "PATCH", resource, namespace, name, subresource, _write(), operations, _JSON_PATCH)
        )

    async def delete(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Delete an object; that it is not there is fine. Conflict when it is not the one that was meant."""
        known = {"uid": uid, "resourceVersion": resource_version}
        options: Raw = {"propagationPolicy": propagation}
        if preconditions := {key: value for key, value in known.items() if value}:
            options["preconditions"] = preconditions
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._caller.send(Call("delete", "DELETE", resource, namespace, name, body=options))
        except NotFound:
            return

    async def post_subresource(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        subresource: str,
        manifest: Raw,
        *,
        dry_run: bool = False,
        seconds: float | None = None,
    ) -> Raw:
        """POST to a subresource: eviction, binding, token."""
        params = _write(dry_run=dry_run)
        return await self._caller.object(
            Call("create", "POST", resource, namespace, name, subresource, params, manifest), seconds
        )

    async def watch(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        since: str,
        labels: str = "",
        fields: str = "",
        timeout_seconds: int = 300,
        silence: float = SILENCE_SECONDS,
    ) -> AsyncGenerator[Event]:
        """Events after a resourceVersion as they come, bookmarks among them, until the server ends the watch.

        Ends normally after ``timeout_seconds``: watch again from the last resourceVersion. Raises Expired when
        ``since`` is too old, Transient when the connection breaks or nothing came for ``silence`` seconds. Watches
        take no part in the limit on concurrent calls. Close the generator to end the watch.
        """
        chosen = {"labelSelector": labels, "fieldSelector": fields, "resourceVersion": since}
        params = {key: value for key, value in chosen.items() if value}
        params |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(timeout_seconds)}
        call = Call("watch", "GET", resource, namespace, params=params)
        async with aclosing(self._caller.lines(call, silence)) as lines:
            async for line in lines:
                yield _event(call, line)


def _write(*, dry_run: bool = False) -> dict[str, str]:
    params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    return {**params, "dryRun": "All"} if dry_run else params


def _event(call: Call, line: bytes) -> Event:
    try:
        event = orjson.loads(line)
        kind, manifest = event["type"], event["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise unreachable(str(call), error) from error
    if kind == "ERROR":
        raise _watch_error(call, manifest)
    return Event(kind, manifest)


def _watch_error(call: Call, status: Raw) -> ApiError:
    code = status.get("code")
    return refusal(str(call), code if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR, orjson.dumps(status))
