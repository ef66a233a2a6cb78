"""One leader at a time, whatever clocks and networks do."""

# ruff: noqa: ARG002 - the signatures are the port's

from __future__ import annotations

import asyncio
import copy
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster.api import Api
from bailiwick.cluster.errors import ApiError, Conflict, NotFound, Terminal, Transient
from bailiwick.cluster.lease import Lease, LeaseLostError, Terms
from tests.unit.cluster.virtual_time import VirtualTime, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from bailiwick.cluster.resources import Resource

Raw = dict[str, Any]

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


class Server:
    """The lease as the API server keeps it: one object, one writer per version."""

    def __init__(self) -> None:
        self.lease: Raw | None = None
        self.version = 0

    def write(self, spec: Raw) -> Raw:
        self.version += 1
        known = self.lease["spec"] if self.lease else {}
        merged = {key: value for key, value in {**known, **spec}.items() if value is not None}
        self.lease = {"metadata": {"name": "operator", "resourceVersion": str(self.version)}, "spec": merged}
        return copy.deepcopy(self.lease)


class Link(Api):
    """One candidate's way to the server, which a test can break."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.broken: Callable[[str], ApiError | None] = lambda _: None
        self.answers_lost = False
        self.gate: asyncio.Event | None = None
        self.writes = 0

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, seconds: float | None = None
    ) -> Raw:
        await self._pass("get")
        if self.server.lease is None:
            raise NotFound("get", status=404, reason="NotFound", message="no lease")
        return copy.deepcopy(self.server.lease)

    async def create(
        self, resource: Resource, manifest: Raw, *, dry_run: bool = False, seconds: float | None = None
    ) -> Raw:
        await self._pass("create")
        if self.server.lease is not None:
            raise Conflict("create", status=409, reason="AlreadyExists", message="there is one")
        return self._write(manifest["spec"])

    async def patch_merge(
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
        await self._pass("patch")
        if self.server.lease is None:
            raise NotFound("patch", status=404, reason="NotFound", message="no lease")
        if patch["metadata"]["resourceVersion"] != self.server.lease["metadata"]["resourceVersion"]:
            raise Conflict("patch", status=409, reason="Conflict", message="the object has been modified")
        return self._write(patch["spec"])

    async def _pass(self, verb: str) -> None:
        if self.gate:
            await self.gate.wait()
        if error := self.broken(verb):
            raise error

    def _write(self, spec: Raw) -> Raw:
        self.writes += 1
        written = self.server.write(spec)
        if self.answers_lost:
            raise Transient("patch", status=None, reason="Timeout", message="no answer")
        return written


def transient(verb: str) -> ApiError:
    return Transient(verb, status=None, reason="Timeout", message="no answer")


def forbidden(verb: str) -> ApiError:
    return Terminal(verb, status=403, reason="Forbidden", message="no")


class Candidate:
    """A lease, its link, and what became of it. ``now`` is its own wall clock, which nobody may trust."""

    def __init__(self, server: Server, time: VirtualTime, name: str, *, now: datetime = NOON) -> None:
        begun = time.now
        self.link = Link(server)
        self.lease = Lease(
            api=self.link,
            namespace="bailiwick-system",
            name="operator",
            identity=name,
            pace=time.pace,
            now=lambda: now + timedelta(seconds=time.now - begun),
        )
        self.lost: BaseException | None = None
        self.ended = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.lease.acquire()
        try:
            await self.lease.keep()
        except LeaseLostError as error:
            self.lost = error
        self.ended = True

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


async def test_the_first_candidate_takes_it_and_the_second_waits(time: VirtualTime) -> None:
    server = Server()
    first = Candidate(server, time, "first")
    await settle()
    second = Candidate(server, time, "second")
    await time.pass_(120)
    assert first.lease.held
    assert not second.lease.held
    assert second.lease.holder == "first"
    assert server.lease is not None
    assert server.lease["spec"] == {
        "holderIdentity": "first",
        "leaseDurationSeconds": 8,
        "acquireTime": "2026-11-21T12:00:00.123456Z",
        "renewTime": "2026-11-21T12:02:00.123456Z",
        "leaseTransitions": 0,
    }
    assert second.link.writes == 0
    await first.end()
    await second.end()


async def test_two_that_begin_together_make_one_leader(time: VirtualTime) -> None:
    server = Server()
    candidates = [Candidate(server, time, name) for name in "ab"]
    gate = asyncio.Event()
    for candidate in candidates:
        candidate.link.gate = gate
    await settle()
    gate.set()
    await time.pass_(30)
    assert [candidate.lease.held for candidate in candidates].count(True) == 1
    for candidate in candidates:
        await candidate.end()


async def test_a_dead_leader_is_replaced_after_the_duration_and_not_before(time: VirtualTime) -> None:
    server = Server()
    first, second = Candidate(server, time, "first"), Candidate(server, time, "second")
    await time.pass_(10)
    await first.end()
    died = time.now
    await time.pass_(6.5)
    assert not second.lease.held
    await time.pass_(3.5)
    assert second.lease.held
    assert time.now - died > 8
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1
    await second.end()


async def test_a_released_lease_is_taken_at_once(time: VirtualTime) -> None:
    server = Server()
    first, second = Candidate(server, time, "first"), Candidate(server, time, "second")
    await time.pass_(10)
    await first.end()
    await first.lease.release()
    assert not first.lease.held
    assert server.lease is not None
    assert "holderIdentity" not in server.lease["spec"]
    await time.pass_(2.5)
    assert second.lease.held
    await second.end()


async def test_a_release_waits_for_a_renewal_under_way_and_ends_the_keeping(time: VirtualTime) -> None:
    """Neither may the renewal take the lease back, nor the release look like a loss."""
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(9)
    gate = asyncio.Event()
    first.link.gate = gate
    await time.pass_(1)  # the renewal of second 10 leaves and is stuck
    releasing = asyncio.create_task(first.lease.release())
    await settle()
    assert not releasing.done()
    gate.set()
    await releasing
    assert server.lease is not None
    assert "holderIdentity" not in server.lease["spec"]
    await time.pass_(5)
    assert first.ended
    assert first.lost is None


async def test_a_leader_that_cannot_renew_gives_up_before_another_may_take_it(time: VirtualTime) -> None:
    server = Server()
    first, second = Candidate(server, time, "first"), Candidate(server, time, "second")
    await time.pass_(10)
    first.link.broken = transient
    overlap = gap = False
    for _ in range(300):
        await time.pass_(0.1)
        overlap |= first.lease.held and second.lease.held
        gap |= not first.lease.held and not second.lease.held
    assert not overlap
    assert gap
    assert isinstance(first.lost, LeaseLostError)
    assert second.lease.held
    await second.end()


async def test_a_short_failure_loses_nothing(time: VirtualTime) -> None:
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(10)
    first.link.broken = transient
    await time.pass_(4)
    first.link.broken = lambda _: None
    await time.pass_(20)
    assert first.lease.held
    assert first.lost is None
    await first.end()


async def test_a_renewal_whose_answer_was_lost_is_recognised(time: VirtualTime) -> None:
    """The next one meets a version of our own making; that is no doubt."""
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(10)
    first.link.answers_lost = True
    await time.pass_(3)
    first.link.answers_lost = False
    await time.pass_(20)
    assert first.lost is None
    assert first.lease.held
    await first.end()


async def test_a_lease_that_somebody_else_took_is_lost_at_once(time: VirtualTime) -> None:
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(10)
    server.write({"holderIdentity": "thief"})
    await time.pass_(2.1)
    assert isinstance(first.lost, LeaseLostError)


@pytest.mark.parametrize("what", ["deleted", "forbidden"])
async def test_any_doubt_is_a_loss(time: VirtualTime, what: str) -> None:
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(10)
    if what == "deleted":
        server.lease = None
    else:
        first.link.broken = forbidden
    await time.pass_(2.1)
    assert isinstance(first.lost, LeaseLostError)


async def test_a_leader_that_slept_past_its_deadline_may_write_nothing(time: VirtualTime) -> None:
    """The machine was suspended: no task ran, and the first thing that runs after it may be a write."""
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(10)
    first.lease.check()
    time.now += 60
    assert not first.lease.held
    with pytest.raises(LeaseLostError, match="first does not hold the lease bailiwick-system/operator any more"):
        first.lease.check()
    await time.pass_(3)
    assert isinstance(first.lost, LeaseLostError)


async def test_a_slow_answer_counts_from_the_question(time: VirtualTime) -> None:
    """The others count from when the server wrote, which may be long before we hear of it."""
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(9)
    gate = asyncio.Event()
    first.link.gate = gate
    await time.pass_(1)  # the renewal of second 10 leaves and is stuck
    asked = time.now
    await time.pass_(4)
    gate.set()
    await settle()
    assert first.lease.held
    time.now = asked + Terms().renew_deadline + 0.1
    assert not first.lease.held
    await first.end()


@pytest.mark.parametrize("year", [1990, 2090])
async def test_wall_clocks_decide_nothing(time: VirtualTime, year: int) -> None:
    server = Server()
    first = Candidate(server, time, "first")
    await settle()
    second = Candidate(server, time, "second", now=datetime(year, 1, 1, tzinfo=UTC))
    await time.pass_(60)
    assert first.lease.held
    assert not second.lease.held
    await first.end()
    await time.pass_(20)
    assert second.lease.held
    await second.end()


async def test_a_candidate_waits_the_time_that_the_holder_promised_itself(time: VirtualTime) -> None:
    server = Server()
    server.write({"holderIdentity": "patient", "leaseDurationSeconds": 60, "renewTime": "2026-11-21T12:00:00.000000Z"})
    second = Candidate(server, time, "second")
    await time.pass_(58)
    assert not second.lease.held
    await time.pass_(8)
    assert second.lease.held
    await second.end()


async def test_a_candidate_that_cannot_look_goes_on_trying(time: VirtualTime) -> None:
    server = Server()
    first = Candidate(server, time, "first")
    first.link.broken = transient
    await time.pass_(60)
    assert not first.lease.held
    first.link.broken = lambda _: None
    await time.pass_(3)
    assert first.lease.held
    await first.end()


async def test_a_release_that_fails_is_only_logged(time: VirtualTime, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    first = Candidate(server, time, "first")
    await time.pass_(10)
    await first.end()
    first.link.broken = transient
    await first.lease.release()
    assert not first.lease.held
    assert "could not be released and will expire" in caplog.text


async def test_who_does_not_hold_it_releases_nothing(time: VirtualTime) -> None:
    server = Server()
    first, second = Candidate(server, time, "first"), Candidate(server, time, "second")
    await time.pass_(5)
    await second.end()
    await second.lease.release()
    assert second.link.writes == 0
    assert first.lease.held
    await first.end()


async def test_stamps_are_utc_with_microseconds_whatever_the_zone(time: VirtualTime) -> None:
    server = Server()
    local = datetime.fromisoformat("2026-11-21T14:00:00.000001+02:00")
    first = Candidate(server, time, "first", now=local)
    await settle()
    assert server.lease is not None
    assert server.lease["spec"]["renewTime"] == "2026-11-21T12:00:00.000001Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", server.lease["spec"]["acquireTime"])
    await first.end()


@pytest.mark.parametrize("terms", [(10.0, 10.0, 2.0, 4.0), (15.0, 6.0, 2.0, 4.0)])
def test_terms_that_cannot_be_kept_are_refused(terms: tuple[float, float, float, float]) -> None:
    duration, renew_deadline, retry_period, call = terms
    with pytest.raises(ValueError, match="a lease must last longer than its renew deadline"):
        Terms(duration=duration, renew_deadline=renew_deadline, retry_period=retry_period, call=call)
