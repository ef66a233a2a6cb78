"""The image's vLLM as a process on loopback: started as the image starts it, told what a pod tells it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.cluster import containerfile, debian_root
from e2e.cluster.engine_files import engine_files
from e2e.cluster.model_files import model_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

_IMAGE = debian_root.IMAGES / "vllm-cpu" / "Containerfile"
_OF_ITS_FILES = ("PATH", "PYTHONPATH")
"""Variables of the image that say where things lie in it."""
STOPS_WITHIN = 30.0
QUICK = "--dtype=float32"
"""An argument for engines that are asked much. A processor without AVX512-BF16 works through numbers of 16 bits, which
the quickstart's model has, as if they were 32, at a third of the pace."""


@dataclass(frozen=True)
class Engine:
    """A container's processes, and what they have logged."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def runs(self) -> bool:
        return self.process.returncode is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """As a container ends: all of its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)


def command(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The image's entry point with arguments, and with variables beside the image's own."""
    recipe = containerfile.read(_IMAGE)
    interpreter, *entry = recipe.entrypoint
    assert interpreter == "python3", recipe.entrypoint
    variables = {name: value for name, value in recipe.environment.items() if name not in _OF_ITS_FILES}
    told = (f"{name}={value}" for name, value in {**variables, **environment}.items())
    return ["env", *told, *debian_root.python(debian_root.root_of("vllm-cpu"), engine_files()), *entry, *arguments]


def told(container: Mapping[str, Any], variables: Mapping[str, str], here: Mapping[str, str]) -> tuple[Any, Any]:
    """Arguments and environment of a container, where Kubernetes has put variables in.

    `here` are the places of this machine, by those of the container: addresses, ports, and paths.
    """

    def place(text: str) -> str:
        whole = re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], text)
        parts = whole.split("/")
        head = "/".join(parts[:2]) if whole.startswith("/") else whole
        return "/".join([here.get(head, head), *parts[2:]]) if whole.startswith("/") else here.get(whole, whole)

    known = {each["name"]: place(each.get("value", "")) for each in container["env"] if "valueFrom" not in each}
    downward = {
        each["name"]: here[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container["env"]
        if "valueFrom" in each
    }
    return [place(each) for each in container["args"]], known | downward


@asynccontextmanager
async def running(
    container: Mapping[str, Any], variables: Mapping[str, str], *, folder: Path, here: Mapping[str, str]
) -> AsyncIterator[Engine]:
    """A container of vLLM with the quickstart's model. `folder` is its scratch space, and holds its log."""
    places = {"/model": str(model_files()), "/tmp": str(folder), **here}  # noqa: S108 - the container's
    arguments, environment = told(container, variables, places)
    log = folder / "log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command(arguments, environment), stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield Engine(process, log)
    finally:
        # Also what it started, where it has ended without them.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.wait_for(process.wait(), STOPS_WITHIN)
