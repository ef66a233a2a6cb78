"""The project's images as OCI archives: `python -m e2e.cluster.images NAME…|all`.

An image is made from its Containerfile under `images/`, a root file system of Debian packages, and parts. Each lies in
the cache under the hash of what it is made from, so a second call makes only what changed. We follow the Containerfile
ourselves and write the archive straight from the files: no container engine puts its version, its time or its way of
compressing into a digest, and 3 GB of engine and model are not copied several times.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import (
    architectures,
    containerfile,
    debian_root,
    engine_files,
    gate_files,
    gguf_files,
    image_labels,
    last_release,
    llama_files,
    model_files,
    oci_archive,
    operator_files,
    places,
)
from e2e.cluster.architectures import AMD64, ARM64, Architecture, here
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.oci_archive import Layer
from e2e.cluster.steps import ClusterError, say, step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

IMAGES = places.ROOT / "images"
NATIVE, EVERY = "native", "all"


@dataclass(frozen=True, slots=True)
class Part:
    """A file or folder of an image's build context that is not in the repository as it is."""

    key: Callable[[Architecture], str]
    make: Callable[[Architecture], Path]

    @classmethod
    def the_same_everywhere(cls, key: Callable[[], str], make: Callable[[], Path]) -> Part:
        """A part that is not for one processor, or only ever for that of this machine."""
        return cls(lambda _: key(), lambda _: make())


@dataclass(frozen=True, slots=True)
class Image:
    """An image by the name of its folder under `images/`.

    `architectures` are those it can be made for on any machine; without one, it is made for this machine's alone.
    `release` is the version of one that is not made from the tree.
    """

    name: str
    parts: tuple[tuple[str, Part], ...] = ()
    architectures: tuple[Architecture, ...] = (AMD64, ARM64)
    release: str = ""

    @property
    def tag(self) -> str:
        return f"localhost/bailiwick/{self.name}:{self.release or 'dev'}"

    @property
    def folder(self) -> Path:
        return IMAGES / self.name

    @property
    def has_root(self) -> bool:
        return (self.folder / "root.yaml").exists()


_PACKAGES = Part(operator_files.packages_key, operator_files.packages)
_PACKAGE = Part(operator_files.package_key, operator_files.package)
_GATEKEEPER = Part.the_same_everywhere(gate_files.package_key, gate_files.package)
_ENGINE = Part.the_same_everywhere(engine_files.engine_key, engine_files.engine_files)
_LLAMA = Part.the_same_everywhere(llama_files.llama_key, llama_files.llama_files)
_MODEL = Part.the_same_everywhere(model_files.model_key, model_files.model_files)
_GGUF = Part.the_same_everywhere(gguf_files.gguf_key, gguf_files.gguf_files)

ALL: dict[str, Image] = {
    image.name: image
    for image in (
        Image("operator", (("packages", _PACKAGES), ("bailiwick", _PACKAGE))),
        Image("gate", (("gatekeeper", _GATEKEEPER),)),
        Image("vllm-cpu", (("engine", _ENGINE),), architectures=(AMD64,)),
        Image("llama-cpp", (("server", _LLAMA),), architectures=()),
        Image("smollm2-135m-instruct", (("model", _MODEL),)),
        Image("smollm2-135m-instruct-gguf", (("model", _GGUF),)),
    )
}


def archive(name: str, architecture: Architecture | None = None) -> Path:
    """The archive of an image, made if the cache does not hold it. Raises ClusterError.

    It is for this machine's processor unless another is named.
    """
    image, chosen = _image(name), architecture or here()
    if chosen not in (image.architectures or (here(),)):
        known = ", ".join(each.name for each in image.architectures) or f"the machine that compiles it, {here().name}"
        raise ClusterError(f"{name} cannot be made for {chosen.name}: it is made for {known}")
    return _kept(image, chosen)


def operator_of_the_last_release() -> Path:
    """The archive of the operator's image with the program of the last release. Base and packages are of the tree."""
    program = last_release.source() / "bailiwick"
    part = Part(lambda of: operator_files.package_key(of, program), lambda of: operator_files.package(of, program))
    parts = (("packages", _PACKAGES), ("bailiwick", part))
    return _kept(Image("operator", parts, release=last_release.version()), here())


