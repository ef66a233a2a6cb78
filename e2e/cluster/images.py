"""The project's images as OCI archives: `python -m e2e.cluster.images NAME…|all`.

An image is made from its Containerfile under `images/`, a root file system of Debian packages, and parts. Each lies in
the cache under the hash of what it is made from, so a second call makes only what changed. The small images are built
by whatever container engine is there; the engine and the model, 3 GB together, are written as archives straight from
their files, and so are the others where there is no container engine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import (
    builder,
    containerfile,
    debian_root,
    engine_files,
    gate_files,
    gguf_files,
    llama_files,
    model_files,
    oci_archive,
    operator_files,
    places,
)
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.oci_archive import Layer
from e2e.cluster.steps import ClusterError, log_file, say, step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IMAGES = places.ROOT / "images"
ROOT_CONTAINERFILE = IMAGES / "base" / "Containerfile.root"


@dataclass(frozen=True, slots=True)
class Part:
    """A file or folder of an image's build context that is not in the repository as it is."""

    key: Callable[[], str]
    make: Callable[[], Path]


@dataclass(frozen=True, slots=True)
class Image:
    """An image by the name of its folder under `images/`."""

    name: str
    parts: tuple[tuple[str, Part], ...] = ()
    large: bool = False

    @property
    def tag(self) -> str:
        return f"localhost/bailiwick/{self.name}:dev"

    @property
    def folder(self) -> Path:
        return IMAGES / self.name

    @property
    def has_root(self) -> bool:
        return (self.folder / "root.yaml").exists()


_PACKAGES = Part(operator_files.packages_key, operator_files.packages)
_PACKAGE = Part(operator_files.package_key, operator_files.package)
_GATEKEEPER = Part(gate_files.package_key, gate_files.package)
_ENGINE = Part(engine_files.engine_key, engine_files.engine_files)
_LLAMA = Part(llama_files.llama_key, llama_files.llama_files)
_MODEL = Part(model_files.model_key, model_files.model_files)
_GGUF = Part(gguf_files.gguf_key, gguf_files.gguf_files)

ALL: dict[str, Image] = {
    image.name: image
    for image in (
        Image("operator", (("packages", _PACKAGES), ("bailiwick", _PACKAGE))),
        Image("gate", (("gatekeeper", _GATEKEEPER),)),
        Image("vllm-cpu", (("engine", _ENGINE),), large=True),
        Image("llama-cpp", (("server", _LLAMA),), large=True),
        Image("smollm2-135m-instruct", (("model", _MODEL),), large=True),
        Image("smollm2-135m-instruct-gguf", (("model", _GGUF),), large=True),
    )
}


def archive(name: str) -> Path:
    """The archive of an image, made if the cache does not hold it. Raises ClusterError."""
    image = _image(name)
    return kept("images", f"{name}-{_key(image)}", lambda target: _make(image, target))


def digest(name: str) -> str:
    """`sha256:…`, by which nodes know the image once they have loaded its archive. Raises ClusterError."""
    return oci_archive.digest(archive(name))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.images", description="Build the project's images.")
    parser.add_argument("names", nargs="+", metavar="NAME", choices=[*ALL, "all"], help=", ".join([*ALL, "all"]))
    names = parser.parse_args().names
    try:
        for name in ALL if "all" in names else names:
            made = archive(name)
            repository = ALL[name].tag.rpartition(":")[0]
            say(f"{repository}@{oci_archive.digest(made)}  {made.stat().st_size / 1e6:.0f} MB  {made}")
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _image(name: str) -> Image:
    if name not in ALL:
        raise ClusterError(f"there is no image {name}: expected one of {', '.join(ALL)}")
    return ALL[name]


def _key(image: Image) -> str:
    """Everything an image is made from: its folder, its root, its parts, and how they are put together."""
    files = sorted(path for path in image.folder.rglob("*") if path.is_file())
    named = [part for path in files for part in (str(path.relative_to(image.folder)), path.read_bytes())]
    parts = [text for name, part in image.parts for text in (name, part.key())]
    root = debian_root.root_key(image.name) if image.has_root else ""
    code = (__file__, builder.__file__, containerfile.__file__, oci_archive.__file__)
    return key_of(*named, root, *parts, ROOT_CONTAINERFILE.read_bytes(), *(Path(path).read_bytes() for path in code))


def _make(image: Image, target: Path) -> None:
    """Have the parts first: they tell of themselves, and a part that fails leaves nothing half-built."""
    context = {path.name: path for path in image.folder.iterdir() if path.name != "root.yaml"}
    context |= {name: part.make() for name, part in image.parts}
    root = debian_root.root_of(image.name) if image.has_root else None
    engine = None if image.large else builder.find()
    how = f"with {engine.name}" if engine else "straight from its files"
    with step(f"image {image.name}, {how}"):
        if engine:
            _build(engine, image, context, root, target)
        else:
            _assemble(image, context, root, target)


def _assemble(image: Image, context: Mapping[str, Path], root: Path | None, target: Path) -> None:
    """Follow the Containerfile ourselves: the root is a layer, and each COPY is one."""
    recipe = containerfile.read(image.folder / "Containerfile")
    layers = [Layer(root)] if root and recipe.base else []
    for source, at in recipe.copies:
        path = context[source]
        layers.append(Layer(path, f"{at.rstrip('/')}/{path.name}" if path.is_file() and at.endswith("/") else at))
    oci_archive.write(target, name=image.tag, layers=layers, config=recipe.config)


def _build(engine: builder.Builder, image: Image, context: Mapping[str, Path], root: Path | None, target: Path) -> None:
    """Let a container engine follow the Containerfile, on a base that it is given first. It keeps neither."""
    log = log_file(f"image-{image.name}")
    base, built = f"localhost/bailiwick/root-{image.name}:building", f"localhost/bailiwick/{image.name}:building"
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder, saved = Path(scratch) / "context", Path(scratch) / "saved.tar"
        try:
            folder.mkdir()
            if root:
                shutil.copy(ROOT_CONTAINERFILE, folder)
                with (folder / "root.tar").open("wb") as out:
                    oci_archive.tar_of(Layer(root), out)
                engine.build(folder, base, {}, log, ROOT_CONTAINERFILE.name)
                (folder / "root.tar").unlink()
            for name, path in context.items():
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, folder / name)
            engine.build(folder, built, {"BASE": base} if root else {}, log)
            engine.save(built, saved, log)
        finally:
            engine.remove(built)
            engine.remove(base)
        oci_archive.rename(saved, target, name=image.tag)


if __name__ == "__main__":
    sys.exit(main())
