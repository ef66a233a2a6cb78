"""The small images themselves, for both processors: what they hold, and that their bills name that and nothing else."""

from __future__ import annotations

import hashlib
import re
import struct
import tarfile
from typing import TYPE_CHECKING

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import bailiwick
from e2e.cluster import debian_packages, debian_root, images, operator_files, sbom
from e2e.cluster.architectures import AMD64, ARM64, Architecture
from e2e.cluster.image_contents import ImageContents
from e2e.cluster.image_labels import PREFIX
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

ELF_MACHINES = {AMD64: 62, ARM64: 183}  # System V ABI, e_machine
# What a root has of no package's sums: settings that users may change, our own few files, and what we make of others.
ROOTS_OWN = (
    r"etc/(passwd|group|nsswitch\.conf|os-release|python3\.11/.*|ssl/certs/ca-certificates\.crt)"
    rf"|{debian_packages.FOLDER}/.*|usr/share/doc/[^/]+/copyright|.*\.pyc"
)


@pytest.fixture(scope="module", params=["operator", "gate"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[AMD64, ARM64], ids=lambda each: each.name)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    assert isinstance(request.param, Architecture)
    return request.param


@pytest.fixture(scope="module")
def contents(name: str, architecture: Architecture) -> ImageContents:
    return ImageContents.of(images.archive(name, architecture))


@pytest.fixture(scope="module")
def bill(name: str, contents: ImageContents) -> list[tuple[str, str, str]]:
    """Type of package, name and version of every component."""
    found = sbom.document(name, contents)["components"]
    return [(each.get("purl", "own").partition("/")[0], each["name"], each["version"]) for each in found]


def test_an_image_says_which_processor_it_is_for(contents: ImageContents, architecture: Architecture) -> None:
    assert (contents.config["os"], contents.config["architecture"]) == ("linux", architecture.name)


def test_whatever_runs_in_it_is_for_that_processor(name: str, architecture: Architecture) -> None:
    root = debian_root.root_of(name, architecture)
    trees = [root, operator_files.packages(architecture)] if name == "operator" else [root]
    machines = {
        _machine(path) for tree in trees for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
    }
    assert machines - {None} == {ELF_MACHINES[architecture]}


def _machine(path: Path) -> int | None:
    with path.open("rb") as file:
        head = file.read(20)
    return struct.unpack_from("<H", head, 18)[0] if head.startswith(b"\x7fELF") else None


def test_no_python_in_it_compiles_itself_when_it_starts(contents: ImageContents) -> None:
    """A root that is read-only would make it do so at every start."""
    sources = {path for path in contents.layers if path.endswith(".py") and not path.startswith("etc/")}
    assert sources
    compiled = {re.sub(r"([^/]+)\.py$", r"__pycache__/\1.cpython-311.pyc", path) for path in sources}
    assert compiled - contents.layers.keys() == set()


def test_it_is_labelled(contents: ImageContents) -> None:
    labels = {label.removeprefix(f"{PREFIX}."): value for label, value in contents.labels.items()}
    assert labels.keys() >= {"title", "description", "version", "licenses"}
    assert labels["version"] == bailiwick.__version__


def test_its_bill_is_valid(name: str, contents: ImageContents) -> None:
    bom = sbom.document(name, contents)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.text(bom)) is None


def test_every_pinned_package_is_in_the_bill_and_no_other(name: str, bill: list[tuple[str, str, str]]) -> None:
    pinned = re.findall(r"^(\S+)==([^ ;]+)", operator_files.REQUIREMENTS.read_text(), re.MULTILINE)
    expected = set(pinned) if name == "operator" else set()
    assert {(re.sub("[-_.]+", "-", known).lower(), version) for kind, known, version in bill if kind == "pkg:pypi"} == {
        (re.sub("[-_.]+", "-", known).lower(), version) for known, version in expected
    }


def test_every_file_of_the_root_is_of_a_package_in_the_bill(
    name: str, architecture: Architecture, contents: ImageContents, bill: list[tuple[str, str, str]]
) -> None:
    """By the sums of Debian itself: each file is what its package says, and each package has one here."""
    known = {package for kind, package, _ in bill if kind == "pkg:deb"}
    sums: dict[str, str] = {}
    for path, text in contents.like(f"{debian_packages.FOLDER}/*.md5sums"):
        assert path.rpartition("/")[2].removesuffix(".md5sums") in known
        listed = {file: md5 for md5, file in (line.split("  ", 1) for line in text.splitlines())}
        assert [file for file in listed if not file.endswith("/copyright")], f"{path} has nothing here"
        sums |= listed
    root = debian_root.root_of(name, architecture)
    strangers = [
        path
        for path, layer in contents.layers.items()
        if layer == 0
        and not re.fullmatch(ROOTS_OWN, path)
        and sums.get(path) != hashlib.md5((root / path).read_bytes(), usedforsecurity=False).hexdigest()
    ]
    assert strangers == []


def test_what_belongs_to_nobody_is_ours(name: str, contents: ImageContents) -> None:
    ours = {"operator": r"opt/bailiwick/bailiwick/.*", "gate": r"opt/gate/.*|etc/haproxy/.*|usr/local/bin/wait.*"}
    files = sbom.own_files(contents)
    assert files
    assert [path for path in files if not re.fullmatch(ours[name], path)] == []


def test_nothing_in_it_has_a_date_or_an_owner(name: str, architecture: Architecture) -> None:
    with tarfile.open(images.archive(name, architecture)) as archive:
        for blob in archive:
            file = archive.extractfile(blob)
            if file is None or blob.size < tarfile.RECORDSIZE:
                continue
            with tarfile.open(fileobj=file) as layer:
                assert {(each.mtime, each.uid, each.gid, each.uname, each.gname) for each in layer} == {
                    (0, 0, 0, "", "")
                }


def test_an_engine_is_not_made_for_a_processor_that_it_does_not_run_on() -> None:
    with pytest.raises(ClusterError, match="vllm-cpu cannot be made for arm64: it is made for amd64"):
        images.archive("vllm-cpu", ARM64)
