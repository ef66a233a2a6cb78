"""OCI images written straight from folders: an uncompressed layer per folder, the same bytes for the same files.

A 3 GB image takes as long as its bytes take to copy. A container engine copies them several times and compresses them.
Format: OCI image specification 1.1, image layout in a tar.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from e2e.cluster.architectures import here
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from e2e.cluster.architectures import Architecture

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EPOCH = "1970-01-01T00:00:00Z"
# containerd calls an imported image by the first of these, Docker and Podman by the second.
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True, slots=True)
class Layer:
    """A folder or a file of this machine, and where it appears in the image (`/opt/vllm`; `/` for the root)."""

    source: Path
    at: str = "/"


@dataclass(frozen=True, slots=True)
class Config:
    """How the image runs, what it says of itself, and for which processor it is."""

    environment: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    folder: str = ""
    stop_signal: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    created: str = EPOCH
    architecture: Architecture | None = None  # absent: this machine's

    def as_json(self) -> dict[str, Any]:
        told = {
            "User": self.user, "Env": list(self.environment), "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command), "WorkingDir": self.folder,
            "StopSignal": self.stop_signal, "Labels": self.labels,
        }  # fmt: skip
        return {key: value for key, value in told.items() if value}


def write(archive: Path, *, name: str, layers: Sequence[Layer], config: Config) -> str:
    """Write the image as an archive, and return the digest of its manifest (`sha256:…`).

    Owners, times and the order in folders are always the same, so equal files give an equal digest. On the nodes the
    image is known both as `name` and, for whoever pins it, as the name without its tag and with the digest.
    """
    with archive.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        blobs = _Blobs(tar, out)
        written = [blobs.layer(layer) for layer in layers]
        image = {
            "created": config.created,
            "architecture": (config.architecture or here()).name,
            "os": "linux",
            "config": config.as_json(),
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in written]},
            "history": [{"created": config.created, "created_by": f"files at {layer.at}"} for layer in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": blobs.json(image, CONFIG),
            "layers": written,
        }
        descriptor = blobs.json(manifest, MANIFEST)
        blobs.finish(_index(name, descriptor))
    return str(descriptor["digest"])


def digest(archive: Path) -> str:
    """The digest of the manifest of an archive's one image. Raises ClusterError when it holds none or several."""
    with tarfile.open(archive) as tar:
        found = {entry["digest"] for entry in _read_index(tar)["manifests"]}
    if len(found) != 1:
        raise ClusterError(f"{archive} holds {len(found)} images, expected one")
    return str(found.pop())


def combine(archive: Path, *, name: str, of: Sequence[Path]) -> str:
    """Write one archive of the same image for several processors, and return the digest of its index.

    Whoever pulls it by that digest gets the one for the processor that asks.
    """
    with archive.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        blobs, written, manifests = _Blobs(tar, out), set[str](), []
        for path in of:
            with tarfile.open(path) as single:
                manifests.append(_with_platform(single))
                for member in single:
                    if member.name.startswith("blobs/") and member.isfile() and member.name not in written:
                        tar.addfile(_member(member.name, member.size), single.extractfile(member))
                        written.add(member.name)
        descriptor = blobs.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
        blobs.finish(_index(name, descriptor))
    return str(descriptor["digest"])


def _with_platform(tar: tarfile.TarFile) -> dict[str, Any]:
    """The descriptor of an archive's image, with what it runs on."""
    described = {key: value for key, value in _read_index(tar)["manifests"][0].items() if key != "annotations"}
    config = _read(tar, _read(tar, described["digest"])["config"]["digest"])
    return described | {"platform": {"architecture": config["architecture"], "os": config["os"]}}


def _read(tar: tarfile.TarFile, digest: str) -> dict[str, Any]:
    file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
    assert file is not None, "blobs are regular files"
    document: dict[str, Any] = json.load(file)
    return document


