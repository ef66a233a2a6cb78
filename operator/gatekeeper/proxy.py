"""HAProxy: started, replaced without closing a connection, and told new maps while it runs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from gatekeeper.mounted import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MOST_OLD = 4
"""Replaced processes that still finish their streams. Each takes memory; beyond that the oldest ends."""
_LINES_AT_ONCE = 100  # of a map, so that they fit into HAProxy's buffer
_PATIENCE = 10.0
SIGNALS = frozenset({signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


class Proxy:
    """The process that serves now, and those before it that still serve what they had begun."""

    def __init__(self, *, program: Sequence[str], configuration: str, run: Path) -> None:
        self._program = list(program)
        self._configuration = configuration
        self._run = run
        self._current: subprocess.Popen[bytes] | None = None
        self._old: list[subprocess.Popen[bytes]] = []

    @property
    def ended(self) -> int | None:
        """The exit status of the process that should serve, when it is gone."""
        return self._current.poll() if self._current else None

    def serve(self, environment: Mapping[str, str], files: Sequence[str]) -> None:
        """Start the process, or let a new one take over its listeners. Raises Broken; then nothing has changed."""
        command = [*self._program, *(word for file in (self._configuration, *files) for word in ("-f", file))]
        checked = subprocess.run(  # its output is the message
            [*command, "-c"],
            env=dict(environment),
            capture_output=True,
            check=False,
            text=True,
            preexec_fn=_listen,
        )
        if checked.returncode:
            raise Broken(_complaint(checked.stderr))
        # HAProxy goes on without a public key that it cannot read, and says that it found none.
        if "file not found" in checked.stderr:
            raise Broken(
                "a key of the token issuer cannot be read: its numbers are no key, or its point is on no curve"
            )
        before = self._current
        take_over = ["-x", str(self._socket), "-sf", str(before.pid)] if before and before.poll() is None else []
        arguments = [*command, "-db", *take_over]
        started = subprocess.Popen(arguments, env=dict(environment), preexec_fn=_listen)  # noqa: PLW1509 - one thread
        if not self._answers(started):
            started.kill()
            started.wait()
            raise Broken("a new HAProxy did not come up; its own messages stand above")
        self._current = started
        if before:
            self._old.append(before)
        self.reap()
        for surplus in self._old[:-MOST_OLD]:
            surplus.terminate()

    def reap(self) -> None:
        """Forget replaced processes that have finished."""
        self._old = [each for each in self._old if each.poll() is None]

    def replace_map(self, path: Path, lines: Sequence[str]) -> None:
        """Let a map have these lines and no others, at once. Raises Broken."""
        answer = self._ask(f"prepare map {path}")
        version = re.search(r"New version created: (\d+)", answer)
        if version is None:
            raise Broken(f"HAProxy did not prepare the map {path.name}: {answer.strip()}")
        for begin in range(0, len(lines), _LINES_AT_ONCE):
            payload = "\n".join(lines[begin : begin + _LINES_AT_ONCE])
            if said := self._ask(f"add map @{version[1]} {path} <<\n{payload}\n").strip():
                raise Broken(f"HAProxy did not take the map {path.name}: {said}")
        if said := self._ask(f"commit map @{version[1]} {path}").strip():
            raise Broken(f"HAProxy did not commit the map {path.name}: {said}")

    def stop(self, seconds: float) -> None:
        """End all processes when they have nothing left to serve, and at the latest after some seconds."""
        left = [each for each in (*self._old, self._current) if each and each.poll() is None]
        for each in left:
            each.send_signal(signal.SIGUSR1)
        until = time.monotonic() + seconds
        for each in left:
            try:
                each.wait(max(until - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()

    @property
    def _socket(self) -> Path:
        return self._run / "admin.sock"

    def _answers(self, started: subprocess.Popen[bytes]) -> bool:
        """Whether the new process has the socket, and so all listeners."""
        until = time.monotonic() + _PATIENCE
        while started.poll() is None and time.monotonic() < until:
            try:
                if f"Pid: {started.pid}\n" in self._ask("show info"):
                    return True
            except OSError:
                pass  # not there yet
            time.sleep(0.02)
        return False

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(self._socket))
            connection.sendall(f"{command}\n".encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer.decode(errors="replace")


def _listen() -> None:
    """In the child: what the keeper waits for is blocked, and HAProxy must hear it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _complaint(said: str) -> str:
    """The alerts of a configuration that HAProxy refuses, on one line."""
    alerts = [line.partition(" : ")[2].strip() for line in said.splitlines() if line.startswith("[ALERT]")]
    return "; ".join(each for each in alerts if each and "Fatal errors" not in each) or said.strip()


def replace_by_haproxy(program: Sequence[str], configuration: str) -> None:
    """Become HAProxy: there is nothing to keep."""
    os.execvp(program[0], [*program, "-db", "-f", configuration])  # noqa: S606 - no shell is wanted
