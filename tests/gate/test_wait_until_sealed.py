"""The engine starts only when the way out of its pod is closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path  # noqa: TC003  (pytest reads annotations of fixtures)

import pytest

from e2e.cluster.debian_root import IMAGES, program

SCRIPT = IMAGES / "gate" / "wait-until-sealed"
Wait = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def wait(root: Path) -> Wait:
    """Runs the script with the image's own bash and nothing but the given variables."""

    async def run(**environment: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *program(root, "usr/bin/bash"), str(SCRIPT),
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(), 30)
        return process.returncode or 0, said.decode()

    return run


def listening(backlog: int = 100, port: int = 0) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port), backlog=backlog)
    listener.setblocking(False)
    return listener


def port_of(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


def closed_port() -> str:
    with closing(listening()) as listener:
        return port_of(listener)


async def test_a_refused_canary_means_closed(wait: Wait) -> None:
    code, said = await wait(CANARY_HOST="127.0.0.1", CANARY_PORT=closed_port(), INTERVAL="0.01")
    assert code == 0
    assert "egress is closed" in said
    assert "3 times in a row" in said


async def test_an_open_way_out_fails_with_a_remedy(wait: Wait) -> None:
    with closing(listening()) as listener:
        code, said = await wait(CANARY_HOST="127.0.0.1", CANARY_PORT=port_of(listener), SEAL_TIMEOUT="1")
    assert code == 1
    assert "egress is still open" in said
    assert "Is a NetworkPolicy engine running" in said


async def test_the_canary_is_the_kubernetes_api_unless_told_otherwise(wait: Wait) -> None:
    with closing(listening()) as listener:
        api = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port_of(listener)}
        code, said = await wait(**api, SEAL_TIMEOUT="1")
    assert (code, port_of_message(said)) == (1, api["KUBERNETES_SERVICE_PORT"])


async def test_silence_counts_as_closed(wait: Wait) -> None:
    """Some engines drop packets, where others refuse them. A full queue of connections drops them too."""
    with closing(listening(backlog=0)) as listener, closing(socket.socket()) as one, closing(socket.socket()) as two:
        for waiting in (one, two):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        code, said = await wait(
            CANARY_HOST="127.0.0.1", CANARY_PORT=port_of(listener), CONNECT_TIMEOUT="0.2", CONFIRMATIONS="2"
        )
    assert (code, "2 times in a row, after 2 attempts" in said) == (0, True)


async def test_it_waits_until_the_way_is_closed(wait: Wait) -> None:
    listener = listening()
    loop = asyncio.get_running_loop()
    accepted = 0
    while_open = asyncio.ensure_future(wait(CANARY_HOST="127.0.0.1", CANARY_PORT=port_of(listener), INTERVAL="0.05"))
    while accepted < 4:
        connection, _ = await asyncio.wait_for(loop.sock_accept(listener), 5)
        connection.close()
        accepted += 1
    assert not while_open.done()
    listener.close()
    code, said = await while_open
    assert (code, "egress is closed" in said) == (0, True)


async def test_failures_count_only_in_a_row(wait: Wait) -> None:
    """A way that opens again and again is open, however often it was closed in between."""
    loop = asyncio.get_running_loop()
    listener = listening()
    port = port_of(listener)
    waiting = asyncio.ensure_future(
        wait(CANARY_HOST="127.0.0.1", CANARY_PORT=port, INTERVAL="0.3", SEAL_TIMEOUT="4", CONFIRMATIONS="3")
    )
    for _ in range(4):
        connection, _ = await asyncio.wait_for(loop.sock_accept(listener), 5)
        connection.close()
        listener.close()
        await asyncio.sleep(0.4)  # one or two attempts fail, never three
        listener = listening(port=int(port))
    code, said = await waiting
    listener.close()
    assert (code, "egress is still open" in said) == (1, True)


async def test_without_a_canary_it_does_not_guess(wait: Wait) -> None:
    code, said = await wait()
    assert (code, "nothing to try" in said) == (2, True)


def port_of_message(said: str) -> str:
    return said.partition("127.0.0.1:")[2].split()[0]
