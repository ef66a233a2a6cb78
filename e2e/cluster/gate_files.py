"""The gatekeeper as the gate's image has it."""

from __future__ import annotations

import shutil
from pathlib import Path

from e2e.cluster import debian_root, places
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.steps import log_file, run_logged, step

PACKAGE = places.ROOT / "operator" / "gatekeeper"
INSIDE = "/opt/gate/gatekeeper"


def package_key() -> str:
    files = sorted(PACKAGE.glob("*.py"))
    named = [part for path in files for part in (path.name, path.read_bytes())]
    return key_of(*named, debian_root.root_key("gate"), Path(__file__).read_bytes())


def package() -> Path:
    """The folder that the image has at `INSIDE`.

    Raises ClusterError when it cannot be imported there, for instance because it wants something that the root lacks.
    """
    return kept("gate", f"gatekeeper-{package_key()}", _make)


def _make(target: Path) -> None:
    importable, log = target.with_suffix(".importable"), log_file("gatekeeper")
    copy = importable / "gatekeeper"
    with step("gate: the gatekeeper"):
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        debian_root.precompile(debian_root.root_of(debian_root.COMPILER), copy, inside=INSIDE, log=log)
        command = debian_root.python(debian_root.root_of("gate"), importable)
        run_logged(log, *command, "-c", "import gatekeeper.keeper")
    copy.rename(target)
