"""The page of metrics has every metric that the operator and the webhook register, with its labels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bailiwick.admission import server
from bailiwick.cli.reference import metrics as metrics_reference
from bailiwick.control import metrics

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("module", "told"), [(metrics, metrics_reference.operator), (server, metrics_reference.webhook)]
)
def test_every_metric_in_the_code_is_told(module: object, told: object) -> None:
    assert callable(told)
    source = Path(str(vars(module)["__file__"])).read_text()
    names = {each.name.removesuffix("_total") for each in told()}
    assert names == set(re.findall(r'"(bailiwick_[a-z_]+)"', source))


def test_labels_are_those_of_the_code() -> None:
    told = {each.name: each for each in metrics_reference.operator()}
    assert told["bailiwick_border_repairs_total"].labels == ("guard", "fault", "outcome")
    assert told["bailiwick_queue_wait_seconds"].labels == ("loop",)
    assert told["bailiwick_violations"].labels == ("policy", "reason")
    assert told["bailiwick_leader"].labels == ()


def test_series_are_what_queries_ask_for() -> None:
    told = {each.name: each.series for each in metrics_reference.operator()}
    assert told["bailiwick_audit_seconds"] == {f"bailiwick_audit_seconds_{each}" for each in ("bucket", "sum", "count")}
    assert told["bailiwick_events_total"] == {"bailiwick_events_total"}
