"""OCI image archives written by hand: layers that exist as tar files, uncompressed, under any number of names.

Sources: OCI image specification 1.1, image-layout.md, manifest.md, config.md; containerd reads an image's name from the
annotation `io.containerd.image.name`.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from platform import machine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
CREATED = "1970-01-01T00:00:00Z"  # the same inputs make the same image
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """A name, and how the image's process starts: `Entrypoint`, `Env`, `StopSignal` and the like."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


def write_archive(archive: Path, images: Sequence[Image], layers: Sequence[Path]) -> None:
    """Write images that share all layers into one archive that podman, Docker and containerd read."""
    blobs = [(_digest_of(layer), layer) for layer in layers]
    with tarfile.open(archive, "w") as out:
        _add(out, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        for digest, layer in blobs:
            out.add(layer, f"blobs/sha256/{digest}", filter=_anonymous)
        described = []
        for image in images:
            config = _json(_config(image, [digest for digest, _ in blobs]))
            manifest = _json(_manifest(config, blobs))
            for blob in (config, manifest):
                _add(out, f"blobs/sha256/{sha256(blob).hexdigest()}", blob)
            names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
            described.append(_descriptor(MANIFEST, manifest) | {"annotations": names})
        _add(out, "index.json", _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": described}))


def _config(image: Image, layers: Sequence[str]) -> dict[str, Any]:
    return {
        "created": CREATED,
        "architecture": ARCHITECTURES[machine()],
        "os": "linux",
        "config": image.settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in layers]},
        "history": [{"created": CREATED} for _ in layers],
    }


def _manifest(config: bytes, layers: Sequence[tuple[str, Path]]) -> dict[str, Any]:
    described = [
        {"mediaType": LAYER, "digest": f"sha256:{digest}", "size": layer.stat().st_size} for digest, layer in layers
    ]
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": _descriptor(CONFIG, config), "layers": described}


def _descriptor(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{sha256(blob).hexdigest()}", "size": len(blob)}


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _add(out: tarfile.TarFile, name: str, blob: bytes) -> None:
    entry = tarfile.TarInfo(name)
    if name in out.getnames():
        return
    entry.size = len(blob)
    out.addfile(entry, io.BytesIO(blob))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
