"""Whole requests, sensible and not: never a 500, and never a yes to what cannot be understood."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bailiwick.admission.review import MOST_BYTES, MalformedError, parse, shown
from bailiwick.admission.server import MOST_AT_ONCE, PATH, Metrics, webhook
from tests.unit.admission.cluster import Cluster, Manifest, model, policy, review

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
GOOD = [review("ResidencyPolicy", policy("EU")), review("SovereignModel", model())]


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, inner in items for path in paths(inner, (*here, key)))]


def changed(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(whole) if isinstance(whole, dict) else list(whole)
    copy[path[0]] = changed(whole[path[0]], path[1:], value)
    return copy


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Noise, any JSON, or a good review with something replaced."""
    base = draw(st.sampled_from(GOOD))
    altered = changed(base, draw(st.sampled_from(paths(base))), draw(JSON))
    return draw(st.one_of(st.binary(max_size=64), JSON.map(orjson.dumps), st.just(orjson.dumps(altered))))


async def post(*sent: bytes) -> list[tuple[int, bytes]]:
    async with TestClient(TestServer(webhook(Cluster().known, Metrics()))) as client:
        answers = []
        for body in sent:
            async with client.post(PATH, data=BytesIO(body)) as response:
                answers.append((response.status, await response.read()))
        return answers


@given(st.lists(bodies(), min_size=8, max_size=16))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_request_is_answered_by_a_crash_or_a_careless_yes(sent: list[bytes]) -> None:
    for body, (status, answer) in zip(sent, asyncio.run(post(*sent)), strict=True):
        try:
            asked = parse(body)
        except MalformedError:
            assert status == 400
            continue
        assert status == 200
        response = orjson.loads(answer)["response"]
        assert response["uid"] == asked.uid
        if response["allowed"]:
            assert (asked.group, asked.kind, asked.subresource) in {
                ("bailiwick.dev", "ResidencyPolicy", ""),
                ("bailiwick.dev", "SovereignModel", ""),
            }


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{", b"\xff",
        orjson.dumps(GOOD[0] | {"apiVersion": "admission.k8s.io/v1beta1"}),
        orjson.dumps(GOOD[0] | {"kind": "ConversionReview"}),
        orjson.dumps(GOOD[0] | {"request": None}),
        orjson.dumps(changed(GOOD[0], ("request", "object"), None)),
        orjson.dumps(changed(GOOD[0], ("request", "operation"), "PATCH")),
        orjson.dumps(changed(GOOD[0], ("request", "uid"), "")),
    ],
)  # fmt: skip
async def test_what_is_no_review_is_a_bad_request(body: bytes) -> None:
    [(status, _)] = await post(body)
    assert status == 400


async def test_a_review_that_is_too_large_is_refused() -> None:
    large = changed(GOOD[0], ("request", "object", "metadata"), {"name": "x", "padding": "x" * MOST_BYTES})
    [(status, _), (after, _)] = await post(orjson.dumps(large), orjson.dumps(GOOD[0]))
    assert (status, after) == (413, 200)


async def test_of_many_reviews_at_once_only_so_many_are_read() -> None:
    release = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b"{"
        await release.wait()

    async with TestClient(TestServer(webhook(Cluster().known, Metrics()))) as client:

        async def one() -> int:
            async with client.post(PATH, data=half()) as response:
                release.set()
                return response.status

        ended = await asyncio.gather(*(one() for _ in range(MOST_AT_ONCE + 8)))
        assert (ended.count(503), ended.count(400)) == (8, MOST_AT_ONCE)
        async with client.post(PATH, data=orjson.dumps(GOOD[0])) as response:
            assert response.status == 200, "it is over when the flood is"


async def test_a_dry_run_is_answered_like_any_other_request() -> None:
    dry: Manifest = changed(GOOD[0], ("request", "userInfo"), {"username": "e"})
    dry["request"] |= {"dryRun": True}
    [first, second] = await post(orjson.dumps(dry), orjson.dumps(changed(dry, ("request", "dryRun"), False)))
    assert first == second


def test_a_warning_is_one_short_line() -> None:
    assert shown("a\n b") == "a b"
    assert len(shown("x" * 999)) == 400
