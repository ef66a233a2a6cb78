"""How the harness runs programs and says what it does: a line when a step begins, a line when it is done."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from e2e.cluster import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOG_TAIL = 15


class ClusterError(Exception):
    """The cluster cannot be had: the message says why, what was expected, what was seen and what to do."""


def say(line: str) -> None:
    print(line, flush=True)


def lasted(start: float) -> str:
    """The time since `start` (of time.monotonic) as a person says it: `4.2 s`, `2 min 10 s`."""
    seconds = time.monotonic() - start
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, and how long it took. A step that fails says nothing more: its error does."""
    start = time.monotonic()
    say(f"{what} …")
    yield
    say(f"{what}: done in {lasted(start)}")


def log_file(name: str) -> Path:
    places.LOGS.mkdir(parents=True, exist_ok=True)
    return places.LOGS / f"{name}.log"


def tail(log: Path, lines: int = LOG_TAIL) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, given: str | None = None, folder: Path | None = None
) -> str:
    """The standard output of a program. `env` is added to ours. Raises ClusterError with what it said when it fails."""
    done = attempt(*command, env=env, given=given, folder=folder)
    if done.returncode:
        raise ClusterError(f"`{_shown(command)}` failed ({done.returncode}):\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def attempt(
    *command: str | Path, env: Mapping[str, str] | None = None, given: str | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that may fail, and return what it said."""
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(env or {})},
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def run_logged(log: Path, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run a program whose output goes to the end of `log`. Raises ClusterError that names the log and shows its end.

    It gets a session of its own, for a program that fails may end its whole process group (mmdebstrap does), which
    would otherwise be ours and our caller's. When we are interrupted, the group is ended.
    """
    with log.open("a") as out:
        out.write(f"$ {_shown(command)}\n")
        out.flush()
        with subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                code = process.wait()
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                raise
    if code:
        raise ClusterError(f"`{_shown(command)}` failed ({code}); the end of {log}:\n{tail(log)}")


def started(
    log: Path, *command: str | Path, env: Mapping[str, str] | None = None, folder: Path | None = None, name: str = ""
) -> subprocess.Popen[bytes]:
    """Start a program that goes on beside us, with its output in `log`; whoever asked for it ends it.

    It gets a session of its own: Ctrl-C reaches us alone, and we end what we started in order. `name` is what it is
    called by, where that is not the file's.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            [name or str(command[0]), *map(str, command[1:])],
            executable=command[0],
            env={**os.environ, **(env or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def leashed(*command: str | Path) -> list[str]:
    """The command, such that it dies with us even when we are killed: nobody else would end it."""
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*leash, *map(str, command)]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process at a time is here for a name. The kernel lets go of the lock when its holder dies."""
    folder = places.cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that works on {name} …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _shown(command: tuple[str | Path, ...]) -> str:
    return " ".join(str(part) for part in command)
