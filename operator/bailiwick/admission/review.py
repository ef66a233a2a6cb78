"""AdmissionReview v1 as bytes: what is asked, and how the answer is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from bailiwick.admission.judgement import Judgement

API_VERSION = "admission.k8s.io/v1"
MOST_BYTES = 2**20
"""A review of a change holds the object twice. The lists of our kinds are bounded: none comes near half of this."""
_OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
_MOST_WARNINGS = 10
_LONGEST_WARNING = 400
"""The API server shows 4096 bytes of warnings in all."""


class MalformedError(Exception):
    """The body is no AdmissionReview of the version that we speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One question. ``after`` is None at DELETE, ``before`` at CREATE; ``namespace`` is empty for cluster-scoped kinds.

    ``kind`` and ``group`` are those of the object, whatever version was sent.
    """

    uid: str
    group: str
    kind: str
    subresource: str
    operation: str
    name: str
    namespace: str
    user: User
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def parse(body: bytes) -> Review:
    """The question in a request's body. Raises MalformedError."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not JSON: {error}") from error
    review = _mapping(review, "the body")
    if (review.get("apiVersion"), review.get("kind")) != (API_VERSION, "AdmissionReview"):
        raise MalformedError(f"expected an AdmissionReview of {API_VERSION}")
    request = _mapping(review.get("request"), "request")
    kind, user = _mapping(request.get("kind"), "request.kind"), _mapping(request.get("userInfo"), "request.userInfo")
    operation = _text(request, "operation")
    if operation not in _OPERATIONS:
        raise MalformedError(f"request.operation is none of {', '.join(sorted(_OPERATIONS))}")
    before, after = (_object(request, part) for part in ("oldObject", "object"))
    if operation in {"CREATE", "UPDATE"} and after is None:
        raise MalformedError("request.object is missing")
    if operation in {"DELETE", "UPDATE"} and before is None:
        raise MalformedError("request.oldObject is missing")
    uid = _text(request, "uid")
    if not uid:
        raise MalformedError("request.uid is missing")
    return Review(
        uid=uid,
        group=_text(kind, "group"),
        kind=_text(kind, "kind"),
        subresource=_text(request, "subResource"),
        operation=operation,
        name=_text(request, "name"),
        namespace=_text(request, "namespace"),
        user=_user(user),
        before=before,
        after=after,
    )


def answer(uid: str, judgement: Judgement) -> bytes:
    """The AdmissionReview that answers a question. No patch, no audit annotations: nothing but yes, no and why."""
    verdict = judgement.verdict
    response: dict[str, Any] = {"uid": uid, "allowed": verdict.allowed}
    if not verdict.allowed:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": str(verdict)}
    warnings = [shown(warning) for warning in judgement.warnings]
    if len(warnings) > _MOST_WARNINGS:
        warnings = [*warnings[: _MOST_WARNINGS - 1], f"and {len(warnings) - _MOST_WARNINGS + 1} warnings more"]
    if warnings:
        response["warnings"] = warnings
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def shown(warning: str) -> str:
    """A warning as the API server passes it on: one line, not too long."""
    line = " ".join(warning.split())
    return line if len(line) <= _LONGEST_WARNING else f"{line[: _LONGEST_WARNING - 1]}…"


def _user(user: dict[str, Any]) -> User:
    groups = user.get("groups") or []
    extra = _mapping(user.get("extra") or {}, "request.userInfo.extra")
    if not _texts(groups) or not all(_texts(values) for values in extra.values()):
        raise MalformedError("request.userInfo has groups or extra that are no lists of strings")
    return User(name=_text(user, "username"), uid=_text(user, "uid"), groups=tuple(groups), extra=extra)


def _texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"{where} is not an object")
    return value


def _object(request: dict[str, Any], part: str) -> dict[str, Any] | None:
    value = request.get(part)
    if value is None:
        return None
    found = _mapping(value, f"request.{part}")
    _mapping(found.get("metadata"), f"request.{part}.metadata")
    return found


def _text(holder: dict[str, Any], field: str) -> str:
    value = holder.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedError(f"{field} is not a string")
    return value
