"""Who leads: one holder of a coordination.k8s.io Lease at a time, as far as that can be known.

A candidate takes the lease when it has not seen it change for the whole duration that its holder promised; only the
candidate's own clock counts, never a time stamp that another machine wrote. A holder that could not renew for the
renew deadline, which is shorter, has lost, and so has one that sees anything it does not understand. Whoever loses
must end the process at once: `Lease.keep` raises, and `Lease.check` refuses further writes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bailiwick.cluster.errors import ApiError, Conflict, NotFound, Transient
from bailiwick.cluster.resources import LEASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.pace import Pace

logger = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """Somebody else may lead from now on. End the process; do not clean up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """In seconds: what the holder promises, when it gives up, how often both sides look, how long one call may take."""

    duration: float = 8.0
    renew_deadline: float = 6.0
    retry_period: float = 1.0
    call: float = 3.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.call + self.retry_period:
            raise ValueError(
                "a lease must last longer than its renew deadline, and that longer than one call and one wait; "
                f"got {self.duration:g}, {self.renew_deadline:g}, {self.call:g} + {self.retry_period:g} s"
            )


def utc_now() -> datetime:
    """The time for stamps that people read."""
    return datetime.now(UTC)


class Lease:
    """One candidate. ``identity`` must be its own alone: a pod's name and something random.

    ``api`` must be one of its own, with no guard: no queue of other calls may delay a renewal.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        pace: Pace,
        terms: Terms | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.holder = ""
        """Who held the lease when we last looked; empty for nobody."""
        self._api = api
        self._where = (name, namespace)
        self._identity = identity
        self._pace = pace
        self._terms = terms or Terms()
        self._now = now
        self._seen_at = float("-inf")
        self._version = ""
        self._transitions = 0
        self._writing = asyncio.Lock()
        self._released = False
        self._until = float("-inf")  # we hold the lease as long as our clock shows less

    @property
    def held(self) -> bool:
        """Whether we may act as the leader at this moment."""
        return self._pace.clock() < self._until

    def check(self) -> None:
        """Raise LeaseLostError unless we may act as the leader: the guard of the leader's Api."""
        if not self.held:
            raise LeaseLostError(f"{self._identity} does not hold the lease {self._shown} any more")

    async def acquire(self) -> None:
        """Wait until we hold the lease, however long that takes."""
        while True:
            try:
                if await self._try():
                    self._released = False
                    logger.info("%s holds the lease %s", self._identity, self._shown)
                    return
            except Conflict:
                logger.info("another candidate was faster to take the lease %s", self._shown)
            except ApiError as error:
                logger.warning("the lease %s could not be looked at: %s", self._shown, error)
            await self._pace.sleep(self._pace.about(self._terms.retry_period))

    async def keep(self) -> None:
        """Renew the lease until it is released. Raises LeaseLostError, and any error that it does not know."""
        while True:
            await self._pace.sleep(self._terms.retry_period)
            async with self._writing:
                if self._released:
                    return
                self.check()
                try:
                    await self._renew()
                except Transient as error:
                    left = self._left()
                    logger.warning("the lease %s could not be renewed, %.1f s left: %s", self._shown, left, error)
                except ApiError as error:
                    raise LeaseLostError(f"the lease {self._shown} cannot be renewed: {error}") from error

    async def release(self) -> None:
        """Give the lease back, so that another candidate need not wait. Call it when nothing is written any more.

        A renewal under way ends first, and `keep` then returns.
        """
        async with self._writing:
            if self.held:
                self._released = True
                await self._give_back()

    async def _give_back(self) -> None:
        self._until = float("-inf")
        try:
            await self._write({"holderIdentity": None, "leaseDurationSeconds": 1, "renewTime": self._stamp()})
        except ApiError as error:
            logger.warning("the lease %s could not be released and will expire: %s", self._shown, error)

    async def _try(self) -> bool:
        begun = self._pace.clock()
        try:
            lease = await self._api.get(LEASES, *self._where, seconds=self._terms.call)
        except NotFound:
            lease = await self._create()
        else:
            self._look(lease)
            if not self._free(lease["spec"]):
                return False
            lease = await self._write(self._taken())
        self._look(lease)
        return self._hold(begun)

    async def _renew(self) -> None:
        begun = self._pace.clock()
        stamps = {"holderIdentity": self._identity, "renewTime": self._stamp()}
        try:
            lease = await self._write(stamps, seconds=min(self._terms.call, self._left()))
        except Conflict:
            # Perhaps our own renewal, whose answer was lost, made the version that we know old.
            lease = await self._api.get(LEASES, *self._where, seconds=min(self._terms.call, self._left()))
            self._look(lease)
            if self.holder != self._identity:
                raise
            begun = self._pace.clock()
            lease = await self._write(stamps, seconds=min(self._terms.call, self._left()))
        self._look(lease)
        if not self._hold(begun):
            raise LeaseLostError(f"the lease {self._shown} is held by {self.holder!r} after our own renewal")

    def _look(self, lease: Raw) -> None:
        """Note what is there, and when it last changed by our clock."""
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        if version != self._version:
            self._version, self._seen_at = version, self._pace.clock()
        self.holder = spec.get("holderIdentity") or ""
        self._transitions = spec.get("leaseTransitions") or 0

    def _free(self, spec: Raw) -> bool:
        promised = float(spec.get("leaseDurationSeconds") or self._terms.duration)
        return self.holder in {"", self._identity} or self._pace.clock() - self._seen_at > promised

    def _hold(self, begun: float) -> bool:
        """Take what we look at for our renewal. It counts from when we asked, not from when we were answered."""
        if self.holder != self._identity:
            return False
        self._until = begun + self._terms.renew_deadline
        return True

    def _taken(self) -> Raw:
        changed = self.holder != self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._terms.duration),
            "acquireTime": self._stamp(),
            "renewTime": self._stamp(),
            "leaseTransitions": self._transitions + 1 if changed else self._transitions,
        }

    async def _create(self) -> Raw:
        name, namespace = self._where
        manifest = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**self._taken(), "leaseTransitions": 0},
        }
        return await self._api.create(LEASES, manifest, seconds=self._terms.call)

    async def _write(self, spec: Raw, *, seconds: float | None = None) -> Raw:
        """Change the lease that we looked at last; Conflict when it is another by now."""
        patch = {"metadata": {"resourceVersion": self._version}, "spec": spec}
        return await self._api.patch_merge(LEASES, *self._where, patch, seconds=seconds or self._terms.call)

    def _left(self) -> float:
        return self._until - self._pace.clock()

    def _stamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @property
    def _shown(self) -> str:
        return f"{self._where[1]}/{self._where[0]}"
