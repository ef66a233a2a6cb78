"""The reasons by which our code can say that an object is not ready, read from the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[3] / "operator/bailiwick"
_NOT_READY = (
    # Why single nodes are not eligible is counted, and whether somebody scales is a condition of its own.
    *(path for path in sorted((SOURCE / "workload").rglob("*.py")) if path.stem not in {"eligibility", "scaled"}),
    *sorted((SOURCE / "weights").rglob("*.py")),
    *(SOURCE / "control" / f"{name}.py" for name in ("policy_status", "waiver_status", "canary")),
    # The audit's reasons are of Compliant, and the probes' of what others answer.
    *(path for path in sorted((SOURCE / "residency").rglob("*.py")) if path.stem not in {"audit", "probes", "verdict"}),
)
_NAMED_FIRST = {"Trouble", "WeightsError"}
_TABLES = {"_WAITING", "_CAUSES"}
_WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][A-Za-z]*)?")
_APART = {"Autoscaled", "Compliant"}
"""Conditions that Ready does not summarise."""
_NO_FAILURES = {"Proved", "NotProved", "Waived"}
_OF_OTHERS = {"FailedCreate", "FailedDelete", "ProgressDeadlineExceeded"}
"""What the Deployment's controller says, which is passed on."""


def reasons() -> frozenset[str]:
    """Every reason that can stand in a Ready that is False, but what containers and other controllers make up."""
    nodes = (node for path in _NOT_READY for node in ast.walk(ast.parse(path.read_text())))
    return frozenset(reason for node in nodes for reason in _in(node)) - _NO_FAILURES | _OF_OTHERS


def _in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="Reason"), attr=name):
            if Reason[name] is not Reason.ALLOWED:
                yield Reason[name].value
        case ast.Call(func=ast.Name(id="false"), args=[ast.Constant(value=kind), ast.Constant(value=str(reason)), *_]):
            if kind not in _APART:
                yield reason
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(reason)), *_]) if name in _NAMED_FIRST:
            yield reason
        case ast.Call(func=ast.Name(id="Proof"), keywords=keywords):
            yield from (word for each in keywords if each.arg == "reason" for word in _words(each.value))
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys, values=values)) if name in _TABLES:
            for key, value in zip(keys, values, strict=True):
                yield from _words(value.elts[0] if isinstance(value, ast.Tuple) else key)
        case ast.Assign(targets=[ast.Name(id="reason") | ast.Tuple()], value=value) if _names_a_reason(node):
            yield from _words(value)


def _names_a_reason(node: ast.Assign) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "reason" for each in ast.walk(node.targets[0]))


def _words(node: ast.AST | None) -> Iterator[str]:
    for each in ast.walk(node) if node else ():
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and _WORD.fullmatch(each.value):
            yield each.value
