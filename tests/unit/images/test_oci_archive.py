"""Archives that are written straight from files hold what the OCI image layout asks for, and always the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster import oci_archive
from e2e.cluster.architectures import AMD64, ARM64
from e2e.cluster.oci_archive import Config, Layer
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "localhost/bailiwick/thing:dev"


def files(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "run").write_text("#!/bin/sh\n")
    (folder / "bin" / "run").chmod(0o700)
    (folder / "secret").write_text("readable all the same")
    (folder / "secret").chmod(0o600)
    (folder / "link").symlink_to("bin/run")
    return folder


def written(archive: Path, *layers: Layer, config: Config | None = None) -> dict[str, bytes]:
    oci_archive.write(archive, name=NAME, layers=layers, config=config or Config())
    with tarfile.open(archive) as tar:
        return {member.name: _content(tar, member) for member in tar}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def blob(content: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    data = content["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(data) == descriptor["size"]
    assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
    return data


def test_every_part_of_an_image_is_where_its_digest_says(tmp_path: Path) -> None:
    config = Config(environment=("A=b",), entrypoint=("run",), user="65532:65532", labels={"k": "v"})
    layers = Layer(files(tmp_path / "files")), Layer(files(tmp_path / "more"), "/opt/more")
    content = written(tmp_path / "archive", *layers, config=config)
    index = json.loads(content["index.json"])
    manifest = json.loads(blob(content, index["manifests"][0]))
    image = json.loads(blob(content, manifest["config"]))
    assert image["config"] == {"User": "65532:65532", "Env": ["A=b"], "Entrypoint": ["run"], "Labels": {"k": "v"}}
    assert image["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert len([blob(content, layer) for layer in manifest["layers"]]) == 2
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_an_image_is_known_by_its_tag_and_by_its_digest(tmp_path: Path) -> None:
    content = written(tmp_path / "archive", Layer(files(tmp_path / "files")))
    entries = json.loads(content["index.json"])["manifests"]
    digest = oci_archive.digest(tmp_path / "archive")
    assert {entry["digest"] for entry in entries} == {digest}
    names = [entry["annotations"]["io.containerd.image.name"] for entry in entries]
    assert names == [NAME, f"localhost/bailiwick/thing@{digest}"]


def test_equal_files_make_equal_images_whatever_their_dates_owners_and_links(tmp_path: Path) -> None:
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    os.utime(two / "secret", (1, 1))
    (two / "bin" / "run").chmod(0o711)
    (one / "same").write_text("same")
    (one / "again").write_text("same")
    (two / "same").write_text("same")
    (two / "again").hardlink_to(two / "same")
    written(tmp_path / "a", Layer(one))
    written(tmp_path / "b", Layer(two))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_byte_makes_another_image(tmp_path: Path) -> None:
    folder = files(tmp_path / "files")
    written(tmp_path / "a", Layer(folder))
    (folder / "secret").write_text("readable all the samf")
    written(tmp_path / "b", Layer(folder))
    assert oci_archive.digest(tmp_path / "a") != oci_archive.digest(tmp_path / "b")


def test_files_belong_to_root_and_everybody_may_read_them(tmp_path: Path) -> None:
    out = io.BytesIO()
    oci_archive.tar_of(Layer(files(tmp_path / "files"), "/opt/thing"), out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        seen = {member.name: (oct(member.mode), member.uid, member.gid, member.mtime) for member in tar}
    assert seen == {
        "opt": ("0o755", 0, 0, 0),
        "opt/thing": ("0o755", 0, 0, 0),
        "opt/thing/bin": ("0o755", 0, 0, 0),
        "opt/thing/bin/run": ("0o755", 0, 0, 0),
        "opt/thing/link": ("0o777", 0, 0, 0),
        "opt/thing/secret": ("0o644", 0, 0, 0),
    }


def test_a_single_file_is_put_where_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").write_text("global\n")
    out = io.BytesIO()
    oci_archive.tar_of(Layer(tmp_path / "haproxy.cfg", "/etc/haproxy/haproxy.cfg"), out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == ["etc", "etc/haproxy", "etc/haproxy/haproxy.cfg"]


def test_what_is_no_file_cannot_be_in_an_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ClusterError, match="neither a file nor a folder nor a link"):
        oci_archive.tar_of(Layer(tmp_path), io.BytesIO())


def test_one_image_for_two_processors_leads_to_each(tmp_path: Path) -> None:
    """Layers that both have are there once."""
    shared, made = Layer(files(tmp_path / "files")), []
    for architecture in (AMD64, ARM64):
        own = tmp_path / architecture.name
        own.write_text(architecture.machine)
        config = Config(architecture=architecture)
        made.append(tmp_path / f"{architecture.name}.tar")
        oci_archive.write(made[-1], name=NAME, layers=(shared, Layer(own, "/machine")), config=config)
    digest = oci_archive.combine(tmp_path / "both", name=NAME, of=made)
    assert oci_archive.digest(tmp_path / "both") == digest
    with tarfile.open(tmp_path / "both") as tar:
        names = tar.getnames()
        content = {member.name: _content(tar, member) for member in tar}
    assert len(names) == len(set(names))
    index = json.loads(blob(content, json.loads(content["index.json"])["manifests"][0]))
    assert [entry["platform"] for entry in index["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
    ]
    assert [entry["digest"] for entry in index["manifests"]] == [oci_archive.digest(path) for path in made]
    for entry in index["manifests"]:
        manifest = json.loads(blob(content, entry))
        assert [blob(content, layer) for layer in manifest["layers"]]
        assert json.loads(blob(content, manifest["config"]))["architecture"] == entry["platform"]["architecture"]
