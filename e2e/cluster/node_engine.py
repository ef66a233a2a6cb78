"""The container engine that the nodes run in: Docker where it answers, otherwise podman with a runtime of our own."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import places
from e2e.cluster.binaries import binary
from e2e.cluster.prerequisites import FOR_PODMAN, require
from e2e.cluster.steps import ClusterError, attempt, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

WANTED_FILES = 1_048_576
WANTED_PROCESSES = 32_768  # podman 4.3 lowers its own limit to this, and without CAP_SYS_RESOURCE nobody raises it
NETWORK = "bailiwick"


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine as kind uses it: its program and the environment that both need."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path, given: str | None = None) -> str:
        """The engine's standard output. Raises ClusterError."""
        return run(self.name, *arguments, env=self.environment, given=given)

    def attempt(self, *arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return attempt(self.name, *arguments, env=self.environment, given=given)

    def inside(self, node: str, *command: str, given: str | None = None) -> str:
        """The standard output of a command in a node. Raises ClusterError."""
        interactive = ["--interactive"] if given is not None else []
        return self.run("exec", *interactive, node, *command, given=given)

    def inside_reading(self, stream: IO[bytes], node: str, *command: str) -> None:
        """A command in a node whose input is a file of ours. Raises ClusterError."""
        whole = [self.name, "exec", "--interactive", node, *command]
        done = subprocess.run(
            whole, env={**os.environ, **self.environment}, stdin=stream, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ClusterError(f"`{' '.join(whole)}` failed ({done.returncode}):\n{done.stderr.strip()}")

    def containers(self, filters: Sequence[str]) -> list[str]:
        """Names of the containers, dead ones too, that match all filters."""
        chosen = [part for one in filters for part in ("--filter", one)]
        return self.run("ps", "--all", "--format", "{{.Names}}", *chosen).split()


@cache
def docker() -> Engine | None:
    """Docker, when its daemon answers."""
    engine = Engine("docker", {"KIND_EXPERIMENTAL_DOCKER_NETWORK": NETWORK})
    try:
        answers = engine.attempt("info", "--format", "{{.ServerVersion}}").returncode == 0
    except FileNotFoundError:
        return None
    return engine if answers else None


@cache
def podman() -> Engine:
    """Podman with our runc: Debian's runtimes refuse privileged nodes on some kernels without saying why.

    `CONTAINERS_CONF` keeps our settings to ourselves. Installs podman where we may; raises ClusterError otherwise.
    """
    require(FOR_PODMAN)
    configuration = places.cache() / "containers.conf"
    files, processes = _hard(resource.RLIMIT_NOFILE), _hard(resource.RLIMIT_NPROC)
    places.write(configuration, podman_configuration(binary("runc"), files, processes))
    Path("/lib/modules").mkdir(exist_ok=True)  # kind mounts it, and a kernel without modules has none
    return Engine(
        "podman",
        {
            "CONTAINERS_CONF": str(configuration),
            "KIND_EXPERIMENTAL_PROVIDER": "podman",
            "KIND_EXPERIMENTAL_PODMAN_NETWORK": NETWORK,
        },
    )


def weigh(nodes: int) -> None:
    """Give each node as much of the processors as a session has, where podman puts all containers into one group.

    Linux shares processors between sessions and groups first, and each server that tests start has a session. All nodes
    together would get as much as one of them: kube-proxy then needs half a minute to follow a Service.
    """
    for file, weight in ((Path("cpu/libpod_parent/cpu.shares"), 1024), (Path("libpod_parent/cpu.weight"), 100)):
        with suppress(OSError):  # not this version of cgroups, another container engine, or not allowed
            (Path("/sys/fs/cgroup") / file).write_text(str(nodes * weight))


def podman_configuration(runc: Path, files: int, processes: int) -> str:
    """The text of containers.conf: with limits that the machine does not grant, no container starts ("setrlimit …")."""
    return f"""\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]

[engine]
cgroup_manager = "{"systemd" if Path("/run/systemd/system").is_dir() else "cgroupfs"}"
events_logger = "file"
runtime = "{runc}"

[network]
network_backend = "netavark"
"""


def _hard(limit: int) -> int:
    wanted = WANTED_FILES if limit == resource.RLIMIT_NOFILE else WANTED_PROCESSES
    _, hard = resource.getrlimit(limit)
    return wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
