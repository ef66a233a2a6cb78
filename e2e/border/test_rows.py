"""Every way around, tried on the real cluster: stopped by what should stop it, for the reason it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.border.rows import rows
from e2e.border.stage import Stage, Story
from e2e.border.stories import stories

if TYPE_CHECKING:
    from e2e.border.attempts import Row
    from e2e.border.table import Table
    from e2e.demo.install import Installed

pytestmark = pytest.mark.usefixtures("fortress")


@pytest.mark.parametrize("row", rows(), ids=str)
def test_row(row: Row, installed: Installed, table: Table) -> None:
    stage = Stage(row.number, row.title, installed, table)
    stage.refused(*row.attempts)
    stage.passes(*row.controls)


@pytest.mark.parametrize("story", stories(), ids=str)
def test_story(story: Story, installed: Installed, table: Table) -> None:
    story.play(Stage(story.number, story.title, installed, table))
