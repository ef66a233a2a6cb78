"""Imports from a hub over real HTTP: whole, resumed, by shares, and refused with what to do."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import ssl
import struct
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.weights import folder, manifest
from bailiwick.weights.fetching import trust
from bailiwick.weights.problems import WeightsError
from bailiwick.weights.remote import Hub
from bailiwick.weights.transfer import Import, Progress
from bailiwick.weights.verification import Expected
from tests.unit.weights.hub import REPOSITORY, REVISION, HubServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = datetime(2026, 11, 21, tzinfo=UTC)
NUMBERS = random.Random(7).randbytes(3 * 2**20)  # noqa: S311 - content of a test
FILES = {
    "config.json": b'{"architectures": []}',
    "tokenizer.json": b"{}",
    "model.safetensors": struct.pack("<Q", 2) + b"{}" + NUMBERS,
    "sub/notes.txt": b"hello",
    "pytorch_model.bin": b"\x80\x04",
    "modeling_tiny.py": b"print()",
    "empty.txt": b"",
}
SERVED = {name: content for name, content in FILES.items() if not name.endswith((".bin", ".py"))}


@pytest.fixture
async def hub() -> AsyncIterator[HubServer]:
    server = HubServer(FILES)
    runner = await server.start()
    yield server
    await runner.cleanup()


async def no_wait(_: float) -> None:
    """Tries follow one another at once."""


def importing(
    hub: HubServer,
    root: Path,
    *,
    revision: str = REVISION,
    token: str | None = None,
    given_trust: ssl.SSLContext | None = None,
    **expected: Any,
) -> Import:
    remote = Hub(endpoint=hub.endpoint, repository=REPOSITORY, revision=revision, token=token)
    return Import(
        remote,
        root,
        "tiny",
        expected=Expected(**expected),
        now=lambda: NOW,
        trust=given_trust or trust(None),
        sleep=no_wait,
    )


async def refusal(work: Import) -> WeightsError:
    with pytest.raises(WeightsError) as refused:
        await work.run()
    return refused.value


def held(root: Path) -> dict[str, bytes]:
    where = root / "tiny"
    return {str(path.relative_to(where)): path.read_bytes() for path in where.rglob("*") if path.is_file()}


def names(root: Path) -> list[str]:
    return [path.name for path in root.iterdir()]


async def test_what_may_be_served_arrives_and_nothing_else(hub: HubServer, tmp_path: Path) -> None:
    hub.page = 2
    found = await importing(hub, tmp_path).run()
    assert held(tmp_path) == SERVED
    assert names(tmp_path) == ["tiny"]
    total = sum(map(len, SERVED.values()))
    assert (found.bytes, found.of, found.fetched, found.complete) == (total, total, total, True)
    assert "pytorch_model.bin" not in {path for path, *_ in hub.asked}


async def test_a_second_import_asks_nobody(hub: HubServer, tmp_path: Path) -> None:
    await importing(hub, tmp_path).run()
    hub.asked.clear()
    hub.token = "changed"
    assert (await importing(hub, tmp_path).run()).complete
    assert not hub.asked


async def test_shares_stop_and_go_on_where_they_were(hub: HubServer, tmp_path: Path) -> None:
    total = sum(map(len, SERVED.values()))
    shares: list[Progress] = [await importing(hub, tmp_path).run(share) for share in (30, 60, 100)]
    assert [found.of for found in shares] == [total] * 3
    for share, found in zip((30, 60), shares, strict=False):
        assert total * share // 100 <= found.bytes < total
        assert not found.complete
    assert sum(found.fetched for found in shares) == total
    assert held(tmp_path) == SERVED
    ranges = [asked for path, asked, _ in hub.asked if path == "model.safetensors"]
    assert ranges[0] is None
    assert all(asked and asked.startswith("bytes=") for asked in ranges[1:])


async def test_nothing_has_its_name_before_the_end(hub: HubServer, tmp_path: Path) -> None:
    await importing(hub, tmp_path).run(60)
    assert not (tmp_path / "tiny").exists()


async def test_a_connection_that_breaks_is_taken_up_again(hub: HubServer, tmp_path: Path) -> None:
    hub.breaks_after = 2**19
    await importing(hub, tmp_path).run()
    assert held(tmp_path) == SERVED
    assert len([path for path, *_ in hub.asked if path == "model.safetensors"]) > 4


async def test_a_server_without_ranges_sends_it_all_again(hub: HubServer, tmp_path: Path) -> None:
    await importing(hub, tmp_path).run(50)
    hub.ranges = False
    await importing(hub, tmp_path).run()
    assert held(tmp_path) == SERVED


async def test_what_changed_at_the_source_is_fetched_anew(hub: HubServer, tmp_path: Path) -> None:
    await importing(hub, tmp_path).run(50)
    hub.files = {
        **FILES,
        "config.json": b'{"other": 1}',
        "model.safetensors": FILES["model.safetensors"][:-9] + b"x" * 9,
    }
    await importing(hub, tmp_path).run()
    assert held(tmp_path) == {name: hub.files[name] for name in SERVED}


async def test_the_token_goes_to_the_hub(hub: HubServer, tmp_path: Path) -> None:
    hub.token = "secret"
    refused = await refusal(importing(hub, tmp_path))
    assert refused.reason == "CredentialsRefused"
    assert "answers 401" in refused.message
    await importing(hub, tmp_path, token="secret").run()
    assert held(tmp_path) == SERVED


async def test_a_revision_that_is_not_there_is_told(hub: HubServer, tmp_path: Path) -> None:
    refused = await refusal(importing(hub, tmp_path, revision="b" * 40))
    assert refused.reason == "SourceNotFound"
    assert f"revision {'b' * 40} of {REPOSITORY}" in refused.message


async def test_other_content_than_the_hub_lists_is_refused_and_not_kept(hub: HubServer, tmp_path: Path) -> None:
    hub.lies = True
    hub.files = {"model.safetensors": FILES["model.safetensors"]}
    refused = await refusal(importing(hub, tmp_path))
    assert refused.reason == "FileDiffers"
    assert "model.safetensors is not what the source says it is" in refused.message
    hub.lies = False
    await importing(hub, tmp_path).run()
    assert set(held(tmp_path)) == {"model.safetensors"}


async def test_small_files_are_compared_with_their_git_blob(hub: HubServer, tmp_path: Path) -> None:
    hub.lies = True
    assert "with git " in (await refusal(importing(hub, tmp_path))).message


async def test_what_was_said_of_the_whole_is_asked_before_it_has_its_name(hub: HubServer, tmp_path: Path) -> None:
    refused = await refusal(importing(hub, tmp_path, digest="sha256:" + "0" * 64))
    assert refused.reason == "DigestDiffers"
    assert names(tmp_path) == []
    await importing(hub, tmp_path).run()
    seen = manifest.digest(folder.digests(tmp_path / "tiny", folder.files(tmp_path / "tiny")))
    await importing(hub, tmp_path / "again", digest=seen).run()


async def test_a_source_that_does_not_answer_is_told(tmp_path: Path) -> None:
    closed = HubServer(FILES)
    await (await closed.start()).cleanup()
    refused = await refusal(importing(closed, tmp_path))
    assert refused.reason == "SourceUnreachable"
    assert "spec.network.egress of every policy" in refused.message


async def test_a_volume_that_is_too_small_is_told_before_anything_is_fetched(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**20})())
    refused = await refusal(importing(hub, tmp_path))
    assert refused.reason == "NoSpace"
    assert "enlarge the claim" in refused.message
    assert not hub.asked


async def test_a_source_without_weights_is_told(hub: HubServer, tmp_path: Path) -> None:
    hub.files = {"pytorch_model.bin": b"\x80", "config.json": b"{}"}
    refused = await refusal(importing(hub, tmp_path))
    assert refused.reason == "NoWeights"
    assert "only config.json, pytorch_model.bin" in refused.message


async def test_a_path_that_leaves_is_refused(hub: HubServer, tmp_path: Path) -> None:
    hub.files = {**FILES, "../../x.json": b"{}"}
    assert (await refusal(importing(hub, tmp_path))).reason == "ForbiddenFile"
    assert not hub.asked


async def test_a_volume_that_fills_up_meanwhile_is_told(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bailiwick.weights.transfer._make", full)
    refused = await refusal(importing(hub, tmp_path))
    assert refused.reason == "NoSpace"
    assert "No space left on device" in refused.message


async def test_a_volume_that_cannot_be_written_is_told(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/import")

    monkeypatch.setattr("bailiwick.weights.transfer._make", closed)
    refused = await refusal(importing(hub, tmp_path))
    assert refused.reason == "ClaimNotWritable"
    assert "/import cannot be written" in refused.message


async def test_two_imports_of_the_same_do_not_mix(hub: HubServer, tmp_path: Path) -> None:
    """The lock is of the open file, so a second import in another thread waits for the first."""
    one = asyncio.to_thread(asyncio.run, importing(hub, tmp_path).run())
    other = asyncio.to_thread(asyncio.run, importing(hub, tmp_path).run())
    found = await asyncio.gather(one, other)
    assert sorted(each.fetched for each in found) == [0, sum(map(len, SERVED.values()))]
    assert held(tmp_path) == SERVED
    assert names(tmp_path) == ["tiny"]


async def test_a_certificate_counts_when_the_secret_says_so(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    key, certificate = str(tmp_path / "key.pem"), str(secret / "ca.crt")
    made = ("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "1", "-subj", "/CN=hub")
    subprocess.run(  # noqa: ASYNC221 - it takes some milliseconds
        [*made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)
    server = HubServer(FILES)
    runner = await server.start(serving)
    try:
        refused = await refusal(importing(server, tmp_path / "a"))
        assert refused.reason == "SourceUnreachable"
        assert "certificate verify failed" in refused.message
        await importing(server, tmp_path / "b", given_trust=trust(secret)).run()
        assert held(tmp_path / "b") == SERVED
    finally:
        await runner.cleanup()


def test_what_is_no_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("hello")
    with pytest.raises(WeightsError, match=r"CredentialsMissing: ca\.crt of the Secret holds no certificates"):
        trust(tmp_path)


NAMES = {
    # host of the source → name that the resolver is asked for
    "hub.example": "hub.example.",
    "huggingface.co": "huggingface.co.",
    "hub.clinic.svc.cluster.local": "hub.clinic.svc.cluster.local.",
    "hub.clinic.svc": "hub.clinic.svc",
    "hub": "hub",
}


@pytest.mark.parametrize("host", NAMES)
async def test_no_name_below_the_namespace_is_tried(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """`hub.example` could also be pod `hub` of a Service `example`, which the pod's own resolver would ask first."""
    asked: list[str] = []
    address, port = hub.endpoint.removeprefix("http://").split(":")

    def resolver(name: str, *_: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port)))]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    hub.endpoint = f"http://{host}:{port}"
    await importing(hub, tmp_path).run()
    assert held(tmp_path) == SERVED
    assert set(asked) == {NAMES[host]}
