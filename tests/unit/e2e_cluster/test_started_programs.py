"""Programs that the harness starts beside itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from e2e.cluster.steps import started

if TYPE_CHECKING:
    from pathlib import Path


def test_no_ctrl_c_of_ours_reaches_a_started_program(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = started(log, sys.executable, "-c", "import os; print(os.getpgrp() == os.getpid())")
    assert process.wait(30) == 0
    assert log.read_text() == "True\n"


def test_a_started_program_is_called_and_placed_as_told_and_has_our_variables_and_more(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = started(
        log, "/bin/sh", "-c", "echo $0 $MORE ${PATH:+found}; pwd", env={"MORE": "more"}, folder=tmp_path, name="plain"
    )
    assert process.wait(30) == 0
    assert log.read_text().splitlines() == ["plain more found", str(tmp_path)]
