"""One release lies in the tree, and it is the one before this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

import bailiwick
from e2e.cluster import last_release
from e2e.cluster.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAILIWICK_CACHE", str(tmp_path))


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_it_is_older_than_the_tree_and_the_changelog_tells_of_it() -> None:
    """Whoever releases keeps the new wheel, and begins the next version."""
    assert number(last_release.version()) < number(bailiwick.__version__)
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0] == "## Unreleased"
    assert headings[1].startswith(f"## {last_release.version()} - ")


def test_chart_and_program_of_the_tree_have_one_version() -> None:
    chart = yaml.safe_load((ROOT / "charts/bailiwick/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == bailiwick.__version__


def test_it_holds_program_and_chart_of_its_version() -> None:
    chart = yaml.safe_load((last_release.chart() / "Chart.yaml").read_text())
    assert chart["version"] == last_release.version()
    assert f'__version__ = "{last_release.version()}"' in (last_release.source() / "bailiwick/__init__.py").read_text()
