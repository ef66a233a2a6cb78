"""Every panel of a dashboard has something to show: asked of a real Prometheus that holds recorded series.

``make dashboards`` draws the same as pictures.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from e2e.dashboards import perses, recorded
from tests.chart.queries import DASHBOARDS, of_panel, panels, queries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERY = sorted({(file.stem, query) for file in DASHBOARDS for query in queries(file)})


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    with recorded.prometheus() as url:
        yield url


@pytest.mark.apiserver  # Prometheus is built as the servers are
def test_every_query_finds_figures_in_recorded_series(prometheus: str) -> None:
    """One test for all: hundreds of queries take seconds, and Prometheus many more to start."""
    empty = [
        f"{where}: {query}"
        for where, query in EVERY
        if not any(
            math.isfinite(float(value)) for each in recorded.ask(prometheus, query) for _, value in each["values"]
        )
    ]
    assert empty == []


@pytest.mark.apiserver
def test_what_nobody_records_is_not_found(prometheus: str) -> None:
    assert recorded.ask(prometheus, "bailiwick_leader") != []
    assert recorded.ask(prometheus, "bailiwick_laeder") == []


@pytest.mark.apiserver
def test_a_model_that_nobody_measures_has_tokens_and_no_energy(prometheus: str) -> None:
    of_notes = '{model="notes",jurisdiction="unknown"}'
    assert recorded.ask(prometheus, f"model_jurisdiction:bailiwick_generation_tokens:rate5m{of_notes}") != []
    assert recorded.ask(prometheus, f"model_jurisdiction:bailiwick_joules_per_token:rate5m{of_notes}") == []


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_panel_can_be_drawn(file: Path) -> None:
    asked = [of_panel(panel) for panel in panels(file)]
    drawn = perses.dashboard(json.loads(file.read_text()), queries=asked, prometheus="http://127.0.0.1")
    assert [each["definition"]["spec"]["display"]["name"] for each in drawn["panels"]] == [
        panel["title"] for panel in panels(file)
    ]
    assert [[each["spec"]["query"] for each in panel["queries"]] for panel in drawn["panels"]] == asked


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_no_two_panels_of_a_dashboard_have_one_title(file: Path) -> None:
    titles = [panel["title"] for panel in panels(file)]
    assert sorted(set(titles)) == sorted(titles)