def for_every(name: str) -> Path:
    """The archive of an image for each processor it is made for, or for the only one. Raises ClusterError."""
    of = [archive(name, each) for each in processors(name, EVERY)]
    if len(of) == 1:
        return of[0]
    key = key_of(*(path.name for path in of), Path(oci_archive.__file__).read_bytes())
    tag = ALL[name].tag
    return kept("images", f"{name}-{EVERY}-{key}", lambda target: _combine(target, tag, of))


def _combine(target: Path, tag: str, of: Sequence[Path]) -> None:
    oci_archive.combine(target, name=tag, of=of)


def processors(name: str, chosen: str) -> tuple[Architecture, ...]:
    """Those that somebody chose for an image by `add_arguments`. Raises ClusterError."""
    if chosen == EVERY:
        return _image(name).architectures or (here(),)
    return (architectures.BY_NAME.get(chosen) or here(),)


def digest(name: str) -> str:
    """`sha256:…`, by which nodes know the image once they have loaded its archive. Raises ClusterError."""
    return oci_archive.digest(archive(name))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.images", description="Build the project's images.")
    add_arguments(parser)
    chosen = parser.parse_args()
    try:
        for name in named(chosen.names):
            every = chosen.architecture == EVERY
            made = for_every(name) if every else archive(name, *processors(name, chosen.architecture))
            repository = ALL[name].tag.rpartition(":")[0]
            say(f"{repository}@{oci_archive.digest(made)}  {made.stat().st_size / 1e6:.0f} MB  {made}")
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which images, for which processor."""
    parser.add_argument("names", nargs="+", metavar="NAME", choices=[*ALL, "all"], help=", ".join([*ALL, "all"]))
    parser.add_argument(
        "--architecture", choices=[*architectures.BY_NAME, NATIVE, EVERY], default=NATIVE,
        help="the processor they are for (default: this machine's); all: each that an image is made for, as one",
    )  # fmt: skip


def named(names: list[str]) -> list[str]:
    return list(ALL) if "all" in names else names


def _image(name: str) -> Image:
    if name not in ALL:
        raise ClusterError(f"there is no image {name}: expected one of {', '.join(ALL)}")
    return ALL[name]


def _kept(image: Image, architecture: Architecture) -> Path:
    family = architecture.family(f"{image.name}-{image.release}" if image.release else image.name)
    return kept("images", f"{family}-{_key(image, architecture)}", lambda target: _make(image, architecture, target))


def _key(image: Image, architecture: Architecture) -> str:
    """Everything an image is made from: its folder, its root, its parts, and how they are put together."""
    files = sorted(path for path in image.folder.rglob("*") if path.is_file())
    named = [part for path in files for part in (str(path.relative_to(image.folder)), path.read_bytes())]
    parts = [text for name, part in image.parts for text in (name, part.key(architecture))]
    root = debian_root.root_key(image.name, architecture) if image.has_root else ""
    told = [text for pair in sorted(image_labels.labels({}).items()) for text in pair]
    code = (__file__, containerfile.__file__, oci_archive.__file__, image_labels.__file__)
    return key_of(*named, root, *parts, architecture.name, *told, *(Path(path).read_bytes() for path in code))


def _make(image: Image, architecture: Architecture, target: Path) -> None:
    """Have the parts first: they tell of themselves, and a part that fails leaves nothing half-built."""
    context = {path.name: path for path in image.folder.iterdir() if path.name != "root.yaml"}
    context |= {name: part.make(architecture) for name, part in image.parts}
    root = debian_root.root_of(image.name, architecture) if image.has_root else None
    with step(f"image {image.name} for {architecture.name}"):
        _assemble(image, context, root, architecture, target)


def _assemble(
    image: Image, context: Mapping[str, Path], root: Path | None, architecture: Architecture, target: Path
) -> None:
    """Follow the Containerfile: the root is a layer, and each COPY is one."""
    recipe = containerfile.read(image.folder / "Containerfile")
    layers = [Layer(root)] if root and recipe.base else []
    for source, at in recipe.copies:
        path = context[source]
        layers.append(Layer(path, f"{at.rstrip('/')}/{path.name}" if path.is_file() and at.endswith("/") else at))
    of_release = {f"{image_labels.PREFIX}.version": image.release} if image.release else {}
    labels, created = image_labels.labels(recipe.labels | of_release), image_labels.created()
    config = replace(recipe.config, labels=labels, created=created, architecture=architecture)
    oci_archive.write(target, name=image.tag, layers=layers, config=config)


if __name__ == "__main__":
    sys.exit(main())
