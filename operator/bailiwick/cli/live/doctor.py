"""`bailiwick doctor`: whether a cluster is fit for Bailiwick, and what to do where it is not."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bailiwick.cli import answers
from bailiwick.cli.live import reaching
from bailiwick.cli.live.doctor_text import lines
from bailiwick.cli.live.fitness.judge import judge
from bailiwick.cli.live.fitness.seen import PROBE_NODE
from bailiwick.cli.live.looking import Eyes
from bailiwick.cluster.api import Person
from bailiwick.cluster.errors import ApiError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable

    from bailiwick.cli.live.fitness.findings import Fitness

FIT, NOT_SEEN, NOT_FIT = 0, 1, 3
PATIENCE_SECONDS = 1.0
"""Before somebody who waits is told how far it is."""
_KUBELET = Person(f"system:node:{PROBE_NODE}", "system:nodes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = (
        "It exits with 0 when the cluster is fit, 3 when it is not, and 1 when it, or some of it, could not be seen. "
        "Nothing is changed: what is tried is tried by dry run."
    )
    parser.add_argument(
        "--trust", metavar="SUBJECT", action="append", default=[],
        help="somebody whose rights are meant, as kubectl auth whoami tells it; may be repeated",
    )  # fmt: skip
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="how it is written")
    reaching.add_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Look, judge and print; returns the exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # errors are told once, below
    try:
        told = asyncio.run(_examine(arguments))
    except ApiError as error:
        sys.stderr.write(f"bailiwick doctor: {reaching.told(error)}\n")
        return NOT_SEEN
    answers.write(arguments.output, told.as_json, lambda style: lines(told, style))
    return {True: FIT, False: NOT_FIT, None: NOT_SEEN}[told.fit]


async def _examine(arguments: argparse.Namespace) -> Fitness:
    async with reaching.reach(arguments) as api, reaching.reach(arguments, _KUBELET) as kubelet, progress() as on_seen:
        seen = await Eyes(api, kubelet, at=datetime.now(UTC), on_seen=on_seen).look()
    return judge(seen, arguments.trust)


@asynccontextmanager
async def progress() -> AsyncIterator[Callable[[int, int], None]]:
    """What hears of each step; on a terminal it tells of them where they take long, and wipes that out at the end."""
    steps = (0, 0)

    def on_seen(done: int, begun: int) -> None:
        nonlocal steps
        steps = (done, begun)

    task = asyncio.create_task(_show(lambda: steps)) if sys.stderr.isatty() else None
    try:
        yield on_seen
    finally:
        if task:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _show(steps: Callable[[], tuple[int, int]]) -> None:
    await asyncio.sleep(PATIENCE_SECONDS)
    try:
        while True:
            done, begun = steps()
            sys.stderr.write(f"\rlooking: {done} of {begun} answers\033[K")
            sys.stderr.flush()
            await asyncio.sleep(PATIENCE_SECONDS / 5)
    finally:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
