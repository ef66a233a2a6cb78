"""Every failure is one of three words, and carries what the server said."""

from __future__ import annotations

import orjson
import pytest

from bailiwick.cluster.errors import (
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    NotFound,
    Terminal,
    Transient,
    refusal,
    unreachable,
)

STATUS = {
    "kind": "Status",
    "status": "Failure",
    "message": 'pods "a" is forbidden',
    "reason": "Forbidden",
    "details": {"name": "a", "causes": [{"reason": "X"}]},
    "code": 403,
}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Terminal),
        (401, Transient),
        (403, Forbidden),
        (404, NotFound),
        (405, Terminal),
        (408, Transient),
        (409, Conflict),
        (410, Expired),
        (413, Terminal),
        (415, Terminal),
        (422, Terminal),
        (429, Transient),
        (500, Transient),
        (503, Transient),
        (504, Transient),
        (599, Transient),
    ],
)
def test_the_status_decides(code: int, kind: type[ApiError]) -> None:
    assert type(refusal("get pods a", code, b"{}")) is kind


def test_not_found_is_terminal_and_the_expired_and_the_forbidden_are_transient() -> None:
    assert issubclass(NotFound, Terminal)
    assert issubclass(Expired, Transient)
    assert issubclass(Forbidden, Transient)


def test_what_the_server_said_is_kept() -> None:
    error = refusal("apply pods clinic/a", 403, orjson.dumps(STATUS))
    assert (error.status, error.reason, error.message) == (403, "Forbidden", 'pods "a" is forbidden')
    assert error.details["causes"] == [{"reason": "X"}]
    assert str(error) == 'apply pods clinic/a: 403 Forbidden: pods "a" is forbidden'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b"", "no explanation given"),
        (b"[1]", "[1]"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 10_000, "x" * 512),
    ],
)
def test_answers_of_proxies_are_shown_as_they_are(body: bytes, message: str) -> None:
    error = refusal("get pods a", 502, body)
    assert (error.reason, error.message) == ("BadGateway", message)


def test_an_unknown_status_has_a_reason_too() -> None:
    assert refusal("get pods a", 599, b"").reason == "Unknown"


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("7", {}, 7.0),
        (None, {"retryAfterSeconds": 3}, 3.0),
        ("7", {"retryAfterSeconds": 3}, 7.0),
        (None, {}, None),
        ("0", {}, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", {}, None),
        ("inf", {}, None),
        ("nan", {}, None),
        ("-1", {}, None),
    ],
)
def test_the_server_may_say_when_to_come_back(
    header: str | None, details: dict[str, int], seconds: float | None
) -> None:
    error = refusal("get pods a", 429, orjson.dumps({**STATUS, "details": details}), retry_after=header)
    assert isinstance(error, Transient)
    assert error.retry_after == seconds


def test_a_misspelt_field_in_an_apply_is_ours_to_mend_although_the_server_calls_it_its_own_error() -> None:
    message = (
        "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .dota: field not declared in schema"
    )
    assert type(refusal("apply configmaps a", 500, orjson.dumps({"message": message}))) is Terminal


def test_no_answer_is_transient() -> None:
    refused = unreachable("get pods a", ConnectionRefusedError("nobody listens"))
    assert (refused.status, refused.reason, refused.message) == (None, "Unreachable", "nobody listens")
    late = unreachable("get pods a", TimeoutError())
    assert (late.reason, late.message) == ("Timeout", "TimeoutError")
