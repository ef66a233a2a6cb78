"""The gate's root file system holds three programs and what they are linked against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.cluster.debian_root import program, python, require_libraries
from e2e.cluster.gate_files import package
from e2e.cluster.steps import ClusterError, run

if TYPE_CHECKING:
    from pathlib import Path

PROBE = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("gatekeeper", sys.argv[1] + "/__init__.py")
sys.modules["gatekeeper"] = importlib.util.module_from_spec(spec)
os.environ |= {"GATE_API_KEYS": "/nowhere", "GATE_RUN": "/tmp/gate-that-does-not-start"}
sys.stderr = sys.stdout
from gatekeeper.keeper import main
assert main() == 1
"""


def test_three_programs_and_no_tools(root: Path) -> None:
    programs = {path.name for folder in ("usr/bin", "usr/sbin") for path in (root / folder).iterdir()}
    assert programs == {"bash", "haproxy", "python3.11"}


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


def test_the_gatekeeper_needs_nothing_but_the_images_files(root: Path) -> None:
    """It ends with its own sentence, not with a module that is missing."""
    command = [*python(root, package().parent), "-c", PROBE, str(package())]
    assert "does not start: the Secret with API keys is missing" in run(*command)


def test_the_gate_has_no_module_that_talks_to_others(root: Path) -> None:
    library = {path.name for path in (root / "usr/lib/python3.11").iterdir()}
    assert not {"http", "ssl.py", "ctypes", "asyncio", "xmlrpc", "ftplib.py", "smtplib.py"} & library
