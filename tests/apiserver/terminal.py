"""The `bailiwick` command as somebody calls it: a process of its own, in a pipe or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from e2e.cluster.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATH = f"{ROOT / 'operator'}:{ROOT}"
LINES, COLUMNS = 60, 100
_OF_WHOEVER_TESTS = {"NO_COLOR", "LINES", "COLUMNS", "KUBERNETES_SERVICE_HOST"}


def _environment(kubeconfig: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in _OF_WHOEVER_TESTS}
    return {**kept, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": _PATH, "TERM": "xterm"}


def bailiwick(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call it and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "bailiwick.cli", *arguments], env=_environment(kubeconfig), capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip


def _let_it_be_interrupted() -> None:
    """What a shell began in the background ignores SIGINT, and so would all that it begins: tests among them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def piped(kubeconfig: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Call it, and read what it writes while it goes on."""
    _let_it_be_interrupted()
    process = subprocess.Popen(
        [sys.executable, "-m", "bailiwick.cli", *arguments], env=_environment(kubeconfig), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    try:
        yield process, process.stdout
    finally:
        _end(process)
        process.stdout.close()


class Terminal:
    """A terminal of 100 columns, and everything that was written to it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.written = ""
        self._descriptor = descriptor

    def until(self, holds: Callable[[str], bool], *, seconds: float = 60) -> str:
        """Read on until what was written meets a condition; all of it."""
        end = time.monotonic() + seconds
        while not holds(self.written):
            assert time.monotonic() < end, self.written
            if select.select([self._descriptor], [], [], 0.2)[0]:
                with suppress(OSError):  # the other end is closed
                    self.written += os.read(self._descriptor, 65536).decode()
        return self.written


@contextmanager
def terminal(kubeconfig: Path, *arguments: str, height: int = LINES) -> Iterator[Terminal]:
    """Call it on a terminal of so many lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, COLUMNS, 0, 0))
    _let_it_be_interrupted()
    process = subprocess.Popen(
        [sys.executable, "-m", "bailiwick.cli", *arguments], env=_environment(kubeconfig), stdin=theirs, stdout=theirs,
        stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        _end(process)
        os.close(ours)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(30)
