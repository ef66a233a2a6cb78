"""PromQL of rules and dashboards, and the names of metrics in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.cli.reference import metrics
from tests.chart.helm import CHART

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = CHART / "rules/bailiwick.yaml"
USE = CHART / "rules/bailiwick-use.yaml"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
VARIABLES = {"$__rate_interval": "5m", "$__range": "6h"}
"""What Grafana puts in the place of its own variables."""
_OURS = re.compile(r"\$\w+")
"""Variables of a dashboard. They stand in strings, and match everything unless somebody chooses."""

_TEXT = re.compile(r"\"[^\"]*\"")
_SELECTOR = re.compile(r"\{[^}]*\}")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_NAME = re.compile(r"(?<![\w:.])([A-Za-z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "sum", "max", "min", "count", "group", "topk", "bool"}


def alerts() -> list[dict[str, Any]]:
    """The rules of the plain file of alerts."""
    return _rules(RULES)


def recorded() -> list[dict[str, Any]]:
    """The rules that record what models use."""
    return _rules(USE)


def _rules(file: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard."""
    found: list[dict[str, Any]] = json.loads(dashboard.read_text())["panels"]
    return found


def queries(dashboard: Path) -> Iterator[str]:
    """The expressions of a dashboard's panels and variables, as Prometheus gets them."""
    for panel in panels(dashboard):
        yield from of_panel(panel)
    for variable in json.loads(dashboard.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield _filled(variable["definition"].removeprefix("label_values(").rpartition(",")[0])


def of_panel(panel: dict[str, Any]) -> list[str]:
    """The expressions of one panel, as Prometheus gets them."""
    return [_filled(target["expr"]) for target in panel["targets"]]


def _filled(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return _OURS.sub(".*", expression)


def metrics_in(expression: str) -> frozenset[str]:
    """The names of the metrics that an expression asks for."""
    for aside in (_TEXT, _SELECTOR, _GROUPING, _RANGE):
        expression = aside.sub(" ", expression)
    return frozenset(_NAME.findall(expression)) - _WORDS


def selectors_in(expression: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Each metric with the labels that it is asked for by."""
    for name, selector in re.findall(r"([A-Za-z_:][\w:]*)\{([^}]*)\}", expression):
        yield name, frozenset(re.findall(r"(\w+)\s*[=!]", _TEXT.sub('""', selector)))


def known() -> dict[str, frozenset[str]]:
    """Every series that there is, with its labels and those that Prometheus adds."""
    every = (
        *metrics.operator(), *metrics.webhook(),
        *metrics.engine(), *metrics.LLAMACPP, *metrics.GATE, *metrics.EXPORTERS, *metrics.RECORDED,
    )  # fmt: skip
    return {series: frozenset({*told.labels, "namespace", "pod", "le"}) for told in every for series in told.series}
