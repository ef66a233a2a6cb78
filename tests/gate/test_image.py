"""The gate's root file system holds two programs and what they are linked against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.cluster.debian_root import program, require_libraries
from e2e.cluster.steps import ClusterError, run

if TYPE_CHECKING:
    from pathlib import Path


def test_two_programs_and_no_tools(root: Path) -> None:
    programs = {path.name for folder in ("usr/bin", "usr/sbin") for path in (root / folder).iterdir()}
    assert programs == {"bash", "haproxy"}


def test_nobody_can_become_another_user(root: Path) -> None:
    assert [path for path in root.rglob("*") if path.lstat().st_mode & 0o6000 and not path.is_symlink()] == []


def test_every_program_finds_its_libraries_in_the_image(root: Path) -> None:
    require_libraries(root, root)


def test_a_missing_library_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "haproxy").write_bytes((root / "usr/sbin/haproxy").read_bytes())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ClusterError, match=r"haproxy is linked against .*libcrypto.so.3"):
        require_libraries(empty, tmp_path)


def test_the_gate_tells_its_version_from_the_images_files_alone(root: Path) -> None:
    assert "HAProxy version" in run(*program(root, "usr/sbin/haproxy"), "-v")
