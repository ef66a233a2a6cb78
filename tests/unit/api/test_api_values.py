"""Times, spans and amounts are read as Kubernetes reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bailiwick.api.arguments import is_harmless
from bailiwick.api.quantities import Quantity, amount
from bailiwick.api.resource import Assurance, LabelSelector, field_name
from bailiwick.api.timestamps import Timestamp, span

TIMESTAMP: TypeAdapter[datetime] = TypeAdapter(Timestamp)
QUANTITY: TypeAdapter[str] = TypeAdapter(Quantity)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T02:00:00+02:00", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T00:00:00.1234567890Z", datetime(2026, 11, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-01T00:00:00,5Z", datetime(2026, 11, 1, 0, 0, 0, 500000, tzinfo=UTC)),
        ("2026-11-02T01:00:00+24:60", datetime(2026, 11, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59-10:00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_the_api_server_reads_it(text: str, meant: datetime) -> None:
    assert TIMESTAMP.validate_python(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-01T00:00:00",
        "2026-11-01t00:00:00z",
        "2026-11-01T00:00:00+25:00",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "now",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValidationError):
        TIMESTAMP.validate_python(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(minutes=90)),
        ("0s", timedelta()),
    ],
)
def test_a_span(text: str, meant: timedelta) -> None:
    assert span(text) == meant


@pytest.mark.parametrize("text", ["", "-5m", "1.5h", "30d", "90", "1s1h", "5 m", "5m\n"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 90s, 15m or 720h"):
        span(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("80Gi", 80 * 2**30),
        ("1.5k", 1500),
        ("500m", Decimal("0.5")),
        ("3350G", 3350 * 10**9),
        ("2e3", 2000),
        ("2E3", 2000),
        ("2E", 2 * 10**18),
        ("+4", 4),
        (".5", Decimal("0.5")),
        ("5.", 5),
    ],
)
def test_an_amount(text: str, meant: Decimal) -> None:
    assert amount(text) == meant


@pytest.mark.parametrize("text", ["", "much", "80GB", "80 Gi", "1e", "Gi", "0x10", "1,5", "\u0664"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as 80Gi, 500m or 4"):
        amount(text)


@given(st.integers(min_value=0, max_value=2**62))
def test_a_number_is_the_amount_that_it_says(number: int) -> None:
    assert amount(QUANTITY.validate_python(number)) == number


@pytest.mark.parametrize(
    "argument",
    [
        "--enforce-eager",
        "--enforce_eager",
        "--no-enable-prefix-caching",
        "--max-num-batched-tokens=8192",
        "--limit-mm-per-prompt.image=0",
        "4096",
        "-1",
        "-O3",
        "{{ messages }}\n-x",
    ],
)
def test_arguments_that_are_the_users(argument: str) -> None:
    assert is_harmless(argument)


@pytest.mark.parametrize(
    ("operator", "values", "labels", "met"),
    [
        ("In", ("a", "b"), {"k": "a"}, True),
        ("In", ("a", "b"), {"k": "c"}, False),
        ("In", ("a", "b"), {}, False),
        ("NotIn", ("a",), {"k": "a"}, False),
        ("NotIn", ("a",), {"k": "b"}, True),
        ("NotIn", ("a",), {}, True),
        ("Exists", (), {"k": ""}, True),
        ("Exists", (), {}, False),
        ("DoesNotExist", (), {"k": ""}, False),
        ("DoesNotExist", (), {}, True),
    ],
)
def test_a_selector_means_what_it_means_to_the_api_server(
    operator: str, values: tuple[str, ...], labels: dict[str, str], met: bool
) -> None:
    selector = LabelSelector.model_validate(
        {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
    )
    assert selector.matches(labels) is met
    assert selector.keys() == {"k"}


def test_assurance_grows_from_declared_to_attested() -> None:
    assert sorted(Assurance, key=lambda each: each.rank) == ["Declared", "Asserted", "Verified", "Attested"]


def test_initialisms_are_written_in_capitals() -> None:
    names = ("provider_id", "system_uuid", "client_ca_secret", "identity", "issued_at", "kv_cache_type")
    expected = ["providerID", "systemUUID", "clientCASecret", "identity", "issuedAt", "kvCacheType"]
    assert [field_name(name) for name in names] == expected
