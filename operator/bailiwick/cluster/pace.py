"""Time and chance for everything in `cluster` that waits; they come in from `cli`, and from tests."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SPREAD = 0.2
"""Periods vary by so much either way, so that what began together does not stay together."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0


def uptime() -> float:
    """Seconds since the machine started, those included that it, or the virtual machine, was suspended.

    `time.monotonic` leaves them out: a leader that slept through its lease would believe that it still has it.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``clock`` gives seconds that only grow, ``chance`` numbers in [0, 1)."""

    clock: Callable[[], float] = uptime
    chance: Callable[[], float] = field(default=random.random)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def about(self, seconds: float) -> float:
        """Roughly so many seconds."""
        return seconds * (1 + SPREAD * (2 * self.chance() - 1))

    async def back_off(self, failures: int) -> None:
        """Wait after so many earlier failures: half a second, then longer each time, up to half a minute."""
        longest = min(FIRST_DELAY * 2.0 ** min(failures, 16), LONGEST_DELAY)
        await self.sleep(longest * (0.5 + self.chance() / 2))
