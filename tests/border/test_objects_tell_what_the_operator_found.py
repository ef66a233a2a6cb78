"""Only the operator writes what it found (charts/bailiwick/policies/objects.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.api.resource import API_VERSION
from tests.border.ground import Ground, refused

if TYPE_CHECKING:
    from e2e.client import Client

CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "territories.bailiwick.dev")
OBJECTS = "bailiwick-objects"
POLICY = "objects-probe"


@pytest.fixture(params=["lite", "admin"])
def who(request: pytest.FixtureRequest, ground: Ground) -> Client:
    client: Client = getattr(ground, request.param)
    return client


def test_nobody_else_says_that_a_policy_is_enforced(ground: Ground, who: Client) -> None:
    if not ground.admin.find(API_VERSION, "ResidencyPolicy", POLICY):
        spec = {"namespaceSelector": {"matchLabels": {"data": "none"}}, "place": {"allow": ["DE"]}}
        ground.admin.create(
            {"apiVersion": API_VERSION, "kind": "ResidencyPolicy", "metadata": {"name": POLICY}, "spec": spec}
        )
        ground.made.append((API_VERSION, "ResidencyPolicy", POLICY))
    status = {"status": {"observedGeneration": 1, "enforcedSince": "2026-01-01T00:00:00Z"}}
    with refused(OBJECTS, "OperatorOnly"):
        who.patch(API_VERSION, "ResidencyPolicy", POLICY, status, subresource="status", how="merge", dry_run=True)
    ground.operator.patch(
        API_VERSION, "ResidencyPolicy", POLICY, status, subresource="status", how="merge", dry_run=True
    )
    who.patch(API_VERSION, "ResidencyPolicy", POLICY, {"spec": {"mode": "Warn"}}, how="merge", dry_run=True)


def test_no_list_is_dropped_from_the_kind_of_territories(ground: Ground) -> None:
    """What the schema does not know is pruned, and a question that is not there is not asked."""
    version = ground.admin.get(*CRD)["spec"]["versions"][0]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["access"]
    dropped = {"spec": {"versions": [version]}}
    with refused("bailiwick-territories", "OperatorOnly"):
        ground.lite.patch(*CRD, dropped, how="merge", dry_run=True)
    ground.lite.patch(*CRD, {"metadata": {"labels": {"team": "a"}}}, how="merge", dry_run=True)
    ground.admin.patch(*CRD, dropped, how="merge", dry_run=True)  # an upgrade of Bailiwick
