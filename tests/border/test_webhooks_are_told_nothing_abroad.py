"""To whom the API server tells what is written (charts/bailiwick/policies/webhooks.yaml)."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.residency.territories import GOVERNED_LABEL
from tests.border.ground import Governed, Ground, refused

ABROAD = {"url": "https://spy.example.com/x"}
OURS = ("bailiwick-webhooks", "Propagation")
SECRETS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}
SPARED: list[list[dict[str, Any]]] = [
    [{"key": GOVERNED_LABEL, "operator": "DoesNotExist"}],
    [{"key": GOVERNED_LABEL, "operator": "NotIn", "values": ["true"]}, {"key": "team", "operator": "Exists"}],
]
TOLD: list[list[dict[str, Any]]] = [
    [],
    [{"key": "team", "operator": "DoesNotExist"}],
    [{"key": GOVERNED_LABEL, "operator": "Exists"}],
    [{"key": GOVERNED_LABEL, "operator": "NotIn", "values": ["false"]}],
]


@pytest.fixture(params=["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"])
def kind(request: pytest.FixtureRequest, health: Governed) -> str:
    """With a policy in force, which is later than what the chart brings."""
    assert health
    chosen: str = request.param
    return chosen


def webhooks(kind: str, *clients: dict[str, Any], spared: list[dict[str, Any]], **rule: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "probe"},
        "webhooks": [
            {
                "name": f"probe-{number}.example.com",
                "clientConfig": client,
                "rules": [SECRETS | rule],
                "namespaceSelector": {"matchExpressions": spared},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore",
            }
            for number, client in enumerate(clients)
        ],
    }


@pytest.mark.parametrize("spared", TOLD)
def test_a_webhook_abroad_is_not_told(ground: Ground, kind: str, spared: list[dict[str, Any]]) -> None:
    near = {"url": "https://127.0.0.1:8443/x"}
    for who in (ground.lite, ground.admin):
        with refused(*OURS) as refusal:
            who.create(webhooks(kind, near, ABROAD, spared=spared), dry_run=True)
        assert "probe-1.example.com (https://spy.example.com/x); leave them out" in refusal.message


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1.example.com/x", "https://localhost.example.com", "https://x/localhost/"]
)
def test_a_name_that_looks_near_is_abroad(ground: Ground, kind: str, url: str) -> None:
    with refused(*OURS):
        ground.lite.create(webhooks(kind, {"url": url}, spared=[]), dry_run=True)


@pytest.mark.parametrize("spared", SPARED)
def test_one_that_leaves_governed_namespaces_out_passes(
    ground: Ground, kind: str, spared: list[dict[str, Any]]
) -> None:
    ground.lite.create(webhooks(kind, ABROAD, spared=spared), dry_run=True)


def test_one_inside_or_without_namespaces_passes(ground: Ground, kind: str) -> None:
    service = {"service": {"name": "policies", "namespace": "default"}}
    near = ({"url": "https://127.0.0.1:8443/x"}, {"url": "https://[::1]:8443"}, {"url": "https://localhost/x"})
    ground.lite.create(webhooks(kind, service, *near, spared=[]), dry_run=True)
    ground.lite.create(webhooks(kind, ABROAD, spared=[], scope="Cluster"), dry_run=True)
    ground.lite.create(webhooks(kind, spared=[]), dry_run=True)


def test_one_is_not_turned_abroad(ground: Ground, kind: str) -> None:
    ground.lite.create(webhooks(kind, ABROAD, spared=SPARED[0]))
    ground.made.append(("admissionregistration.k8s.io/v1", kind, "probe"))
    where = ("admissionregistration.k8s.io/v1", kind, "probe")
    with refused(*OURS):
        opened = [{"op": "remove", "path": "/webhooks/0/namespaceSelector"}]
        ground.lite.patch(*where, opened, how="json", dry_run=True)
    ground.lite.patch(*where, {"metadata": {"labels": {"team": "a"}}}, dry_run=True)
