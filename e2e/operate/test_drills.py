"""The drills, with a bound that a busy machine can keep; `make drill` asks for 15 s."""

from __future__ import annotations

import pytest

from e2e.operate.drills import DRILLS, Drill, run

PATIENCE_SECONDS = 45.0
MOST_BYTES = 192 * 2**20


@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_nothing_is_lost_or_done_twice_when(drill: Drill) -> None:
    seen = run(drill)
    assert seen.seconds < PATIENCE_SECONDS
    assert not seen.lost
    assert not seen.twice
    assert not seen.stale
    assert seen.peak_bytes < MOST_BYTES
