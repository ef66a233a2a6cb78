"""Root file systems with a handful of programs from Debian, and nothing else: no package manager, no spare tools.

`images/<name>/root.yaml` names packages, the files that are wanted of them, and links. mmdebstrap unpacks the packages
with all they depend on (where it is not at hand and Docker is, apt-get does so in a published Debian image); of that we
take the wanted files, the libraries they are linked against, and every copyright file, and tell in the root which
packages that were (`debian_packages.py`). Unpacking runs none of their programs, so a root can be made for a foreign
processor; only its byte code is made by the Python of a root for this machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import yaml

from e2e.cluster import builder, debian_packages, elf, places
from e2e.cluster.architectures import Architecture, here
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.node_root import SUITE, sources
from e2e.cluster.prerequisites import FOR_ROOTS, require
from e2e.cluster.steps import ClusterError, log_file, run_logged, step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

IMAGES = places.ROOT / "images"
FILES_OF_EVERY_ROOT = IMAGES / "base" / "files"
MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr, as Debian has had them since its release 12
COPYRIGHT = "usr/share/doc/*/copyright"
COMPILER = "operator"  # the image whose root has a whole Python, which compiles for all


@dataclass(frozen=True, slots=True)
class RootDescription:
    """A `root.yaml`: which packages, which files of them (patterns whose `*` also matches `/`), which links."""

    packages: tuple[str, ...]
    files: tuple[str, ...]
    without: tuple[str, ...]
    links: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, image: str) -> RootDescription:
        path = IMAGES / image / "root.yaml"
        told = yaml.safe_load(path.read_text())
        unknown = set(told) - {"packages", "files", "without", "links"}
        if unknown:
            raise ClusterError(f"{path} says {sorted(unknown)}; expected packages, files, without, links")
        return cls(
            packages=tuple(told["packages"]),
            files=tuple(told["files"]),
            without=tuple(told.get("without", ())),
            links=tuple(told.get("links", {}).items()),
        )

    def wants(self, path: str) -> bool:
        if any(fnmatchcase(path, pattern) for pattern in self.without):
            return False
        return any(fnmatchcase(path, pattern) for pattern in (*self.files, COPYRIGHT))


def root_key(image: str, architecture: Architecture | None = None) -> str:
    """The key of an image's root: its description, files of every root, the processor, and the code that makes it."""
    extra = sorted(path for path in FILES_OF_EVERY_ROOT.rglob("*") if path.is_file())
    code = (Path(module).read_bytes() for module in (__file__, elf.__file__, debian_packages.__file__))
    for_what = (architecture or here()).name
    return key_of(repr(RootDescription.of(image)), for_what, *(path.read_bytes() for path in extra), *code)


def root_of(image: str, architecture: Architecture | None = None) -> Path:
    """The folder with an image's root file system, made if the cache does not hold it. Raises ClusterError.

    It is for this machine's processor unless another is named.
    """
    chosen = architecture or here()

    def make(target: Path) -> None:
        with step(f"root file system of {image} for {chosen.name}, from Debian packages"):
            _make(image, chosen, target)

    return kept("image-roots", f"{chosen.family(image)}-{root_key(image, chosen)}", make)


def program(root: Path, path: str) -> list[str]:
    """The command of a root's own program. The root's own loader runs it, so it works here, whoever we are."""
    machine = next((root / "usr/lib").glob("*-linux-gnu"))
    return [str(next(machine.glob("ld-linux*"))), "--library-path", str(machine), str(root / path)]


def python(root: Path, *packages: Path) -> list[str]:
    """The command of a root's own Python, with folders of packages."""
    path = ":".join(map(str, packages))
    home = ("env", f"PYTHONHOME={root / 'usr'}", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1")
    return [*home, *program(root, "usr/bin/python3.11"), "-s"]


def precompile(root: Path, folder: Path, *, inside: str, log: Path) -> None:
    """Write the byte code of a folder that will be at `inside` in the image; it holds whatever the files' times are.

    A read-only root cannot keep byte code, and an engine that compiles itself at every start needs 47 s instead of 16.
    """
    compiler = ("-m", "compileall", "-q", "-j2", "--invalidation-mode", "unchecked-hash")
    # Exit status 1 means that some file is not Python 3.11, as test data and templates of packages are not.
    with log.open("a") as out:
        command = [*python(root), *compiler, "-s", str(folder), "-p", inside, str(folder)]
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code not in {0, 1} or not any(folder.rglob("*.pyc")):
        raise ClusterError(f"compiling the Python files of {folder} failed ({code}): see {log}")


def require_libraries(root: Path, folder: Path, *, optional: Collection[str] = ()) -> None:
    """Raise ClusterError when a file of a folder is linked against a library that neither it nor the root holds.

    Trying it out is no proof: on this machine the loader finds the missing library in /usr/lib.
    """
    held = {path.name for tree in (root, folder) for path in tree.rglob("*.so*")}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".pyc"}:
            with elf.mapped(path) as data:
                missing = set(elf.needed(data)) - held - set(optional)
            if missing:
                raise ClusterError(
                    f"{path.relative_to(folder)} is linked against {', '.join(sorted(missing))}; the image lacks it. "
                    f"Name the library in the image's root.yaml."
                )


