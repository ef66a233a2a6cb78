"""`bailiwick weights` takes what pods give it, and an import by it ends as the operator expects it."""

from __future__ import annotations

import argparse
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.cli.offline import weights
from bailiwick.weights import fetching
from bailiwick.weights.remote import Bucket, Hub
from bailiwick.weights.transfer import Progress
from tests.unit.workload.golden import GOLDEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def given() -> Iterator[list[str]]:
    """The arguments of every container of the golden files that runs the command."""
    for file in sorted(GOLDEN.glob("*.output.yaml")):
        for made in yaml.safe_load_all(file.read_text()):
            pod = made["spec"].get("template", {}).get("spec", {}) if "spec" in made else {}
            for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
                if container.get("args", [""])[0] == "weights":
                    yield container["args"][1:]


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    weights.add_arguments(parser)
    return parser.parse_args(arguments)


def test_every_argument_that_pods_are_given_is_taken() -> None:
    actions = [(arguments[0], parsed(arguments)) for arguments in given()]
    assert {action for action, _ in actions} == {"verify", "compare", "import"}
    assert {told.share for action, told in actions if action == "import"} == set(range(10, 101, 10))
    assert any(told.keys for action, told in actions if action == "verify")
    assert any(told.roots for action, told in actions if action == "verify")


class _Imports:
    """Stands for the import, and remembers what it was made of."""

    made: list[Any]

    def __init__(self, remote: Any, root: Path, name: str, **_: Any) -> None:
        type(self).made = [remote, root, name]

    async def run(self, share: int) -> Progress:
        return Progress(bytes=share, of=1000, seconds=2.0, fetched=300, complete=False)


HUB = ["--endpoint=https://hub.example", "--repository=a/b", f"--revision={'0' * 40}", "--credentials", "."]
BUCKET = ["--endpoint=https://storage.example", "--bucket=models", "--prefix=tiny", "--region=eu", "--credentials", "."]


@pytest.mark.parametrize("where", [HUB, BUCKET], ids=["hub", "bucket"])
def test_an_import_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: list[str]) -> None:
    monkeypatch.setattr(fetching, "Import", _Imports)
    monkeypatch.chdir(tmp_path)
    for name in ("token", "accessKeyId", "secretAccessKey"):
        (tmp_path / name).write_text(f"{name}-1\n")
    told = tmp_path / "progress"
    arguments = parsed(["import", *where, "--into=/import", "--name=x", "--share=40", f"--progress={told}"])
    assert weights.main(arguments) == 0
    assert json.loads(told.read_text()) == {"bytes": 40, "of": 1000, "bytesPerSecond": 150}
    remote, root, name = _Imports.made
    assert (str(root), name) == ("/import", "x")
    if isinstance(remote, Hub):
        assert (remote.repository, remote.token) == ("a/b", "token-1")
    else:
        assert isinstance(remote, Bucket)
        assert (remote.bucket, remote.prefix, remote.region) == ("models", "tiny", "eu")
        assert (remote.access_key, remote.secret_key) == ("accessKeyId-1", "secretAccessKey-1")
        assert "secretAccessKey-1" not in repr(remote)


def test_a_secret_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights.main(parsed(["import", *BUCKET, "--into=.", "--name=x"])) == 1
    assert capsys.readouterr().err.startswith("CredentialsMissing: the Secret that the source names is not there")


def test_a_folder_is_verified_by_the_parsed_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    assert weights.main(parsed(["verify", f"--digest=sha256:{'0' * 64}", str(tmp_path)])) == 1
    assert capsys.readouterr().err.startswith("DigestDiffers: ")
