"""Of the rows that are tried on the real cluster (e2e/border), offline finds each that a manifest shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.preview.judging import Border, measure
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy
from bailiwick.residency.territories import compile_territory
from e2e.border.attempts import CREATE, Row
from e2e.border.rows import rows
from e2e.client import documents
from e2e.demo.attacks import INSIDE, Attempt
from tests.border.ground import EXEMPT
from tests.border.offline import guards
from tests.unit.residency.given import NOW

if TYPE_CHECKING:
    from bailiwick.preview.judging import Finding

GROUND = Path(__file__).parents[2] / "e2e/border/ground.yaml"
UNSEEN = {
    ("Ingress", "ClassNotAllowed"): "which IngressClass is the cluster's default",
    ("Namespace", "ProtectedLabel"): "the rights of whoever applies it",
    ("Pod", "OperatorOnly"): "the rights of whoever applies it",
}
"""What hangs on the cluster, by kind and reason: offline it is said to be not judged, and why."""


@pytest.fixture(scope="module")
def fortress() -> Border:
    """The policy of the rows, with one node inside."""
    (raw,) = (each for each in documents(GROUND) if each["kind"] == "ResidencyPolicy")
    policy = compile_policy(ResidencyPolicy.read(raw), Atlas())
    made = compile_territory(policy, (), NOW).manifest
    spec = {**made["spec"], "nodes": {INSIDE: "DE"}}
    return Border(
        guards=guards(), measures=(measure(policy, {**made, "spec": spec}, nodes_known=True),),
        namespaces={policy.name: {"data": policy.name}, "default": {}}, exempt=EXEMPT,
    )  # fmt: skip


def applied(attempts: tuple[Attempt, ...]) -> list[dict[str, Any]]:
    return [dict(each.manifest) for each in attempts if each.command == CREATE and each.manifest]


def found(border: Border, manifest: dict[str, Any]) -> list[Finding]:
    return list(border.judge(manifest))


@pytest.mark.parametrize("row", rows(), ids=str)
def test_what_the_cluster_refuses_is_found(fortress: Border, row: Row) -> None:
    for attempt in row.attempts:
        if attempt.command != CREATE or not attempt.manifest or not attempt.stopped_by.startswith("bailiwick-"):
            continue  # a connection, a change, or refused by the API server itself
        told = [each for each in found(fortress, dict(attempt.manifest)) if each.guard == attempt.stopped_by]
        said = {each.message.partition(":")[0] for each in told if not each.doubt}
        if attempt.reason not in said:
            unseen = UNSEEN[str(attempt.manifest["kind"]), attempt.reason]
            assert any(each.doubt and each.message.startswith(unseen) for each in told), attempt


@pytest.mark.parametrize("row", rows(), ids=str)
def test_its_compliant_variant_is_not(fortress: Border, row: Row) -> None:
    for manifest in applied(row.controls):
        assert not [each for each in found(fortress, manifest) if not each.doubt]


def test_most_rows_are_seen_offline() -> None:
    judged = [
        attempt for row in rows() for attempt in row.attempts
        if attempt.command == CREATE and attempt.stopped_by.startswith("bailiwick-")
    ]  # fmt: skip
    assert len(judged) > 35