def tar_of(layer: Layer, out: IO[bytes]) -> None:
    """Write a layer's files as a tar: by name, owned by root, of no date, with only the modes that matter."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        prefix = layer.at.strip("/")
        parts = prefix.split("/") if prefix else []
        above = parts if layer.source.is_dir() else parts[:-1]
        for depth in range(1, len(above) + 1):
            folder = tarfile.TarInfo("/".join(above[:depth]))
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for path, name in _walk(layer.source, prefix):
            member = _described(path, name)
            if member.isreg():
                with path.open("rb") as file:
                    tar.addfile(member, file)
            else:
                tar.addfile(member)


class _Blobs:
    """The parts of an image layout, written one after the other into a tar."""

    def __init__(self, tar: tarfile.TarFile, out: IO[bytes]) -> None:
        self._tar = tar
        self._out = out

    def layer(self, layer: Layer) -> dict[str, Any]:
        """A layer's name is its digest, known only at its end: leave room for the header and fill it in afterwards."""
        header = self._out.tell()
        self._out.write(bytes(tarfile.BLOCKSIZE))
        hashing = _HashingWriter(self._out)
        tar_of(layer, hashing)  # type: ignore[arg-type]  # tarfile asks for write() and tell() only
        size, name = hashing.size, hashing.digest()
        padding = -size % tarfile.BLOCKSIZE
        self._out.write(bytes(padding))
        end = self._out.tell()
        self._out.seek(header)
        self._out.write(_member(f"blobs/{name.replace(':', '/')}", size).tobuf(tarfile.USTAR_FORMAT))
        self._out.seek(end)
        self._tar.offset = end
        return {"mediaType": LAYER, "digest": name, "size": size}

    def json(self, document: dict[str, Any], media_type: str) -> dict[str, Any]:
        data = _json(document)
        name = "sha256:" + hashlib.sha256(data).hexdigest()
        self._add(f"blobs/{name.replace(':', '/')}", data)
        return {"mediaType": media_type, "digest": name, "size": len(data)}

    def finish(self, index: dict[str, Any]) -> None:
        self._add("index.json", _json(index))
        self._add("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))

    def _add(self, name: str, data: bytes) -> None:
        self._tar.addfile(_member(name, len(data)), io.BytesIO(data))


class _HashingWriter:
    """Passes bytes on, counts them and hashes them."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._hash = out, hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._out.write(data)

    def tell(self) -> int:
        return self.size

    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def _index(name: str, descriptor: dict[str, Any]) -> dict[str, Any]:
    pinned = f"{name.rsplit(':', 1)[0]}@{descriptor['digest']}"
    entries = [{**descriptor, "annotations": dict.fromkeys(NAME_ANNOTATIONS, known)} for known in (name, pinned)]
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}


def _read_index(tar: tarfile.TarFile) -> dict[str, Any]:
    file = tar.extractfile("index.json")
    assert file is not None, "index.json is a regular file"
    index: dict[str, Any] = json.load(file)
    return index


def _walk(source: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    """Every file, link and folder under a source, parents first, with its name in the image."""
    if not source.is_dir():
        yield source, prefix
        return
    for path in sorted(source.iterdir()):
        name = f"{prefix}/{path.name}" if prefix else path.name
        yield path, name
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, name)


def _described(path: Path, name: str) -> tarfile.TarInfo:
    """A file, link or folder of this machine as an image holds it: of root and of no date.

    Everybody may read it and run what is runnable. Two names of one file become two files: that they share their bytes
    says something about this machine's cache and nothing about the image.
    """
    seen = path.lstat()
    member = tarfile.TarInfo(name)
    if stat.S_ISLNK(seen.st_mode):
        member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, str(path.readlink())
    elif stat.S_ISDIR(seen.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o1777 if seen.st_mode & stat.S_ISVTX else 0o755
    elif stat.S_ISREG(seen.st_mode):
        member.size, member.mode = seen.st_size, 0o755 if seen.st_mode & 0o111 else 0o644
    else:
        raise ClusterError(f"{path} is neither a file nor a folder nor a link, and an image holds nothing else")
    return member


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
