"""The files of the operator's image: the pinned packages without what it never imports, and the package itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from e2e.cluster import debian_root, engine_files, places
from e2e.cluster.architectures import Architecture, here
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.steps import log_file, run_logged, step

REQUIREMENTS = places.ROOT / "requirements" / "operator.txt"
PACKAGE = places.ROOT / "operator" / "bailiwick"
INSIDE_PACKAGES, INSIDE_PACKAGE = "/opt/packages", "/opt/bailiwick/bailiwick"
# The typed models and clients of every Kubernetes resource, 70 MB of source. We read and write plain documents, and the
# packages around them load a model only when someone names it. What is left must still import (see `package`).
TYPED = ("client/api", "client/models", "aio/client/api", "aio/client/models")
IMPORT_ALL = """
import importlib, pkgutil, bailiwick
for module in pkgutil.walk_packages(bailiwick.__path__, "bailiwick."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def packages_key(architecture: Architecture) -> str:
    code = (Path(module).read_bytes() for module in (__file__, engine_files.__file__))
    return key_of(REQUIREMENTS.read_bytes(), debian_root.root_key("operator", architecture), *code)


def packages(architecture: Architecture) -> Path:
    """The folder that the image has at /opt/packages. Raises ClusterError."""
    name = f"{architecture.family('packages')}-{packages_key(architecture)}"
    return kept("operator", name, lambda target: _make_packages(target, architecture))


def package_key(architecture: Architecture, source: Path = PACKAGE) -> str:
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc")
    named = [part for path in files for part in (str(path.relative_to(source)), path.read_bytes())]
    return key_of(*named, packages_key(architecture))


def package(architecture: Architecture, source: Path = PACKAGE) -> Path:
    """The folder that the image has at /opt/bailiwick/bailiwick; each of its modules can be imported there.

    Raises ClusterError when one cannot, for instance because it wants something that `packages` leaves out. For a
    foreign processor nothing is imported: nothing for it runs here.
    """
    family = architecture.family("bailiwick" if source == PACKAGE else "bailiwick-of-a-release")
    name = f"{family}-{package_key(architecture, source)}"
    return kept("operator", name, lambda target: _make_package(target, architecture, source))


def _make_packages(target: Path, architecture: Architecture) -> None:
    log = log_file("operator-packages")
    with step(f"operator: pinned packages for {architecture.name}"):
        engine_files.install(REQUIREMENTS, target, log, unpacked=110_000_000, architecture=architecture)
        shutil.rmtree(target / "bin", ignore_errors=True)  # programs of packages, for developers
        for folder in TYPED:
            for module in (target / "kubernetes" / folder).glob("*.py"):
                if module.name != "__init__.py":
                    module.unlink()
        debian_root.precompile(debian_root.root_of("operator"), target, inside=INSIDE_PACKAGES, log=log)
        debian_root.require_libraries(debian_root.root_of("operator", architecture), target)


def _make_package(target: Path, architecture: Architecture, source: Path) -> None:
    log, root = log_file("operator-package"), debian_root.root_of("operator")
    # In a folder of its own, so that it can be imported under its name.
    importable = target.with_suffix(".importable")
    copy = importable / "bailiwick"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    debian_root.precompile(root, copy, inside=INSIDE_PACKAGE, log=log)
    if architecture == here():
        run_logged(log, *debian_root.python(root, importable, packages(architecture)), "-c", IMPORT_ALL)
    copy.rename(target)
