"""The operator's image, made twice from nothing, in other folders and by somebody with other habits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.cluster.places import ROOT

PARTS = ("charts", "e2e", "images", "operator", "requirements", "samples")
HABITS = (
    {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1", "umask": "077"},
    {"TZ": "America/Lima", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "umask": "022"},
)


def build(folder: Path, number: int) -> tuple[str, bytes]:
    """The digest that is told, and the archive. The second copy's files are a day older."""
    repository, cache = folder / ("elsewhere" if number else "") / "repository", folder / f"cache-{number}"
    for part in PARTS:
        shutil.copytree(ROOT / part, repository / part, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    for path in repository.rglob("*") if number else ():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 86_400))
    habits = dict(HABITS[number])
    command = f"umask {habits.pop('umask')}; exec {sys.executable} -m e2e.cluster.images operator"
    told = {
        "BAILIWICK_CACHE": str(cache),
        "PYTHONPATH": "operator:.",
        "SOURCE_DATE_EPOCH": "1700000000",
        "REVISION": "r",
    }
    done = subprocess.run(
        ["sh", "-c", command], cwd=repository, env={**os.environ, **told, **habits}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"operator@(sha256:[0-9a-f]{64}) .* (/\S+)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return found[1], Path(found[2]).read_bytes()


def test_the_same_files_make_the_same_image_wherever_and_whenever(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda number: build(tmp_path, number), range(2))
    assert one[0] == two[0]
    assert one[1] == two[1]
