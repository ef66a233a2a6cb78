"""What the harness needs of the machine: installed where we may, otherwise named in one clear line."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.steps import ClusterError, attempt, locked, log_file, run_logged, step

if TYPE_CHECKING:
    from collections.abc import Iterable

APT_LISTS = Path("/var/lib/apt/lists")


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """A program or a file of a Debian package, and what we want it for. An absolute path is a file."""

    sign: str
    package: str
    why: str

    def is_there(self) -> bool:
        return Path(self.sign).exists() if self.sign.startswith("/") else shutil.which(self.sign) is not None


FOR_RUNC = (
    Prerequisite("gcc", "gcc", "runc is compiled with C"),
    Prerequisite("pkg-config", "pkg-config", "runc's build finds libseccomp with it"),
    Prerequisite("/usr/include/seccomp.h", "libseccomp-dev", "runc filters system calls"),
    Prerequisite("/usr/include/stdlib.h", "libc6-dev", "runc is compiled with C"),
)
FOR_LLAMA = (
    Prerequisite("g++", "g++", "llama.cpp is compiled with C++"),
    Prerequisite("cmake", "cmake", "llama.cpp's build"),
    Prerequisite("ninja", "ninja-build", "llama.cpp's build"),
    Prerequisite("strip", "binutils", "the program without its symbols"),
)
FOR_ROOTS = (Prerequisite("mmdebstrap", "mmdebstrap", "images are made from Debian packages"),)
FOR_CAPTURES = (Prerequisite("tcpdump", "tcpdump", "what pods send is looked at"),)
FOR_PAGES = (
    Prerequisite("npm", "npm", "the page that draws dashboards is built of packages from npm"),
    Prerequisite("chromium", "chromium", "the page is looked at"),
)
FOR_PODMAN = (
    Prerequisite("podman", "podman", "a node is a container"),
    Prerequisite("/usr/lib/podman/netavark", "netavark", "the nodes' network"),
    Prerequisite("/usr/lib/podman/aardvark-dns", "aardvark-dns", "nodes find one another by name"),
    Prerequisite("iptables", "iptables", "the nodes' network"),
)


def require(prerequisites: Iterable[Prerequisite]) -> None:
    """Have the packages, installed where we are root on Debian; else a ClusterError names package and command."""
    missing = [need for need in prerequisites if not need.is_there()]
    if not missing:
        return
    packages = sorted({need.package for need in missing})
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        need = missing[0]
        raise ClusterError(
            f"{need.sign} is missing ({need.why}); this process may not install it. "
            f"Run `sudo {' '.join(command)}` on Debian or Ubuntu, or install the same from your distribution."
        )
    with locked("apt"), step(f"installing Debian packages {', '.join(packages)}"):
        _install(command)
    absent = [need for need in missing if not need.is_there()]
    if absent:
        names = ", ".join(f"{need.sign} of {need.package}" for need in absent)
        raise ClusterError(f"{names} is still missing after `{' '.join(command)}`; its log is {log_file('apt')}")


def _install(command: list[str]) -> None:
    log, env = log_file("apt"), {"DEBIAN_FRONTEND": "noninteractive"}
    if any(APT_LISTS.glob("*_Packages*")) and attempt(*command, env=env).returncode == 0:
        return
    run_logged(log, "apt-get", "update", env=env)  # no lists, or lists so old that a package is gone
    run_logged(log, *command, env=env)
