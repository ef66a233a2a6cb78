"""Imports from a real S3 server (versitygw, built as the cluster's programs are), which checks every signature."""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bailiwick.weights.fetching import trust
from bailiwick.weights.problems import WeightsError
from bailiwick.weights.remote import Bucket
from bailiwick.weights.transfer import Import
from bailiwick.weights.verification import Expected
from e2e.client import eventually
from e2e.cluster.apiserver import free_ports
from e2e.cluster.binaries import binary
from e2e.cluster.services import STORAGE_KEYS, put_object
from e2e.cluster.steps import log_file, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ACCESS, SECRET = STORAGE_KEYS
FILES = {
    "llama/8b/config.json": b"{}",
    "llama/8b/my tokenizer+.json": b"{}",
    "llama/8b/model.safetensors": struct.pack("<Q", 2) + b"{}" + bytes(range(256)) * 8192,
    "llama/8b/sub/notes.txt": b"hello",
    "llama/8b/pytorch_model.bin": b"\x80\x04",
    "llama/8bit/config.json": b"{}",
}
SERVED = {
    path.removeprefix("llama/8b/"): content
    for path, content in FILES.items()
    if path.startswith("llama/8b/") and not path.endswith(".bin")
}


class Storage:
    """The server, and the folder whose files are its objects."""

    def __init__(self, root: Path) -> None:
        (self.port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        for name in ("metadata", "objects"):
            (root / name).mkdir()
        self.process = started(
            log_file(f"versitygw-{os.getpid()}-{self.port}"),
            binary("versitygw"), "--port", f"127.0.0.1:{self.port}",
            "posix", "--sidecar", root / "metadata", root / "objects",
            env={"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET},
        )  # fmt: skip
        eventually(self._answers, what="the storage answers", every=0.1)
        self.put("", b"")
        for path, content in FILES.items():
            self.put(path, content)

    def put(self, path: str, content: bytes) -> None:
        """Make an object, or the bucket."""
        put_object(self.endpoint, f"weights/{path}".rstrip("/"), content)

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the storage ended"
        try:
            return httpx.get(self.endpoint, timeout=2).status_code < 500
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    server = Storage(tmp_path_factory.mktemp("storage"))
    yield server
    server.process.terminate()
    server.process.wait(10)


async def no_wait(_: float) -> None:
    """Tries follow one another at once."""


def importing(storage: Storage, root: Path, *, prefix: str = "llama/8b", **more: Any) -> Import:
    given: dict[str, Any] = {"bucket": "weights", "access_key": ACCESS, "secret_key": SECRET, **more}
    remote = Bucket(endpoint=storage.endpoint, prefix=prefix, **given)
    return Import(remote, root, "tiny", expected=Expected(), now=lambda: NOW, trust=trust(None), sleep=no_wait)


def held(root: Path) -> dict[str, bytes]:
    where = root / "tiny"
    return {str(path.relative_to(where)): path.read_bytes() for path in where.rglob("*") if path.is_file()}


async def test_a_folder_of_a_bucket_arrives_and_no_other(storage: Storage, tmp_path: Path) -> None:
    found = await importing(storage, tmp_path).run()
    assert held(tmp_path) == SERVED
    assert found.bytes == found.of == sum(map(len, SERVED.values()))


async def test_an_import_goes_on_by_ranges(storage: Storage, tmp_path: Path) -> None:
    first = await importing(storage, tmp_path).run(40)
    assert 0 < first.bytes < first.of
    second = await importing(storage, tmp_path).run()
    assert second.fetched == first.of - first.bytes
    assert held(tmp_path) == SERVED


async def test_an_object_that_changed_meanwhile_is_fetched_anew(storage: Storage, tmp_path: Path) -> None:
    await importing(storage, tmp_path).run(40)
    other = FILES["llama/8b/model.safetensors"][:-8] + b"x" * 8
    storage.put("llama/8b/model.safetensors", other)
    try:
        await importing(storage, tmp_path).run()
        assert held(tmp_path) == {**SERVED, "model.safetensors": other}
    finally:
        storage.put("llama/8b/model.safetensors", FILES["llama/8b/model.safetensors"])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a wrong secret": ({"secret_key": "other"}, "CredentialsRefused"),
    "an unknown key": ({"access_key": "other"}, "CredentialsRefused"),
    "no key": ({"access_key": None, "secret_key": None}, "CredentialsRefused"),
    "another bucket": ({"bucket": "elsewhere"}, "SourceNotFound"),
    "an empty prefix": ({"prefix": "nothing"}, "NoWeights"),
    "a prefix is a folder": ({"prefix": "llama/8"}, "NoWeights"),
}


@pytest.mark.parametrize("row", REFUSED)
async def test_what_cannot_be_imported_says_why(storage: Storage, tmp_path: Path, row: str) -> None:
    given, reason = REFUSED[row]
    with pytest.raises(WeightsError) as refused:
        await importing(storage, tmp_path, **given).run()
    assert refused.value.reason == reason, refused.value.message
    assert SECRET not in refused.value.message
