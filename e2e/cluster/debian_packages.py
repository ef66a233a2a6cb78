"""Which Debian packages an image has files of, told inside it: `/var/lib/dpkg/status.d`, as scanners look for it.

There is a file per package with its name, version and source, and one with the sums of those of its files that the
image holds. Nothing reads them there: they are for who asks what an image is made of (`sbom.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

STATUS, SUMS = "var/lib/dpkg/status", "var/lib/dpkg/info"
FOLDER = "var/lib/dpkg/status.d"
FIELDS = ("Package", "Version", "Architecture", "Source", "Maintainer", "Homepage", "Section")
# mmdebstrap unpacks without writing down what; the packages themselves tell it while they are there.
HOOK = r"""
set -eu
mkdir -p "$1/var/lib/dpkg/info"
for deb in "$1"/var/cache/apt/archives/*.deb; do
  { dpkg-deb --field "$deb"; echo; } >> "$1/var/lib/dpkg/status"
  dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./md5sums > "$1/var/lib/dpkg/info/$(dpkg-deb --field "$deb" Package).md5sums"
done
"""


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """An unpacked package: what its control file says, and the MD5 sums of its files by path."""

    fields: dict[str, str]
    sums: dict[str, str]

    @property
    def name(self) -> str:
        return self.fields["Package"]


def read(debian: tarfile.TarFile) -> Iterator[DebianPackage]:
    """The packages of a file system, as dpkg or `HOOK` wrote them down. Raises ClusterError when nothing did."""
    members = {member.name.removeprefix("./"): member for member in debian if member.isfile()}

    def text(path: str) -> str:
        file = debian.extractfile(members[path]) if path in members else None
        return file.read().decode() if file else ""

    for stanza in filter(str.strip, text(STATUS).split("\n\n")):
        fields = control(stanza)
        name, machine = fields["Package"], fields["Architecture"]
        listed = text(f"{SUMS}/{name}.md5sums") or text(f"{SUMS}/{name}:{machine}.md5sums")
        lines = (line.split(maxsplit=1) for line in listed.splitlines())
        yield DebianPackage(fields, {path: md5 for md5, path in lines})
    if STATUS not in members:
        raise ClusterError(f"the unpacked packages are not written down in {STATUS}")


def control(stanza: str) -> dict[str, str]:
    """The fields of a control file that take one line."""
    return dict(re.findall(r"^([A-Za-z-]+): (.+)$", stanza, re.MULTILINE))


def write(root: Path, packages: Collection[DebianPackage], taken: Collection[str], place: Callable[[str], str]) -> None:
    """Tell in a root which packages it has files of.

    `taken` are the files that came from packages, without those that tell of a package only; `place` says where a
    package's path is in the root.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True)
    for package in packages:
        sums = {place(path): md5 for path, md5 in package.sums.items()}
        if not sums.keys() & taken:
            continue
        fields = [f"{field}: {package.fields[field]}\n" for field in FIELDS if field in package.fields]
        (folder / package.name).write_text("".join(fields))
        here = (f"{md5}  {path}\n" for path, md5 in sorted(sums.items()) if (root / path).is_file())
        (folder / f"{package.name}.md5sums").write_text("".join(here))
