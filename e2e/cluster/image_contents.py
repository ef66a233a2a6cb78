"""What an archive's image holds, read layer by layer: the sum of each file, and the few texts that tell of packages."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from e2e.cluster import debian_packages, oci_archive
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ = ("*.dist-info/METADATA", "*.dist-info/RECORD", f"{debian_packages.FOLDER}/*", "usr/share/doc/*/copyright")
OS_RELEASE = "etc/os-release"


@dataclass(frozen=True, slots=True)
class ImageContents:
    """The files of an image by path, without a leading slash."""

    digest: str
    config: dict[str, Any]
    sums: dict[str, str] = field(default_factory=dict)
    """SHA-256 in hexadecimal. Links have none."""
    layers: dict[str, int] = field(default_factory=dict)
    """In which layer a file is, from 0."""
    texts: dict[str, str] = field(default_factory=dict)
    """Of the files that `READ` names."""

    @classmethod
    def of(cls, archive: Path) -> ImageContents:
        """Read an archive that `oci_archive.write` made. Raises ClusterError."""
        digest = oci_archive.digest(archive)
        with tarfile.open(archive) as tar:
            manifest = json.loads(_blob(tar, digest).read())
            found = cls(digest, json.loads(_blob(tar, manifest["config"]["digest"]).read()))
            for number, layer in enumerate(manifest["layers"]):
                with tarfile.open(fileobj=_blob(tar, layer["digest"])) as files:
                    for member in files:
                        found._add(number, files, member)
        return found

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.config["config"].get("Labels", {}))

    def like(self, pattern: str) -> Iterator[tuple[str, str]]:
        """The texts of a pattern, by path."""
        return ((path, text) for path, text in sorted(self.texts.items()) if fnmatchcase(path, pattern))

    def _add(self, layer: int, files: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        file: Any = files.extractfile(member) if member.isreg() else None
        if file is None:
            return
        path = member.name.removeprefix("./")
        self.sums[path] = hashlib.file_digest(file, "sha256").hexdigest()
        self.layers[path] = layer
        if path == OS_RELEASE or any(fnmatchcase(path, pattern) for pattern in READ):
            file.seek(0)
            self.texts[path] = file.read().decode(errors="replace")


def _blob(tar: tarfile.TarFile, digest: str) -> Any:
    file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
    if file is None:
        raise ClusterError(f"the archive lacks {digest}, which its manifest names")
    return file
