"""How long a replica may take to start: its weights are read from their storage, then the engine warms up. Pure.

The result stands in pod templates. Whoever changes a figure here restarts models, so a test holds every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bailiwick.api.quantities import amount
from bailiwick.workload.layout import START_SECONDS

if TYPE_CHECKING:
    from bailiwick.api.modelsource import Weights

ENGINE_SECONDS: Final = 1800
"""For what an engine does whatever it reads: load its libraries, find its peers, compile and capture graphs, warm up.
Minutes on most devices; vendors tell of half an hour where graphs are compiled for many shapes (Gaudi, Neuron, TPU)."""
ASSUMED_SPEED: Final = 100 * 1024 * 1024
"""Bytes per second where nobody declared it: what one network disk or a 1 Gbit/s line gives."""
LONGEST_SECONDS: Final = 24 * 3600
"""Who waits a day for a replica would not notice that it hangs."""
_STEP = 60
"""Seconds to which a budget is rounded up, so that a few bytes more do not make another pod template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The budget of a start, and what it follows from. ``bytes`` is None where nobody knows what is read.

    ``declared`` is whether somebody said the ``speed``, in bytes per second; ``where`` is the field that does or would.
    """

    seconds: int = START_SECONDS
    bytes: int | None = None
    speed: int = ASSUMED_SPEED
    declared: bool = False
    where: str = "spec.model.readSpeed"

    @property
    def reading(self) -> int:
        """Seconds for reading the weights once; 0 where nobody knows how many there are."""
        return 0 if self.bytes is None else min(-(-self.bytes // self.speed), LONGEST_SECONDS)

    def __str__(self) -> str:
        if self.bytes is None:
            return (
                "the bytes of its weights are not known, so this is the same for all; name a profile of the model, "
                f"which tells them, and say in {self.where} how fast the storage is"
            )
        said = f"{self.where} says" if self.declared else f"is assumed without {self.where}"
        bound = {LONGEST_SECONDS: ", a day at most", START_SECONDS: "" if self.declared else ", an hour at least"}
        return (
            f"that is {ENGINE_SECONDS} s for the engine itself and what {self.bytes} bytes of weights take at "
            f"{self.speed} bytes per second, as {said}{bound.get(self.seconds, '')}; say there how fast the storage "
            f"really is"
        )


ANY_START: Final = Start()
"""Of a model of which nothing is known."""


def start(weights: Weights, read: int | None) -> Start:
    """The budget for weights of which a replica reads so many bytes; as for any model where that is not known.

    Where nobody said how fast the storage is, it is never less than for any model: one that is too long costs nothing
    while engines that break end by themselves, and one that is too short ends every start.
    """
    where, declared = f"{weights.where}.readSpeed", weights.read_speed is not None
    if read is None:
        return Start(where=where)
    speed = int(amount(weights.read_speed)) if weights.read_speed is not None else ASSUMED_SPEED
    budget = -(-(ENGINE_SECONDS + -(-read // speed)) // _STEP) * _STEP
    least = ENGINE_SECONDS if declared else START_SECONDS
    return Start(
        seconds=min(max(budget, least), LONGEST_SECONDS), bytes=read, speed=speed, declared=declared, where=where
    )


def unused(weights: Weights, read: int | None) -> str | None:
    """Why a speed that somebody declared changes nothing; None where it counts, or where there is none."""
    if weights.read_speed is None or read is not None:
        return None
    return (
        f"{weights.where}.readSpeed is not used, because the bytes of the weights are not known; name a profile in "
        f"{weights.where}.profile"
    )
