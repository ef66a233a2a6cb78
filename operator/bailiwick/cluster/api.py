"""The port to the API server: raw objects in, raw objects out, a timeout on every call, three kinds of error.

No typed models: what we read goes through orjson into dicts, what we write is a dict. Every write carries our field
manager and asks for strict field validation, so that a misspelt field is an error and never silently dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import aiohttp
import orjson

from bailiwick.cluster.errors import NotFound, refusal, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from bailiwick.cluster.connection import Connection
    from bailiwick.cluster.errors import ApiError
    from bailiwick.cluster.resources import Resource

Raw = dict[str, Any]
"""An object as JSON has it."""

FIELD_MANAGER = "bailiwick"
TOTAL_SECONDS = 30.0
CONNECT_SECONDS = 5.0
CONCURRENCY = 32
PAGE_SIZE = 250
"""Objects per page of a list: a page of 6 KB pods costs some 8 MiB while it is parsed."""
SILENCE_SECONDS = 90.0
"""A watch without event or bookmark for so long is dead: the API server sends bookmarks every minute."""

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_WARNINGS_KEPT = 256
_CONNECTING = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
"""The time for a whole call is kept by Api itself: it includes the wait for a slot."""

Propagation = Literal["Background", "Foreground", "Orphan"]

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told about every finished call."""

    def called(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """``code`` is the HTTP status, or the reason when no answer came; ``seconds`` run until the last byte."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a list, with apiVersion and kind, and the version of the world that the whole list shows."""

    items: Sequence[Raw]
    resource_version: str


class Event(NamedTuple):
    """One event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK (its object has only a resourceVersion)."""

    type: str
    object: Raw


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, and how it is called in errors and metrics."""

    verb: str
    method: str
    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    params: Mapping[str, str] | None = None
    body: Raw | Sequence[Raw] | None = None
    content_type: str = _JSON

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace, self.name, self.subresource)

    @property
    def label(self) -> str:
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    def __str__(self) -> str:
        target = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.label} {target}".rstrip()


class Api:
    """The verbs, each within ``seconds`` in all.

    They raise Transient, Conflict or Terminal (NotFound among them) of `bailiwick.cluster.errors`.
    ``guard`` is asked before every write and may raise; the leader's lease stops a process that lost it there.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        concurrency: int = CONCURRENCY,
        seconds: float = TOTAL_SECONDS,
        observer: Observer | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._slots = asyncio.Semaphore(concurrency)
        self._seconds = seconds
        self._observer = observer
        self._guard = guard
        self._warned: set[str] = set()

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, seconds: float | None = None
    ) -> Raw:
        """One object, within ``seconds`` (absent: the usual time). Raises NotFound when it is not there."""
        return await self._object(_Call("get", "GET", resource, namespace, name), seconds)

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
            answer = await self._object(_Call("list", "GET", resource, namespace, params=params))
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
        return await self._object(_Call("create", "POST", resource, namespace, params=params, body=manifest), seconds)

    async def apply(
        self,
        resource: Resource,
        manifest: Raw,
        *,
        subresource: str | None = None,
        force: bool = True,
        dry_run: bool = False,
    ) -> Raw:
        """Server-side apply: what we stop setting is removed; what others own is ours after it, with ``force``.

        Without ``force`` a field that somebody else set otherwise is a Conflict (reason Conflict, with causes).

        With metadata.uid the object must still be that one, with metadata.resourceVersion also unchanged: Conflict.
        """
        metadata = manifest["metadata"]
        params = {**_write(dry_run=dry_run), "force": str(force).lower()}
        where = (resource, metadata.get("namespace"), metadata["name"], subresource)
        return await self._object(_Call("apply", "PATCH", *where, params, manifest, _APPLY))

    async def patch_status(self, resource: Resource, manifest: Raw, status: Raw) -> Raw:
        """Make ``status`` what we say about an object that was read as ``manifest``: one write, by server-side apply.

        What we said before and leave out now is removed. Conflict when the object was replaced by another of its name.
        """
        metadata = {
            key: manifest["metadata"][key] for key in ("name", "namespace", "uid") if key in manifest["metadata"]
        }
        stated = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
            "status": status,
        }
        return await self.apply(resource, stated, subresource="status")

    async def patch_merge(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Raw,
        *,
        subresource: str | None = None,
        seconds: float | None = None,
    ) -> Raw:
        """JSON merge patch: null removes. A metadata.resourceVersion in it must be current: Conflict."""
        call = _Call("patch", "PATCH", resource, namespace, name, subresource, _write(), patch, _MERGE)
        return await self._object(call, seconds)

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
        return await self._object(
            _Call("patch", "PATCH", resource, namespace, name, subresource, _write(), operations, _JSON_PATCH)
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
            await self._send(_Call("delete", "DELETE", resource, namespace, name, body=options))
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
    ) -> Raw:
        """POST to a subresource: eviction, binding, token."""
        params = _write(dry_run=dry_run)
        return await self._object(_Call("create", "POST", resource, namespace, name, subresource, params, manifest))

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
        call = _Call("watch", "GET", resource, namespace, params=params)
        patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            async with self._request(call, patience) as response:
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _watch_error(call, event["object"])
                    yield Event(event["type"], event["object"])
        except TimeoutError as error:
            raise unreachable(str(call), TimeoutError(f"no event or bookmark for {silence:g} s")) from error
        except (aiohttp.ClientError, OSError, orjson.JSONDecodeError, KeyError) as error:
            raise unreachable(str(call), error) from error

    async def _object(self, call: _Call, seconds: float | None = None) -> Raw:
        body = await self._send(call, seconds)
        try:
            answer: Raw = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise unreachable(str(call), error) from error
        return answer

    async def _send(self, call: _Call, seconds: float | None = None) -> bytes:
        """The body of the answer. The time limit includes the wait for a slot, so that no caller waits for ever."""
        seconds = self._seconds if seconds is None else seconds
        if self._guard and call.method != "GET":
            self._guard()
        try:
            async with asyncio.timeout(seconds), self._slots, self._request(call) as response:
                return await response.read()
        except TimeoutError as error:
            raise unreachable(str(call), TimeoutError(f"no answer within {seconds:g} s")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(str(call), error) from error

    @asynccontextmanager
    async def _request(
        self, call: _Call, patience: aiohttp.ClientTimeout = _CONNECTING
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer below 400, observed; raises ApiError for one above, and lets errors of the transport through."""
        begun, code = time.monotonic(), "Unreachable"
        headers = {"Accept": _JSON, **await self._connection.headers()}
        data = None
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            data = orjson.dumps(call.body)
        try:
            async with self._connection.session.request(
                call.method,
                self._connection.url + call.path,
                params=call.params,
                data=data,
                headers=headers,
                timeout=patience,
                **self._connection.options,
            ) as response:
                code = str(response.status)
                self._warn(call, response)
                if response.status >= HTTPStatus.BAD_REQUEST:
                    retry_after = response.headers.get("Retry-After")
                    raise refusal(str(call), response.status, await response.read(), retry_after=retry_after)
                yield response
        except TimeoutError:
            code = "Timeout"
            raise
        finally:
            if self._observer:
                self._observer.called(call.verb, call.label, code, time.monotonic() - begun)

    def _warn(self, call: _Call, response: aiohttp.ClientResponse) -> None:
        """Log each warning of the API server once, or a deprecated field would fill the log."""
        for warning in response.headers.getall("Warning", ()):
            if warning not in self._warned and len(self._warned) < _WARNINGS_KEPT:
                self._warned.add(warning)
                logger.warning("%s: the API server warns: %s", call, warning)


def _write(*, dry_run: bool = False) -> dict[str, str]:
    params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    return {**params, "dryRun": "All"} if dry_run else params


def _watch_error(call: _Call, status: Raw) -> ApiError:
    code = status.get("code")
    return refusal(str(call), code if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR, orjson.dumps(status))


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: readline() of the stream gives up on objects larger than its buffer."""
    rest = bytearray()
    async for chunk in content.iter_any():
        *complete, tail = chunk.split(b"\n")
        for line in complete:
            whole = bytes(rest) + line if rest else line
            rest.clear()
            if whole:
                yield whole
        rest += tail
