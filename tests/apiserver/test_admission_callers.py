"""Row 46: whoever calls the webhook and is not the API server gets a verdict and nothing else, and holds up nobody."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bailiwick.admission.review import MOST_BYTES
from bailiwick.admission.server import MOST_AT_ONCE, MOST_CONNECTIONS, PATH, READ_SECONDS
from bailiwick.cli.programs.admission import LEAVE_SECONDS
from e2e.client import LOCAL, eventually
from tests.apiserver.webhook import Webhook, policy, standing, unchecked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Manifest
    from tests.apiserver.realm import Realm
    from tests.apiserver.webhook import Replica
    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def webhook(cleared: Realm, helm: Helm) -> Iterator[Webhook]:
    with standing(cleared, helm) as webhook:
        yield webhook


@pytest.fixture
def replica(webhook: Webhook) -> Replica:
    """The one that the API server asks."""
    return webhook.replicas[0]


def review(*allow: str, **request: Any) -> Manifest:
    asked = policy(*allow)
    return {
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u1", "operation": "CREATE", "name": "sound", "object": asked, "userInfo": {"username": "mallory"},
            "kind": {"group": "bailiwick.dev", "version": "v1alpha1", "kind": "ResidencyPolicy"}, **request,
        },
    }  # fmt: skip


def post(replica: Replica, content: bytes | None = None, **asked: Any) -> httpx.Response:
    return LOCAL.post(f"https://127.0.0.1:{replica.port}{PATH}", content=content, **asked)


def test_a_stranger_gets_a_verdict_and_nothing_else(webhook: Webhook, replica: Replica) -> None:
    before = webhook.realm.everything()
    passed = post(replica, json=review("DE")).json()
    assert passed == {
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": "u1", "allowed": True},
    }  # fmt: skip
    denied = post(replica, json=review("ATLANTIS")).json()["response"]
    assert set(denied) == {"uid", "allowed", "status"}
    assert set(denied["status"]) == {"code", "reason", "message"}
    assert webhook.realm.everything() == before, "it asks for a verdict and changes nothing"
    for path in ("/", "/metrics", "/healthz", "/debug"):
        assert LOCAL.get(f"https://127.0.0.1:{replica.port}{path}").status_code == 404
    assert LOCAL.get(f"https://127.0.0.1:{replica.port}{PATH}").status_code == 405


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', 400),
        (b"x" * (MOST_BYTES + 1), 413),
    ],
    ids=["empty", "half", "deep", "no-request", "too-large"],
)
def test_what_is_no_review_or_too_large_is_refused(replica: Replica, content: bytes, status: int) -> None:
    assert post(replica, content).status_code == status
    assert post(replica, json=review("DE")).status_code == 200


def test_a_slow_caller_is_not_waited_for(webhook: Webhook, replica: Replica) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: webhook\r\nContent-Length: 1000\r\n\r\n".encode()
    with (
        socket.create_connection(("127.0.0.1", replica.port), timeout=10) as plain,
        unchecked().wrap_socket(plain) as slow,
    ):
        begun = time.monotonic()
        slow.sendall(head + b"{")
        webhook.client.create(policy("DE"), dry_run=True)
        assert time.monotonic() - begun < READ_SECONDS, "others are answered meanwhile"
        assert b" 408 " in slow.recv(4096)
        assert READ_SECONDS * 0.9 < time.monotonic() - begun < READ_SECONDS + 2


def test_a_flood_is_bounded_and_over_when_it_ends(webhook: Webhook, replica: Replica) -> None:
    """Many connections that send half a review each: some are read until their time is over, others turned away."""

    context = unchecked()

    async def one() -> bytes:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", replica.port, ssl=context)
        except OSError:
            return b"closed"
        try:
            writer.write(f"POST {PATH} HTTP/1.1\r\nHost: webhook\r\nContent-Length: 1000\r\n\r\n{{".encode())
            status = await reader.readline()
        except OSError:
            return b"closed"
        finally:
            writer.transport.abort()
        return status.split(b" ")[1] if b" " in status else b"closed"

    async def flood() -> list[bytes]:
        ended = await asyncio.gather(*(one() for _ in range(2 * MOST_AT_ONCE)))
        await asyncio.sleep(0.1)  # aborted transports close in the loop's next round
        return ended

    ended = asyncio.run(flood())
    assert set(ended) <= {b"408", b"503", b"closed"}
    eventually(lambda: webhook.client.create(policy("DE"), dry_run=True), what="the API server is answered again")
    assert replica.process.poll() is None


def test_connections_are_bounded(webhook: Webhook, replica: Replica) -> None:
    context = unchecked()

    async def hold() -> int:
        opened = []
        for _ in range(MOST_CONNECTIONS + 8):
            try:
                opened.append(await asyncio.open_connection("127.0.0.1", replica.port, ssl=context))
            except OSError:
                continue
        await asyncio.sleep(0.5)
        held = sum(not reader.at_eof() and reader.exception() is None for reader, _ in opened)
        for _, writer in opened:
            writer.transport.abort()
        await asyncio.sleep(0.1)
        return held

    assert asyncio.run(hold()) <= MOST_CONNECTIONS
    eventually(lambda: webhook.client.create(policy("DE"), dry_run=True), what="the API server is answered again")


def test_a_replica_that_ends_answers_on_and_asks_for_another_connection(webhook: Webhook) -> None:
    ending = webhook.replicas[1]
    with httpx.Client(verify=unchecked(), timeout=5) as caller:
        url = f"https://127.0.0.1:{ending.port}{PATH}"
        assert caller.post(url, json=review("DE")).headers.get("Connection") != "close"
        ending.process.terminate()
        last = eventually(
            lambda: (answer := caller.post(url, json=review("DE"))).headers.get("Connection") == "close" and answer,
            what="it asks for another connection",
        )
        assert last.json()["response"]["allowed"] is True
        assert caller.post(url, json=review("DE")).status_code == 200, "another connection, until others know"
    assert ending.process.wait(LEAVE_SECONDS + 10) == 0
