"""The border without an API server: the chart's own policies, measured by a Territory as the tests draw it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bailiwick.preview.guards import read_guards
from bailiwick.preview.judging import Border, measure
from e2e.client import documents
from tests.border.ground import EXEMPT, Governed, policy, territory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.preview.guards import Guard
    from bailiwick.preview.judging import Finding

POLICIES = Path(__file__).parents[2] / "charts/bailiwick/policies"


@cache
def guards() -> tuple[Guard, ...]:
    return read_guards(each for file in sorted(POLICIES.glob("*.yaml")) for each in documents(file))


def border(governed: Governed, *, nodes_known: bool = True, pins: bool = True, **spec: Any) -> Border:
    """One policy in force on the namespace, as `Ground.govern` puts it."""
    asked = {question: spec[question] for question in ("network", "storage", "access") if question in spec}
    measured = measure(policy(governed, "Enforce", **asked), territory(governed, **spec), nodes_known=nodes_known)
    return Border(
        guards=guards(), measures=(measured,), namespaces={governed.namespace: {governed.policy: "here"}},
        exempt=EXEMPT, pins=pins,
    )  # fmt: skip


def refusals(found: Iterable[Finding], by: str = "bailiwick-pods") -> list[str]:
    """The reasons for which a guard refuses, in its order."""
    return [each.message.partition(":")[0] for each in found if each.guard == by and not each.doubt]
