"""Points in time and spans of time, as the API server accepts them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

from bailiwick.api.markers import Rule

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_EPOCH = datetime.fromtimestamp(0, UTC)
_SPAN_PATTERN = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,9}s)?$"
_SPAN = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?")


def _read_timestamp(value: Any) -> Any:
    """RFC 3339 as the API server reads it: wider than pydantic, which knows no comma and no offset above 24 hours."""
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    day, clock, fraction, sign, hours, minutes = match.groups()
    local = datetime.fromisoformat(f"{day}T{clock}").replace(microsecond=int((fraction or "0")[:6].ljust(6, "0")))
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        return local.replace(tzinfo=UTC) + (offset if sign == "-" else -offset)
    except OverflowError:  # a few hours beyond the year 9999 is as good as the end of time
        return _LAST if sign == "-" else _FIRST


Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_read_timestamp),
    # An API server also takes a list for a string that has a format, unless a rule looks at it.
    Rule(
        "self >= timestamp('1970-01-01T00:00:00Z')",
        "must be a time after the year 1969",
        holds=lambda time: time >= _EPOCH,
    ),
]
"""A point in time with its offset (RFC 3339), in UTC."""


def span(duration: str) -> timedelta:
    """The length of a Duration: ``15m`` is 15 minutes. Raises ValueError for anything that is not one."""
    match = _SPAN.fullmatch(duration)
    if match is None or not duration:
        raise ValueError(f"{duration!r} is not a duration such as 90s, 15m or 720h")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


Duration = Annotated[
    str,
    Field(min_length=1, max_length=26),
    Rule(
        f"self.matches('{_SPAN_PATTERN}')",
        "must be a duration such as 90s, 15m, 720h or 1h30m: whole hours, minutes and seconds, in this order",
        holds=lambda duration: _SPAN.fullmatch(duration) is not None,
    ),
]
"""A span of time, as a part of Go's notation that stays within 64-bit nanoseconds; ``span`` reads it."""
