"""Volumes and Services that lead out of a territory."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.residency.datapaths import judge_service, judge_volume
from bailiwick.residency.verdict import Reason
from tests.unit.residency.given import policy

INSIDE = {"n1": {"zone": "fra", "slots": "4"}, "n2": {"zone": "ber"}}
CLASSES: dict[str, Any] = {"storage": {"classes": ["inside"]}}


@pytest.mark.parametrize(
    ("kind", "spec", "reason"),
    [
        ("LoadBalancer", {}, Reason.ALLOWED),
        ("ClusterIP", {"network": {}}, Reason.ALLOWED),
        ("LoadBalancer", {"network": {}}, Reason.SERVICE_NOT_ALLOWED),
        ("NodePort", {"network": {"services": ["ClusterIP", "NodePort"]}}, Reason.ALLOWED),
    ],
)
def test_services(kind: str, spec: Any, reason: Reason) -> None:
    assert judge_service(policy(**spec), {"spec": {"type": kind}}).reason == reason


def volume(given: str = "inside", *terms: Any) -> Any:
    affinity = {"nodeAffinity": {"required": {"nodeSelectorTerms": list(terms)}}} if terms else {}
    return {"metadata": {"name": "v"}, "spec": {"storageClassName": given, **affinity}}


def where(key: str, operator: str, *values: str) -> Any:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def named(node: str) -> Any:
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (volume(), Reason.ALLOWED),
        (volume("abroad"), Reason.CLASS_NOT_ALLOWED),
        (volume(""), Reason.CLASS_NOT_ALLOWED),
        (volume("inside", where("zone", "In", "fra")), Reason.ALLOWED),
        (volume("inside", where("zone", "In", "iad")), Reason.CLAIM_NOT_ALLOWED),
        (volume("inside", where("zone", "In", "iad"), where("zone", "In", "ber")), Reason.ALLOWED),
        (volume("inside", where("zone", "NotIn", "fra", "ber")), Reason.CLAIM_NOT_ALLOWED),
        (volume("inside", where("zone", "DoesNotExist")), Reason.CLAIM_NOT_ALLOWED),
        (volume("inside", where("slots", "Gt", "3")), Reason.ALLOWED),
        (volume("inside", where("slots", "Lt", "3")), Reason.CLAIM_NOT_ALLOWED),
        (volume("inside", where("zone", "Gt", "3")), Reason.CLAIM_NOT_ALLOWED),
        (volume("inside", {}), Reason.CLAIM_NOT_ALLOWED),
        (volume("inside", named("n2")), Reason.ALLOWED),
        (volume("inside", named("x")), Reason.CLAIM_NOT_ALLOWED),
    ],
)  # fmt: skip
def test_volumes(raw: Any, reason: Reason) -> None:
    assert judge_volume(policy(**CLASSES), raw, INSIDE).reason == reason


def test_classes_are_not_asked_without_a_storage_part() -> None:
    assert judge_volume(policy(), volume("abroad"), INSIDE).allowed
