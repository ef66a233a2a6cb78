"""The webhook's certificate: the first one, its renewal, and what readiness waits for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.client import eventually
from tests.apiserver.realm import Realm, fresh
from tests.apiserver.webhook import Webhook, policy, standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver

SECONDS = 60
"""Life of a certificate. After forty the next one is made, and both replicas must serve that before this one ends."""


@pytest.fixture
def webhook(cleared: Realm, helm: Helm) -> Iterator[Webhook]:
    """One that nobody installed yet."""
    webhook = Webhook(cleared, helm)
    yield webhook
    webhook.clear()


def test_two_that_start_at_once_over_an_empty_secret_end_with_one_certificate(webhook: Webhook) -> None:
    webhook.grant()
    webhook.make_secret()
    webhook.configure()
    assert webhook.kept() == {}
    pair = [webhook.start(), webhook.start()]
    webhook.answers()
    (trusted,) = webhook.trusted()
    assert [each.served() for each in pair] == [trusted, trusted]
    assert set(webhook.kept()) == {"tls.crt", "tls.key"}


def test_it_is_ready_when_it_knows_everything_and_the_api_server_trusts_it(webhook: Webhook) -> None:
    replica = webhook.start()
    lacking = eventually(replica.missing, what="it answers")
    assert "certificate" in lacking
    assert {"residencypolicies", "nodes", "namespaces"} <= set(lacking), "it may read nothing yet"
    webhook.make_secret()
    webhook.grant()
    eventually(lambda: replica.missing() == ["certificate"], what="the stores are full")
    eventually(webhook.kept, what="it made a certificate")
    assert replica.missing() == ["certificate"], "nobody could trust it without a configuration"
    webhook.configure()
    webhook.answers()
    assert replica.served() in webhook.trusted()


def test_no_good_request_is_refused_while_the_certificate_changes(cleared: Realm, helm: Helm) -> None:
    with standing(cleared, helm, BAILIWICK_CERTIFICATE_SECONDS=str(SECONDS)) as webhook:
        first, asked, most = webhook.replicas[0].served(), 0, 0
        deadline = time.monotonic() + 2 * SECONDS
        while webhook.replicas[0].served() == first or webhook.replicas[1].served() == first:
            webhook.client.create(policy("DE", name=fresh("law")), dry_run=True)
            asked, most = asked + 1, max(most, len(webhook.trusted()))
            time.sleep(0.05)
            assert time.monotonic() < deadline, "it was not renewed"
        for _ in range(20):
            webhook.client.create(policy("DE", name=fresh("law")), dry_run=True)
        assert asked
        assert most == 2, "old and new were trusted together"
