"""Points in time and spans of time, as the API server accepts them."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

from bailiwick.api.markers import Rule

# RFC 3339 as an API server takes it, which lets an offset reach 24:60 and a comma stand before the fraction.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:Z|([+-])([01]\d|2[0-4]):([0-5]\d|60))", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = datetime.fromtimestamp(0, UTC)
_FIRST_DAY = date(1900, 1, 1)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_SPAN_PATTERN = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,9}s)?$"
_SPAN = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?")


def _read_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time such as 2026-11-01T00:00:00Z")
    local, fraction, sign, hours, minutes = match.groups()
    time = datetime.fromisoformat(local).replace(microsecond=int((fraction or "0")[:6].ljust(6, "0")), tzinfo=UTC)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        return time + offset if sign == "-" else time - offset
    except OverflowError:  # a day before the first year, or after the last
        return _LAST if sign == "-" else _FIRST


def _read_day(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise ValueError("must be a day such as 2026-11-01")
    return date.fromisoformat(value)


Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_read_time),
    # An API server also takes a list for a string that has a format, unless a rule looks at it.
    Rule(
        "self >= timestamp('1970-01-01T00:00:00Z')",
        "must be a time after the year 1969",
        holds=lambda time: time >= _EPOCH,
    ),
]
"""A point in time with its offset (RFC 3339), in UTC."""


Day = Annotated[
    date,
    BeforeValidator(_read_day),
    Rule(
        "self >= timestamp('1900-01-01T00:00:00Z')",
        "must be a day after the year 1899",
        holds=lambda day: day >= _FIRST_DAY,
    ),
]
"""A day of the calendar."""


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
