"""What `bailiwick doctor` tells whoever waits for it."""

from __future__ import annotations

import asyncio
import io
import sys

import pytest

from bailiwick.cli.live import doctor


class _Screen(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self.told = asyncio.Event()

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        if "looking: 3 of 25 answers" in text:
            self.told.set()
        return super().write(text)


@pytest.mark.parametrize("terminal", [True, False], ids=["on a terminal", "in a pipe"])
async def test_long_work_is_told_on_a_terminal_alone_and_wiped_out(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    screen = _Screen(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 0.0)
    async with doctor.progress() as on_seen:
        on_seen(3, 25)
        if terminal:
            async with asyncio.timeout(10):
                await screen.told.wait()
    assert screen.getvalue().endswith("\r\033[K") is terminal
    assert bool(screen.getvalue()) is terminal


async def test_short_work_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    async with doctor.progress() as on_seen:
        on_seen(25, 25)
        await asyncio.sleep(0)
    assert screen.getvalue() == ""
