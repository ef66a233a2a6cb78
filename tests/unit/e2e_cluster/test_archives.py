from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.load import ArchivedImage
from e2e.cluster.node_archive import Image, write_archive
from e2e.cluster.node_images import pinned
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with one file."""
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as tar:
        _put(tar, "hello", b"hello")
    return path


def test_an_archive_of_ours_is_read_back(tmp_path: Path, layer: Path) -> None:
    archive = tmp_path / "image.tar"
    write_archive(archive, [Image("localhost/x:dev", {"Entrypoint": ["/hello"]})], [layer])
    image = ArchivedImage.of(archive)
    assert image.name == "localhost/x:dev"
    with tarfile.open(archive) as tar:
        blob = tar.extractfile(f"blobs/{image.configuration.replace(':', '/')}")
        assert blob is not None
        assert json.load(blob)["config"] == {"Entrypoint": ["/hello"]}


def test_equal_inputs_make_equal_archives(tmp_path: Path, layer: Path) -> None:
    for name in ("a", "b"):
        write_archive(tmp_path / name, [Image("localhost/x:dev")], [layer])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_images_that_share_layers_hold_them_once(tmp_path: Path, layer: Path) -> None:
    archive = tmp_path / "image.tar"
    write_archive(archive, [Image("localhost/x:dev"), Image("localhost/y:dev")], [layer])
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))


def test_a_docker_archive_is_known_by_its_configuration(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as tar:
        described = [{"Config": "abc123.json", "RepoTags": ["localhost/x:dev"], "Layers": []}]
        _put(tar, "manifest.json", json.dumps(described).encode())
    assert ArchivedImage.of(archive) == ArchivedImage("localhost/x:dev", "sha256:abc123")


@pytest.mark.parametrize("name", ["x", "localhost/x", "localhost:5000/x"])
def test_an_image_without_a_full_name_is_refused(name: str, tmp_path: Path, layer: Path) -> None:
    archive = tmp_path / "image.tar"
    write_archive(archive, [Image(name)], [layer])
    with pytest.raises(ClusterError, match="full name"):
        ArchivedImage.of(archive)


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_text("hello")
    with pytest.raises(ClusterError, match="is no image archive"):
        ArchivedImage.of(path)


def test_a_digest_takes_the_place_of_the_tag() -> None:
    assert pinned("localhost:5000/x:dev", "sha256:abc") == "localhost:5000/x@sha256:abc"


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
