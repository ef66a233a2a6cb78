"""The images that a node holds, as its containerd knows them: by name, by name and digest, by configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.node_engine import Engine

CTR = ("ctr", "--namespace=k8s.io")
IMPORT = ("images", "import", "--local", "--snapshotter=overlayfs", "--discard-unpacked-layers")


def images_on(engine: Engine, node: str) -> dict[str, str]:
    """The digests of a node's images by name; one image has several names."""
    lines = engine.inside(node, *CTR, "images", "ls").splitlines()[1:]
    return {fields[0]: fields[2] for line in lines if len(fields := line.split()) > 2}


def configuration_on(engine: Engine, node: str, name: str) -> str | None:
    """The digest of the configuration of the image that a node has under a name."""
    digest = images_on(engine, node).get(name)
    if digest is None:
        return None
    manifest = json.loads(engine.inside(node, *CTR, "content", "get", digest))
    configuration: str | None = manifest.get("config", {}).get("digest")
    return configuration


def import_archive(engine: Engine, node: str, archive: Path) -> None:
    """Import and unpack an archive from this machine. Raises ClusterError."""
    with archive.open("rb") as stream:
        engine.inside_reading(stream, node, *CTR, *IMPORT, "-")


def pin(engine: Engine, node: str, name: str) -> str:
    """Make a node's image referable by its digest, which is returned."""
    images = images_on(engine, node)
    digest = images[name]
    if pinned(name, digest) not in images:
        engine.inside(node, *CTR, "images", "tag", name, pinned(name, digest))
    return digest


def pinned(name: str, digest: str) -> str:
    """`localhost/x:dev` and a digest → `localhost/x@sha256:…`."""
    return f"{name.rpartition(':')[0]}@{digest}"


def forget_superseded(engine: Engine, node: str) -> None:
    """Remove from a node that runs no pods yet the images that no tag leads to: old builds fill the disk."""
    images = images_on(engine, node)
    current = {digest for name, digest in images.items() if not name.startswith("sha256:") and "@" not in name}
    old = [name for name, digest in images.items() if digest not in current]
    if old:
        engine.inside(node, *CTR, "images", "rm", *old)
