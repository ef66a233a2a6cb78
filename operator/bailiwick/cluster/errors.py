"""What can go wrong with a call to the API server: one type per way of reacting, made in this module alone."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

_RETRIED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Client errors that go away by themselves: a token that was rotated under us, a slow body, too many requests."""
_SHOWN_BYTES = 512
_MISSPELT = "failed to create typed patch object"
"""The API server calls an unknown field in a server-side apply an error of its own (500); it will not pass tomorrow."""


class ApiError(Exception):
    """A call failed. Callers catch Transient, Conflict or Terminal; which one it is says what to do.

    ``status`` is the HTTP status, or None when no answer came; ``reason`` and ``message`` are those of the server's
    metav1.Status.
    """

    def __init__(
        self, call: str, *, status: int | None, reason: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        self.call = call
        self.status = status
        self.reason = reason
        self.message = message
        self.details: Mapping[str, Any] = details or {}
        shown = f"{status} {reason}" if status is not None else reason
        super().__init__(f"{call}: {shown}: {message}")


class Transient(ApiError):  # noqa: N818 - the three words of the design
    """Try the same again later: not reached, overloaded, too slow, restarting.

    ``retry_after`` is how many seconds the server asked us to wait, when it did.
    """

    retry_after: float | None = None


class Expired(Transient):
    """The resourceVersion or continue token is too old (410): list again."""


class Forbidden(Transient):
    """We may not (403). Rights come back, quotas get room.

    An API server that has just started forbids everything until it has read who may do what.
    """


class Conflict(ApiError):  # noqa: N818
    """Somebody changed the object meanwhile (409): look at it again and decide anew, soon."""


class Terminal(ApiError):  # noqa: N818
    """The same request will be refused again (400, 404, 422, …): somebody has to change something first."""


class NotFound(Terminal):
    """The object, or the kind itself, is not there (404)."""


_OF_STATUS: Mapping[int, type[ApiError]] = {
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Expired,
}


def refusal(call: str, status: int, body: bytes, *, retry_after: str | None = None) -> ApiError:
    """The error for an answer of 400 or above; ``body`` is a metav1.Status, or whatever a proxy said instead.

    ``call`` says what was tried, for example ``apply deployments clinic/chat``.
    """
    said = _status(body)
    reason = said.get("reason") or _phrase(status)
    message = said.get("message") or body[:_SHOWN_BYTES].decode(errors="replace").strip() or "no explanation given"
    details = said.get("details") or {}
    error = _type(status, said)(call, status=status, reason=reason, message=message, details=details)
    if isinstance(error, Transient):
        error.retry_after = _seconds(retry_after) or _seconds(details.get("retryAfterSeconds"))
    return error


def unreachable(call: str, error: BaseException) -> Transient:
    """The error for a call that got no (whole) answer: connection, TLS, timeout, a body that is not JSON."""
    timed_out = isinstance(error, TimeoutError)
    message = str(error) or type(error).__name__
    return Transient(call, status=None, reason="Timeout" if timed_out else "Unreachable", message=message)


def _type(code: int, said: Mapping[str, Any]) -> type[ApiError]:
    if str(said.get("message", "")).startswith(_MISSPELT):
        return Terminal
    if code in _RETRIED or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient
    return _OF_STATUS.get(code, Terminal)


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase.replace(" ", "")
    except ValueError:
        return "Unknown"


def _seconds(value: object) -> float | None:
    """Retry-After in its form of seconds; dates, which no API server sends, count as absent."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None