def _make(image: str, architecture: Architecture, target: Path) -> None:
    description, log = RootDescription.of(image), log_file(f"root-{image}-{architecture.name}")
    debian = target.with_suffix(".debian.tar")
    _unpack(description.packages, architecture, debian, log)
    with tarfile.open(debian) as unpacked:
        taken = _Slice(unpacked, description).write(target)
        packages = list(debian_packages.read(unpacked))
    for name, to in description.links:
        (target / name).symlink_to(to)
    shutil.copytree(FILES_OF_EVERY_ROOT, target, dirs_exist_ok=True)
    _write_certificates(target)
    debian_packages.write(target, packages, {path for path in taken if not fnmatchcase(path, COPYRIGHT)}, _merged)
    (target / "tmp").mkdir()
    (target / "tmp").chmod(0o1777)
    if (target / "usr/lib/python3.11").exists():
        # A Python that runs here and is whole: that of the gate has no compiler among its few modules.
        compiler = target if (image, architecture) == (COMPILER, here()) else root_of(COMPILER)
        precompile(compiler, target / "usr/lib/python3.11", inside="/usr/lib/python3.11", log=log)


def _unpack(packages: Sequence[str], architecture: Architecture, into: Path, log: Path) -> None:
    """A tar of the packages and of everything they depend on."""
    if shutil.which("mmdebstrap") is None and builder.answers():
        tag = f"localhost/bailiwick/packages:{key_of(architecture.name, *packages)}"
        platform = f"linux/{architecture.name}"
        builder.build(IMAGES / "base", tag, {"PACKAGES": " ".join(packages)}, platform, log)
        builder.export(tag, into, platform, log)
        return
    require(FOR_ROOTS)
    what = (f"--architectures={architecture.name}", f"--include={','.join(packages)}")
    hook = f"--extract-hook={debian_packages.HOOK}"
    run_logged(log, "mmdebstrap", "--variant=extract", *what, hook, SUITE, into, *sources())


class _Slice:
    """The part of a Debian file system that a description wants, under the names of a merged /usr."""

    def __init__(self, debian: tarfile.TarFile, description: RootDescription) -> None:
        self._debian = debian
        self._description = description
        self._members = {_merged(member.name): member for member in debian if not member.isdir()}
        libraries = sorted(path for path in self._members if fnmatchcase(path, "usr/lib*/*.so*"))
        # The shallowest of equal names: usr/lib/<machine>/libm.so.6, never a plug-in's copy below it.
        self._libraries = {PurePosixPath(path).name: path for path in sorted(libraries, key=_depth, reverse=True)}

    def write(self, root: Path) -> set[str]:
        """Write it, and return the paths of its files."""
        for name in MERGED:
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        closure = self._closure()
        for path in sorted(closure):
            self._extract(path, root)
        return closure

    def _closure(self) -> set[str]:
        """The wanted files, what their links lead to, and the libraries that any of them is linked against."""
        unmatched = [
            pattern
            for pattern in self._description.files
            if not any(fnmatchcase(path, pattern) for path in self._members)
        ]
        if unmatched:
            raise ClusterError(f"the packages {self._description.packages} hold no file like {unmatched}")
        waiting = [path for path in self._members if self._description.wants(path)]
        found: set[str] = set()
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += self._follows(path)
        return found

    def _follows(self, path: str) -> Iterable[str]:
        member = self._members[path]
        if member.issym():
            to = _joined(path, member.linkname)
            # Links to folders and to files of packages that are not there lead nowhere; so they do in Debian.
            return [to] if to in self._members else []
        if member.islnk():
            return [_merged(member.linkname)]
        return [self._library(name, path) for name in elf.needed(self._read(path))]

    def _library(self, name: str, wanted_by: str) -> str:
        if name not in self._libraries:
            raise ClusterError(f"{wanted_by} is linked against {name}, which no unpacked package holds")
        return self._libraries[name]

    def _read(self, path: str) -> bytes:
        file = self._debian.extractfile(self._members[path])
        return file.read() if file else b""

    def _extract(self, path: str, root: Path) -> None:
        member, target = self._members[path], root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            target.symlink_to(member.linkname)
            return
        target.write_bytes(self._read(path))
        # No set-user-id bits: nobody becomes root here.
        target.chmod(0o755 if member.mode & 0o111 else 0o644)


def _write_certificates(root: Path) -> None:
    """One file of all certificates, where OpenSSL looks for it. The package would make it when it is configured."""
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    if certificates:
        bundle.parent.mkdir(parents=True)
        bundle.write_bytes(b"".join(path.read_bytes() for path in certificates))
        shutil.rmtree(root / "usr/share/ca-certificates")


def _merged(name: str) -> str:
    path = os.path.normpath(name).lstrip("/")
    return f"usr/{path}" if path.split("/", 1)[0] in MERGED and "/" in path else path


def _joined(path: str, link: str) -> str:
    """Where a symbolic link leads, as a merged path without a leading slash."""
    return _merged(os.path.normpath(PurePosixPath("/" + path).parent / link))


def _depth(path: str) -> tuple[int, str]:
    return path.count("/"), path
