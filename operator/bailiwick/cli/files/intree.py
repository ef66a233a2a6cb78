"""What a chart brings to judge by: its in-tree policies, and the jurisdictions that it ships."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.cel.syntax import GrammarError
from bailiwick.cli.files.located import documents
from bailiwick.cli.files.manifests import UnusableError, parsed, read
from bailiwick.preview.guards import read_guards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.cli.files.chart import Chart
    from bailiwick.preview.guards import Guard


@dataclass(frozen=True, slots=True)
class InTree:
    """``jurisdictions`` are by name, as manifests and as they are read."""

    guards: tuple[Guard, ...]
    jurisdictions: Mapping[str, Jurisdiction]
    raw_jurisdictions: tuple[dict[str, Any], ...]


def in_tree(chart: Chart) -> InTree:
    """All of it. Raises UnusableError for a chart that this release cannot read."""
    guards: list[Any] = []
    jurisdictions: dict[str, Jurisdiction] = {}
    raw_jurisdictions: list[dict[str, Any]] = []
    for name, text in chart.files.items():
        folder, _, below = name.partition("/")
        if not below or not name.endswith(".yaml"):
            continue
        if folder == "policies":
            guards += (each.raw for each in documents(text, f"{chart.path}: {name}"))
        elif folder == "jurisdictions":
            for raw in parsed(text, f"{chart.path}: {name}"):
                shipped = read(Jurisdiction, raw, f"{chart.path}: {name}")
                jurisdictions[shipped.name] = shipped
                raw_jurisdictions.append(raw)
    try:
        return InTree(read_guards(guards), jurisdictions, tuple(raw_jurisdictions))
    except (GrammarError, KeyError, TypeError) as error:
        raise UnusableError(f"{chart.path} has in-tree policies that this release cannot read: {error}") from None
