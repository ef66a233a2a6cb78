"""Every way around that one request decides, tried on the real cluster: refused by the right policy, for the reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.border.rows import Row, rows
from e2e.demo import scenes

if TYPE_CHECKING:
    from e2e.border.table import Table
    from e2e.kubectl import Kubectl


@pytest.mark.usefixtures("fortress")
@pytest.mark.parametrize("row", rows(), ids=str)
def test_row(row: Row, kubectl: Kubectl, table: Table) -> None:
    for tried in row.attempts:
        begin = time.monotonic()
        answer = scenes.attempt(kubectl, tried)
        took = time.monotonic() - begin
        assert scenes.is_held(tried, answer), f"{tried.name}: {answer.text}"
        table.add(row, tried, took)
    for tried in row.controls:
        answer = scenes.attempt(kubectl, tried)
        assert answer.accepted, f"the control, {tried.name}: {answer.text}"
