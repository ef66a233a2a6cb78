"""One request to the API server: bounded in time and number, observed, its failures turned into our errors."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import orjson

from bailiwick.cluster.errors import refusal, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence

    from bailiwick.cluster.connection import Connection
    from bailiwick.cluster.resources import Resource

Raw = dict[str, Any]
"""An object as JSON has it."""

JSON = "application/json"
CONNECT_SECONDS = 5.0
_WARNINGS_KEPT = 256
_CONNECTING = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
"""The time for a whole call is kept by Caller itself: it includes the wait for a slot."""

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told about every finished call."""

    def called(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """``code`` is the HTTP status, or Timeout, Unreachable, Cancelled; ``seconds`` run until the last byte."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and how it is called in errors and metrics."""

    verb: str
    method: str
    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    params: Mapping[str, str] | None = None
    body: Raw | Sequence[Raw] | None = None
    content_type: str = JSON

    @property
    def path(self) -> str:
        """URL path."""
        return self.resource.path(self.namespace, self.name, self.subresource)

    @property
    def label(self) -> str:
        """What metrics call it."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    def __str__(self) -> str:
        target = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.label} {target}".rstrip()


@dataclass(slots=True)
class _Outcome:
    """The HTTP status of a call, or why there is none, and when it began."""

    code: str = "Cancelled"
    begun: float = field(default_factory=time.monotonic)


class Caller:
    """Makes calls, so many at once, each within ``seconds`` in all. ``guard`` is asked before every write.

    It is asked at the last moment, when a connection is there: not even a process that was paused meanwhile may send.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        connection: Connection,
        *,
        concurrency: int,
        seconds: float,
        observer: Observer | None,
        guard: Callable[[], None] | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._headers = headers or {}
        self._slots = asyncio.Semaphore(concurrency)
        self._seconds = seconds
        self._observer = observer
        self._guard = guard
        self._warned: set[str] = set()

    async def object(self, call: Call, seconds: float | None = None) -> Raw:
        """The answer, parsed."""
        body = await self.send(call, seconds)
        try:
            answer: Raw = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise unreachable(str(call), error) from error
        return answer

    async def send(self, call: Call, seconds: float | None = None) -> bytes:
        """The body of the answer. The time limit includes the wait for a slot, so that no caller waits for ever."""
        seconds = self._seconds if seconds is None else seconds
        try:
            with self._observed(call) as outcome:
                async with asyncio.timeout(seconds), self._slots, self._request(call, outcome) as response:
                    return await response.read()
        except TimeoutError as error:
            raise unreachable(str(call), TimeoutError(f"no answer within {seconds:g} s")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(str(call), error) from error

    async def lines(self, call: Call, silence: float) -> AsyncGenerator[bytes]:
        """The lines of an answer that goes on, as they come; Transient when nothing came for ``silence`` seconds.

        Takes part neither in the limit on calls at once nor in that on their time.
        """
        patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            with self._observed(call) as outcome:
                async with self._request(call, outcome, patience) as response:
                    async for line in _lines(response.content):
                        yield line
        except TimeoutError as error:
            raise unreachable(str(call), TimeoutError(f"no event or bookmark for {silence:g} s")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(str(call), error) from error

    @asynccontextmanager
    async def _request(
        self, call: Call, outcome: _Outcome, patience: aiohttp.ClientTimeout = _CONNECTING
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer below 400; raises ApiError for one above, and lets errors of the transport through."""
        outcome.begun = time.monotonic()
        headers = {"Accept": JSON, **self._headers, **await self._connection.headers()}
        data = None
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            data = orjson.dumps(call.body)
        async with self._connection.session.request(
            call.method,
            self._connection.url + call.path,
            params=call.params,
            data=data,
            headers=headers,
            timeout=patience,
            trace_request_ctx=self._guard if call.method != "GET" else None,
            **self._connection.options,
        ) as response:
            outcome.code = str(response.status)
            self._warn(call, response)
            if response.status >= HTTPStatus.BAD_REQUEST:
                retry_after = response.headers.get("Retry-After")
                raise refusal(str(call), response.status, await response.read(), retry_after=retry_after)
            yield response

    @contextmanager
    def _observed(self, call: Call) -> Iterator[_Outcome]:
        outcome = _Outcome()
        try:
            yield outcome
        except TimeoutError:
            outcome.code = "Timeout"
            raise
        except (aiohttp.ClientError, OSError):
            outcome.code = "Unreachable"
            raise
        finally:
            if self._observer:
                self._observer.called(call.verb, call.label, outcome.code, time.monotonic() - outcome.begun)

    def _warn(self, call: Call, response: aiohttp.ClientResponse) -> None:
        """Log each warning of the API server once, or a deprecated field would fill the log."""
        for warning in response.headers.getall("Warning", ()):
            if warning not in self._warned and len(self._warned) < _WARNINGS_KEPT:
                self._warned.add(warning)
                logger.warning("%s: the API server warns: %s", call, warning)


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
