"""A root tells which Debian packages it has files of, and which these are."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from e2e.cluster import debian_packages
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9
Description: C library
 Of everybody.

Package: docs
Architecture: all
Version: 1:2.0+b1
"""


def unpacked(files: dict[str, str]) -> tarfile.TarFile:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    data.seek(0)
    return tarfile.open(fileobj=data)


@pytest.mark.parametrize("sums", ["libc6.md5sums", "libc6:amd64.md5sums"], ids=["as unpacked", "as dpkg names it"])
def test_a_package_without_a_file_in_the_root_is_not_named(tmp_path: Path, sums: str) -> None:
    debian = unpacked({
        "./var/lib/dpkg/status": STATUS,
        f"./var/lib/dpkg/info/{sums}": "aa  lib/libc.so.6\nbb  lib/libm.so.6\ncc  usr/share/doc/libc6/copyright\n",
        "./var/lib/dpkg/info/docs.md5sums": "dd  usr/share/doc/docs/copyright\n",
    })  # fmt: skip
    for path in ("usr/lib/libc.so.6", "usr/share/doc/libc6/copyright", "usr/share/doc/docs/copyright"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    packages = list(debian_packages.read(debian))
    debian_packages.write(
        tmp_path, packages, {"usr/lib/libc.so.6"}, lambda path: f"usr/{path}" if path.startswith("lib/") else path
    )
    folder = tmp_path / debian_packages.FOLDER
    assert sorted(path.name for path in folder.iterdir()) == ["libc6", "libc6.md5sums"]
    assert (folder / "libc6").read_text() == "Package: libc6\nVersion: 2.36-9\nArchitecture: amd64\nSource: glibc\n"
    assert (folder / "libc6.md5sums").read_text() == "aa  usr/lib/libc.so.6\ncc  usr/share/doc/libc6/copyright\n"


def test_packages_that_nobody_wrote_down_are_an_error() -> None:
    with pytest.raises(ClusterError, match="not written down"):
        list(debian_packages.read(unpacked({"usr/bin/true": ""})))
