"""What the operator may not do now, it does as soon as it may: an API server that starts forbids for a moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.client import eventually
from tests.apiserver.operator_process import SERVICE_ACCOUNTS, OperatorProcess
from tests.apiserver.worlds import Rights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.apiserver.realm import Realm

pytestmark = pytest.mark.apiserver

REST_SECONDS = 5.0
"""By then no event of what was made before comes, and nothing changes any more."""
SOON_SECONDS = 20.0
"""Sooner than the operator looks at everything again."""
FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"


@pytest.fixture
def realm(granted: Realm) -> Iterator[Realm]:
    process = OperatorProcess(granted.server, "forbidden", SERVICE_ACCOUNTS)
    try:
        process.until_leading()
        yield granted
        granted.clear()
    finally:
        process.stop()


def test_a_model_whose_children_were_forbidden_is_served_once_they_are_allowed(realm: Realm) -> None:
    realm.node(FRANKFURT)
    policy = realm.policy("DE")
    policy.in_force()
    team = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(team), what="the namespace is marked")
    rights = Rights(realm, "bailiwick-operator")
    rights.without("apps", {"create", "patch"})
    try:
        realm.model(team)
        eventually(lambda: "403 Forbidden" in str(realm.status(team, "chat")), what="the status says why")
        time.sleep(REST_SECONDS)
        assert "Deployment" not in realm.children(team)
    finally:
        rights.back()
    eventually(lambda: "Deployment" in realm.children(team), what="it is allowed", seconds=SOON_SECONDS)
    realm.served(team)
