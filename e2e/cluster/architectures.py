"""The processors that images are made for, by each of their names."""

from __future__ import annotations

import os
from dataclasses import dataclass

from e2e.cluster.steps import ClusterError


@dataclass(frozen=True, slots=True)
class Architecture:
    """`name` as OCI and Debian call it, `machine` as Linux and Python's wheels do."""

    name: str
    machine: str

    @property
    def wheels(self) -> str:
        """What uv calls it with the C library of Debian 12."""
        return f"{self.machine}-manylinux_2_36"

    def family(self, name: str) -> str:
        """What a thing of that name for this processor is kept as, before its key."""
        return name if self == here() else f"{name}-{self.name}"


AMD64 = Architecture("amd64", "x86_64")
ARM64 = Architecture("arm64", "aarch64")
BY_NAME = {each.name: each for each in (AMD64, ARM64)}


def here() -> Architecture:
    """This machine's. Raises ClusterError."""
    machine = os.uname().machine
    for each in BY_NAME.values():
        if each.machine == machine:
            return each
    known = ", ".join(each.machine for each in BY_NAME.values())
    raise ClusterError(f"images are made for and on {known}; this machine is {machine}")
