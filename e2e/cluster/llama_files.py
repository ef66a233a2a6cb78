"""The files of llama.cpp's image: its server, compiled from the sources that its Python package carries, and licences.

The server is one static program, for whatever C library the machine has that compiles it. It is compiled for x86-64-v3
(AVX2), as the other engine wants it too, and without what a model inside a border never needs: no TLS, no other
programs started, no web pages, no GPU.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from e2e.cluster import engine_files, places
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.prerequisites import FOR_LLAMA, require
from e2e.cluster.steps import ClusterError, log_file, run_logged, step

SOURCES = places.ROOT / "requirements" / "llama.txt"
BUILD_SYSTEM = places.ROOT / "requirements" / "llama-build.txt"
PROGRAM = "usr/bin/llama-server"
LICENCES = "usr/share/doc/llama.cpp"
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_EXE_LINKER_FLAGS": "-static",
    "BUILD_SHARED_LIBS": "OFF",
    # Not for this machine's processor alone, and with threads of its own.
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "GGML_CCACHE": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_SUBPROCESS": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",  # it would be downloaded
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
}


def llama_key() -> str:
    """The key of the server's files: the sources, what unpacks them, and the code below."""
    return key_of(SOURCES.read_bytes(), BUILD_SYSTEM.read_bytes(), Path(__file__).read_bytes(), platform.machine())


def llama_files() -> Path:
    """The folder that is the root of the image, made if the cache does not hold it. Raises ClusterError."""
    return kept("engine", f"llama-cpp-{llama_key()}", lambda files: _make(files, log_file("llama-files")))


def _make(files: Path, log: Path) -> None:
    require(FOR_LLAMA)
    with tempfile.TemporaryDirectory(prefix="llama-", dir=files.parent) as scratch:
        with step("llama.cpp: sources, 77 MB to download"):
            sources = _sources(Path(scratch), log)
        with step("llama.cpp: compile its server"):
            built = _compile(sources, Path(scratch) / "build", log)
        program = files / PROGRAM
        program.parent.mkdir(parents=True)
        run_logged(log, "strip", "-o", program, built)
        _keep_licences(sources, files / LICENCES)


def _sources(scratch: Path, log: Path) -> Path:
    build_system, downloaded = scratch / "build-system", scratch / "downloaded"
    engine_files.install(BUILD_SYSTEM, build_system, log, unpacked=1_000_000)
    command = (
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--require-hashes"),
        *("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", downloaded, "--requirement", SOURCES),
    )
    run_logged(log, *command, env={"PYTHONPATH": str(build_system)})
    (archive,) = downloaded.iterdir()
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    found = next(scratch.glob("*/vendor/llama.cpp"), None)
    if found is None:
        raise ClusterError(f"{archive.name} carries no vendor/llama.cpp any more; see {SOURCES}")
    return found


def _compile(sources: Path, build: Path, log: Path) -> Path:
    options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    run_logged(log, "cmake", "-S", sources, "-B", build, "-G", "Ninja", *options)
    run_logged(log, "cmake", "--build", build, "--target", "llama-server", "--parallel", str(os.cpu_count() or 1))
    return build / "bin" / "llama-server"


def _keep_licences(sources: Path, into: Path) -> None:
    into.mkdir(parents=True)
    for path in (sources / "LICENSE", sources / "AUTHORS", *sorted((sources / "licenses").iterdir())):
        shutil.copy(path, into / path.name)
