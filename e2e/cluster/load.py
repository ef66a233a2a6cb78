"""Images from archives into the nodes, under their name and, for whoever pins them, under their digest."""

from __future__ import annotations

import json
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.cluster import cluster, kind
from e2e.cluster.node_images import configuration_on, import_archive, pin, pinned
from e2e.cluster.steps import ClusterError, lasted, locked, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
TELL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """The image of an archive: its full name (`localhost/bailiwick/operator:dev`) and the digest of its configuration.

    The configuration lists the layers, so two images with the same one have the same files. Its digest is known from
    every kind of archive; a manifest's is not, for Docker's archives have none.
    """

    name: str
    configuration: str

    @classmethod
    def of(cls, archive: Path) -> ArchivedImage:
        """Read an OCI or a Docker archive that holds one image. Raises ClusterError."""
        try:
            with tarfile.open(archive) as tar:
                names = set(tar.getnames())
                image = _from_oci(tar) if "index.json" in names else _from_docker(tar)
        except (OSError, KeyError, IndexError, tarfile.TarError, json.JSONDecodeError) as error:
            raise ClusterError(
                f"{archive} is no image archive: expected an OCI or Docker archive, found {error}"
            ) from error
        if "/" not in image.name or ":" not in image.name.rpartition("/")[2]:
            raise ClusterError(
                f"{archive} names its image {image.name!r}; expected a full name such as localhost/x:dev"
            )
        return image


def load_image(archive: Path, nodes: Sequence[str] = kind.NODES) -> str:
    """Have the archive's image on the nodes, and return its reference by digest: `localhost/x@sha256:…`.

    Pods use either with `imagePullPolicy: Never`. A node that has the same image already is left alone.
    Raises ClusterError, also for a cluster that is not ours.
    """
    if cluster.external():
        raise ClusterError(
            f"CLUSTER=external: {archive.name} cannot be loaded into a given cluster. Push the image to a registry "
            "that its nodes pull from."
        )
    image, engine = ArchivedImage.of(archive), cluster.engine()
    with locked("load"):
        missing = [node for node in nodes if configuration_on(engine, node, image.name) != image.configuration]
        if missing:
            what = f"loading {image.name} ({archive.stat().st_size / 1e9:.1f} GB) into {', '.join(missing)}"
            with _told(what), ThreadPoolExecutor() as pool:
                list(pool.map(lambda node: import_archive(engine, node, archive), missing))
        digests = {pin(engine, node, image.name) for node in nodes}
    if len(digests) != 1:
        raise ClusterError(
            f"{image.name} differs between nodes: {sorted(digests)}. `make cluster-down cluster` starts afresh."
        )
    return pinned(image.name, digests.pop())


def _from_oci(tar: tarfile.TarFile) -> ArchivedImage:
    entries = _json(tar, "index.json")["manifests"]
    names = [
        name
        for entry in entries
        for annotation in NAME_ANNOTATIONS
        if "@" not in (name := entry.get("annotations", {}).get(annotation, "@"))
    ]
    manifest = _json(tar, f"blobs/{entries[0]['digest'].replace(':', '/')}")
    return ArchivedImage(names[0], manifest["config"]["digest"])


def _from_docker(tar: tarfile.TarFile) -> ArchivedImage:
    entry = _json(tar, "manifest.json")[0]
    return ArchivedImage(entry["RepoTags"][0], f"sha256:{entry['Config'].rpartition('/')[2].removesuffix('.json')}")


def _json(tar: tarfile.TarFile, name: str) -> Any:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(name)
    return json.load(file)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say that a long step begins, that it goes on, and how long it took."""
    start, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(TELL_SECONDS):
            say(f"{what} … {lasted(start)}")

    say(f"{what} …")
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
    say(f"{what}: done in {lasted(start)}")
