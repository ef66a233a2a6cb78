"""Rules fire when they should and not otherwise, and ask only for metrics that exist; judged by promtool."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.cli.reference import metrics
from e2e.cluster import places
from e2e.cluster.binaries import binary
from tests.chart.helm import CHART, NAMESPACE
from tests.chart.queries import (
    DASHBOARDS,
    RULES,
    USE,
    alerts,
    known,
    metrics_in,
    panels,
    queries,
    recorded,
    selectors_in,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chart.helm import Helm

ROOT = CHART.parents[1]
CASES = ROOT / "tests/chart/alerts.yaml"
USES = ROOT / "tests/chart/use.yaml"
RUNBOOKS = ROOT / "docs/runbooks"
ALERTS = {rule["alert"]: rule for rule in alerts()}
EVERY_QUERY = [(file.stem, each) for file in DASHBOARDS for each in queries(file)]
EVERY_QUERY += [(name, rule["expr"]) for name, rule in ALERTS.items()]
EVERY_QUERY += [(rule["record"], rule["expr"]) for rule in recorded()]


def promtool(*arguments: str | Path) -> str:
    """What promtool finds wrong; empty when nothing is."""
    done = subprocess.run([binary("promtool"), *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.apiserver  # promtool is built as the servers are
@pytest.mark.parametrize("file", [RULES, USE], ids=lambda file: file.stem)
def test_the_rules_are_well_formed(file: Path) -> None:
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", file) == ""


@pytest.mark.apiserver
def test_every_alert_fires_on_the_series_that_it_is_for() -> None:
    assert promtool("test", "rules", CASES) == ""


@pytest.mark.apiserver
def test_what_models_use_is_recorded_by_the_jurisdiction_where_they_use_it() -> None:
    assert promtool("test", "rules", USES) == ""


@pytest.mark.apiserver
@pytest.mark.parametrize("at", range(len(recorded())), ids=[rule["record"] for rule in recorded()])
def test_a_rule_that_records_something_else_is_found(at: int, tmp_path: Path) -> None:
    rules = yaml.safe_load(USE.read_text())
    rules["groups"][0]["rules"][at]["expr"] = "vector(1) > 1"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    cases = yaml.safe_load(USES.read_text()) | {"rule_files": ["rules.yaml"]}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases))
    assert "FAILED" in promtool("test", "rules", tmp_path / "cases.yaml")


def test_every_recorded_series_is_told() -> None:
    assert [told.name for told in metrics.RECORDED] == list(dict.fromkeys(rule["record"] for rule in recorded()))


@pytest.mark.apiserver
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_never_fires_is_found(alert: str, tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == alert:
                rule["expr"] = "vector(1) > 1"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    cases = yaml.safe_load(CASES.read_text()) | {"rule_files": ["rules.yaml"]}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases))
    assert alert in promtool("test", "rules", tmp_path / "cases.yaml")


@pytest.mark.apiserver
def test_every_query_of_a_dashboard_is_promql(tmp_path: Path) -> None:
    records = [{"record": f"query{at}", "expr": query} for at, (_, query) in enumerate(EVERY_QUERY)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": records}]}))
    assert promtool("check", "rules", file) == ""


@pytest.mark.parametrize(("where", "query"), EVERY_QUERY)
def test_every_query_asks_for_metrics_that_exist(where: str, query: str) -> None:
    there = known()
    assert metrics_in(query)
    assert metrics_in(query) <= there.keys()
    for name, labels in selectors_in(query):
        assert labels <= there[name], name


def test_the_names_in_an_expression_are_found() -> None:
    query = 'histogram_quantile(0.9, sum by (le, x) (rate(a:b_bucket{c="d", e=~"f"}[5m] offset 1m))) > on (g) h / i * 2'
    assert metrics_in(query) == {"a:b_bucket", "h", "i"}
    assert dict(selectors_in(query)) == {"a:b_bucket": {"c", "e"}}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_shown_firing_and_silent(alert: str) -> None:
    tests = yaml.safe_load(CASES.read_text())["tests"]
    shown = {
        bool(case["exp_alerts"]) for test in tests for case in test["alert_rule_test"] if case["alertname"] == alert
    }
    assert shown == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_runbook(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{alert}.md"
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert re.findall("^#+ .*", text, re.MULTILINE) == [
        f"# {alert}", "## What it means", "## What to look at", "## What to do"
    ]  # fmt: skip
    assert f"| [{alert}]({alert}.md) | {rule['labels']['severity']} |" in (RUNBOOKS / "README.md").read_text()


def test_every_runbook_is_of_an_alert() -> None:
    assert {file.stem for file in RUNBOOKS.glob("*.md")} - {"README"} == ALERTS.keys()


@pytest.mark.parametrize("file", sorted(RUNBOOKS.glob("*.md")), ids=lambda file: file.stem)
def test_runbooks_name_metrics_values_and_pages_that_exist(file: Path) -> None:
    text = file.read_text()
    there = {told.name for told in (*metrics.operator(), *metrics.webhook())}
    assert set(re.findall(r"`(bailiwick_\w+)", text)) <= there
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (file.parent / target).exists(), target
    told = (ROOT / "docs/reference/chart.md").read_text()
    for value in re.findall(r"`((?:monitoring|networkPolicy|operator|admission)\.[\w.]+)[`:]", text):
        assert any(f"`{value[:cut]}` | object" in told for cut in range(len(value))) or f"`{value}`" in told, value


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_lays_out_its_panels_side_by_side(file: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(file):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        assert panel["description"].endswith(".")
        taken |= cells


@pytest.mark.apiserver
def test_the_chart_installs_none_of_it_unless_asked(helm: Helm) -> None:
    assert not any(each["kind"] == "PrometheusRule" for each in helm.template())
    assert not any(each["metadata"]["name"].startswith("bailiwick-dashboard-") for each in helm.template())


@pytest.mark.apiserver
def test_the_chart_installs_rules_and_dashboards_as_they_stand(helm: Helm) -> None:
    asked: dict[str, Any] = {
        "rules": {"install": True, "labels": {"release": "prometheus"}},
        "dashboards": {"install": True},
    }
    rendered = {(each["kind"], each["metadata"]["name"]): each for each in helm.template(monitoring=asked)}
    for rules in (RULES, USE):
        rule = rendered["PrometheusRule", rules.stem]
        assert rule["apiVersion"] == "monitoring.coreos.com/v1"
        assert (rule["metadata"]["labels"]["release"], rule["metadata"]["namespace"]) == ("prometheus", NAMESPACE)
        assert rule["spec"] == yaml.safe_load(rules.read_text())
    for file in DASHBOARDS:
        shown = rendered["ConfigMap", f"bailiwick-dashboard-{file.stem}"]
        assert shown["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(shown["data"][f"bailiwick-{file.name}"]) == json.loads(file.read_text())


def test_the_engine_tells_the_metrics_that_we_use() -> None:
    """By vLLM's own source, of every engine that was built here."""
    sources = sorted((places.cache() / "engine").glob("vllm-cpu-*/vllm/v1/metrics/loggers.py"))
    if not sources:
        pytest.skip("no engine was built here")
    for source in sources:
        text = source.read_text()
        assert [told.name for told in metrics.ENGINE if f'name="{told.name}"' not in text] == []


def test_the_engine_of_files_in_gguf_tells_the_metrics_that_we_use() -> None:
    """By the server itself, of every llama.cpp that was built here: its names stand in it without their prefix."""
    servers = sorted((places.cache() / "engine").glob("llama-cpp-*/usr/bin/llama-server"))
    if not servers:
        pytest.skip("no llama.cpp was built here")
    for server in servers:
        held = server.read_bytes()
        assert [told.name for told in metrics.LLAMACPP if told.name.partition(":")[2].encode() not in held] == []
