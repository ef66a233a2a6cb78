"""A dashboard of Grafana's, as the page draws it with Perses' panels: title, panels with their places and queries."""

from __future__ import annotations

from typing import Any

from e2e.dashboards import series

Raw = dict[str, Any]
_UNITS: dict[str, Raw] = {
    "s": {"unit": "seconds"}, "bytes": {"unit": "bytes"}, "Bps": {"unit": "bytes/sec"},
    "percentunit": {"unit": "percent-decimal"}, "reqps": {"unit": "requests/sec"}, "ops": {"unit": "ops/sec"},
    "short": {"unit": "decimal", "shortValues": True},
}  # fmt: skip
"""Of Perses, by those of Grafana. Others (watt, joule, watth) are plain numbers there."""
_COLOURS = {"green": "#2e7d32", "orange": "#ef6c00", "red": "#c62828"}


def dashboard(grafana: Raw, *, queries: list[list[str]], prometheus: str) -> Raw:
    """What the page fetches. ``queries`` are those of each panel, without Grafana's variables."""
    return {
        "title": grafana["title"],
        "prometheus": prometheus,
        "start": series.START * 1000,
        "end": series.END * 1000,
        "panels": [_panel(panel, asked) for panel, asked in zip(grafana["panels"], queries, strict=True)],
    }


def _panel(panel: Raw, asked: list[str]) -> Raw:
    display = {"name": panel["title"], "description": panel["description"]}
    kind, spec = {"stat": _stat, "timeseries": _lines, "table": _table}[panel["type"]](panel)
    return {
        "id": panel["id"],
        "place": panel["gridPos"],
        "definition": {"kind": "Panel", "spec": {"display": display, "plugin": {"kind": kind, "spec": spec}}},
        "queries": [
            {
                "kind": "PrometheusTimeSeriesQuery",
                "spec": {"query": query, "seriesNameFormat": target.get("legendFormat", "")},
            }
            for query, target in zip(asked, panel["targets"], strict=True)
        ],
    }


def _format(panel: Raw) -> Raw:
    return _UNITS.get(panel["fieldConfig"]["defaults"]["unit"], {"unit": "decimal", "shortValues": True})


def _stat(panel: Raw) -> tuple[str, Raw]:
    mappings = [
        {
            "kind": "Value",
            "spec": {"value": value, "result": {"value": shown["text"], "color": _COLOURS[shown["color"]]}},
        }
        for mapping in panel["fieldConfig"]["defaults"].get("mappings", ())
        for value, shown in mapping["options"].items()
    ]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    thresholds = {
        "defaultColor": _COLOURS[steps[0]["color"]],
        "steps": [{"value": each["value"], "color": _COLOURS[each["color"]]} for each in steps[1:]],
    }
    return "StatChart", {
        "calculation": "last-number",
        "format": _format(panel),
        "mappings": mappings,
        "thresholds": thresholds,
    }


def _lines(panel: Raw) -> tuple[str, Raw]:
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    stacked = "stacking" in custom
    return "TimeSeriesChart", {
        "legend": {"position": "bottom", "mode": "list", "size": "small"},
        "yAxis": {"format": _format(panel), **{key: defaults[key] for key in ("min", "max") if key in defaults}},
        "visual": {
            "display": "bar" if custom.get("drawStyle") == "bars" else "line",
            "lineWidth": custom["lineWidth"],
            "areaOpacity": custom["fillOpacity"] / 100,
            **({"stack": "all"} if stacked else {}),
        },
    }


def _table(panel: Raw) -> tuple[str, Raw]:
    """Columns as Grafana names them; the value of query A is the first here."""
    organized = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    order = sorted(organized["renameByName"], key=lambda name: organized["indexByName"][name])
    columns = [
        {"name": name.replace("Value #", "value #"), "header": organized["renameByName"][name]} for name in order
    ]
    for column in columns:
        base, _, query = column["name"].partition(" #")
        column["name"] = f"{base} #{ord(query) - ord('A') + 1}" if query else base
    shown = {column["name"] for column in columns}
    settings: list[Raw] = [*columns, {"name": "timestamp", "hide": True}]
    for column in settings:
        if column["name"].startswith("value"):
            column["format"] = {"unit": "decimal", "shortValues": True}
    assert len(shown) == len(columns)
    return "Table", {
        "density": "compact",
        "columnSettings": settings,
        "transforms": [{"kind": "MergeSeries", "spec": {}}],
    }
