"""The images' Containerfiles say what must stay true of every image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.cluster import containerfile
from e2e.cluster.images import ALL, IMAGES
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = [name for name in ALL if containerfile.read(IMAGES / name / "Containerfile").entrypoint]


@pytest.mark.parametrize("name", ALL)
def test_every_image_can_be_written_without_a_container_engine(name: str) -> None:
    recipe = containerfile.read(IMAGES / name / "Containerfile")
    given = {path.name for path in (IMAGES / name).iterdir()} | {part for part, _ in ALL[name].parts}
    assert {source for source, _ in recipe.copies} <= given


@pytest.mark.parametrize("name", RUNNING)
def test_nothing_runs_as_root(name: str) -> None:
    assert containerfile.read(IMAGES / name / "Containerfile").user == "65532:65532"


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "smollm2-135m-instruct-gguf"])
def test_a_model_image_holds_nothing_that_runs(name: str) -> None:
    recipe = containerfile.read(IMAGES / name / "Containerfile")
    assert (recipe.base, recipe.entrypoint, recipe.command) == ("", (), ())


def test_an_engine_that_someone_starts_by_hand_stays_offline_too() -> None:
    environment = containerfile.read(IMAGES / "vllm-cpu" / "Containerfile").environment
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    assert offline.items() <= environment.items()


def test_the_gate_is_stopped_by_a_signal_that_it_handles() -> None:
    assert containerfile.read(IMAGES / "gate" / "Containerfile").stop_signal == "SIGUSR1"


def test_instructions_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "Containerfile"
    path.write_text(
        "# a comment\nARG BASE\nFROM ${BASE}\nCOPY a /opt/a\nENV A=1 \\\n  B='two words'\n"
        'LABEL k="v"\nUSER 1:2\nWORKDIR /w\nSTOPSIGNAL SIGUSR1\nENTRYPOINT ["run", "-x"]\nCMD ["y"]\n'
    )
    recipe = containerfile.read(path)
    assert (recipe.base, recipe.copies, recipe.environment) == (
        "${BASE}",
        [("a", "/opt/a")],
        {"A": "1", "B": "two words"},
    )
    assert (recipe.labels, recipe.user, recipe.folder) == ({"k": "v"}, "1:2", "/w")
    assert (recipe.entrypoint, recipe.command, recipe.stop_signal) == (("run", "-x"), ("y",), "SIGUSR1")


def test_an_instruction_that_needs_a_container_engine_is_not_left_out(tmp_path: Path) -> None:
    path = tmp_path / "Containerfile"
    path.write_text("FROM scratch\nRUN true\n")
    with pytest.raises(ClusterError, match="says RUN"):
        containerfile.read(path)
