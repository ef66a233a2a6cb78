"""Time that passes when a test says so."""

from __future__ import annotations

import asyncio
import heapq

from bailiwick.cluster.pace import Pace

SETTLE_TURNS = 60


class VirtualTime:
    """A clock and a sleep that belong together. Sleepers wake in order, when `pass_` takes the clock there."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0

    @property
    def pace(self) -> Pace:
        """For what is tested; without chance, so that every wait is the middle one."""
        return Pace(clock=lambda: self.now, chance=lambda: 0.5, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock is so much further."""
        self._order += 1
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, self._order, future))
        await future

    async def pass_(self, seconds: float) -> None:
        """Let so much time pass, and everybody do what they do in it."""
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, future = heapq.heappop(self._sleepers)
            self.now = max(self.now, when)
            if not future.done():
                future.set_result(None)
            await settle()
        self.now = end


async def settle() -> None:
    """Let every task run until it waits for something real."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
