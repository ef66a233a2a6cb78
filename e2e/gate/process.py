"""A gate as a process on loopback: the image's gatekeeper, Python and HAProxy, with the image's configuration."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from e2e.cluster.debian_root import IMAGES, program, python, root_of
from e2e.cluster.places import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

CONFIGURATION = IMAGES / "gate" / "haproxy.cfg"
PROBE_PORT = 8081


def haproxy(root: Path, folder: Path) -> Path:
    """A program in a folder that is the image's HAProxy, run by the image's own loader; it can start itself again."""
    path = folder / "haproxy"
    loader, *rest = program(root, "usr/sbin/haproxy")
    path.write_text(f'#!/bin/sh\nexec {loader} --argv0 "$0" {" ".join(rest)} "$@"\n')
    path.chmod(0o755)
    return path


@asynccontextmanager
async def running(
    folder: Path, address: str, engine_port: int, environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gate that listens, and logs to `log` in the folder. Raises AssertionError if it does not start."""
    root = root_of("gate")
    settings = {
        "PATH": os.environ["PATH"],
        "GATE_ADDRESS": address,
        "GATE_CONFIGURATION": str(CONFIGURATION),
        "GATE_HAPROXY": str(haproxy(root, folder)),
        "ENGINE_PORT": str(engine_port),
        **environment,
    }
    with (folder / "log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *python(root, ROOT / "operator"), "-m", "gatekeeper",
            env=settings, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        await _listening(process, address, folder / "log")
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, address: str, log: Path) -> None:
    for _ in range(400):
        assert process.returncode is None, said(log)
        try:
            _, writer = await asyncio.open_connection(address, PROBE_PORT)
        except ConnectionError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise AssertionError(f"the gate does not listen: {said(log)}")


def said(log: Path) -> str:
    """What the gate has logged."""
    return log.read_text()
