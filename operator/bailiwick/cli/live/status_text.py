"""The tables of `bailiwick status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.api.resource import ConditionStatus
from bailiwick.cli.tables import Cell, Tone
from bailiwick.control.policy_status import GOOD_FOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from bailiwick.api.resource import Count
    from bailiwick.cli.live.overview import ModelRow, Overview, PolicyRow
    from bailiwick.cli.tables import Style

_TONES = {"True": Tone.GOOD, "False": Tone.BAD, "Unknown": Tone.DOUBTFUL}
_MOST_NODES = 4
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def lines(told: Overview, style: Style, now: datetime, namespace: str | None, *, brief: bool = False) -> Iterator[str]:
    """All of it; when brief, one line for each finding. ``namespace`` is that of the models, None for all."""
    yield from _findings(told, style, brief=brief)
    for each in told.unseen:
        yield from style.paragraph(f"not seen: {each}", indent=0)
    if told.policies:
        yield ""
        yield style.paint("POLICIES", Tone.HEADING)
        yield from style.table(
            ("NAME", "MODE", "READY", "ENFORCED", "COMPLIANT", "NAMESPACES", "PODS", "OUTSIDE", "PROVED"),
            [_policy(each, now) for each in told.policies],
        )
        yield ""
        yield style.paint("NODES", Tone.HEADING)
        yield from style.table(("POLICY", "INSIDE", "OUTSIDE"), [_nodes(each) for each in told.policies])
    if told.models:
        yield ""
        yield style.paint("MODELS", Tone.HEADING)
        yield from style.table(
            ("NAMESPACE", "NAME", "READY", "REASON", "REPLICAS", "WHERE", "NODES", "RUNS ON", "POLICIES"),
            [_model(each) for each in told.models],
        )
    elif not told.unseen:
        yield ""
        yield f"No models in namespace {namespace}; -A shows those of all." if namespace else "No models."


def _findings(told: Overview, style: Style, *, brief: bool) -> Iterator[str]:
    if told.findings:
        count = len(told.findings)
        yield style.paint(f"NOT AS IT SHOULD BE ({count})", Tone.HEADING)
    elif not told.unseen:
        yield (
            style.paint("All is as it should be.", Tone.GOOD)
            if told.policies
            else ("There is no ResidencyPolicy, so no namespace is governed.")
        )
    for each in told.findings:
        tone = Tone.BAD if each.status is ConditionStatus.FALSE else Tone.DOUBTFUL
        head = f"{each.kind} {each.name}: {each.condition} is {each.status.value}: {each.reason}"
        yield style.paint(head, tone)
        if each.message and not brief:
            yield from style.paragraph(each.message, indent=4)


def _policy(row: PolicyRow, now: datetime) -> list[Cell | str]:
    conditions = [_condition(row.conditions.get(each, "Unknown")) for each in ("Ready", "Enforced", "Compliant")]
    outside = Cell(str(row.violations), Tone.BAD if row.violations else Tone.PLAIN)
    age = now - row.last_proof if row.last_proof else None
    proved = Cell(f"{_span(age.total_seconds())} ago", Tone.DOUBTFUL if age > GOOD_FOR else Tone.PLAIN) if age else "-"
    return [row.name, row.mode, *conditions, str(row.namespaces), str(row.pods), outside, proved]


def _nodes(row: PolicyRow) -> list[Cell | str]:
    if row.inside is None:
        inside = Cell("not known: no Territory", Tone.DOUBTFUL)
    elif not row.inside:
        inside = Cell("none", Tone.BAD)
    else:
        inside = Cell("; ".join(f"{place} {_listed(nodes, len(nodes))}" for place, nodes in row.inside.items()))
    return [row.name, inside, "; ".join(map(_outside, row.outside)) or "none"]


def _outside(count: Count) -> str:
    return f"{count.reason} {_listed(count.examples, count.count)}"


def _listed(names: tuple[str, ...], count: int) -> str:
    """``3 (a, b, c)``; of many only some by name."""
    some = ", ".join(names[:_MOST_NODES])
    return f"{count} ({some}{', ...' if count > len(names[:_MOST_NODES]) else ''})"


def _model(row: ModelRow) -> list[Cell | str]:
    full = row.ready_replicas >= row.replicas
    replicas = Cell(f"{row.ready_replicas}/{row.replicas}", Tone.PLAIN if full else Tone.DOUBTFUL)
    return [
        row.namespace, row.name, _condition(row.ready), row.reason, replicas, ", ".join(row.jurisdictions) or "-",
        str(row.eligible), row.runs_on or "-", ", ".join(row.policies) or "-",
    ]  # fmt: skip


def _condition(status: str) -> Cell:
    return Cell(status, _TONES.get(status, Tone.PLAIN))


def _span(seconds: float) -> str:
    """``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for unit, size in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
