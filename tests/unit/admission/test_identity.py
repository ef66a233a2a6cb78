"""The certificate: who makes the first, when the next one is served, and what the API server trusts meanwhile."""

from __future__ import annotations

import asyncio
import base64
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from bailiwick.admission.identity import CONFIGURATIONS, Certificates, Pair
from bailiwick.cluster.errors import ApiError, Conflict, NotFound, Transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.cluster.resources import Resource

START = datetime(2026, 11, 1, tzinfo=UTC)
LIFETIME = timedelta(days=90)
SETTLE = timedelta(seconds=60)


class FakeApi:
    """One Secret and one configuration of two webhooks, whose versions count; a barrier makes readers wait."""

    def __init__(self) -> None:
        self.secret: dict[str, Any] = {"metadata": {"resourceVersion": "1"}}
        hooks: list[dict[str, Any]] = [{"name": name, "clientConfig": {}} for name in ("claims", "models")]
        self.configuration: dict[str, Any] | None = {"metadata": {"resourceVersion": "1"}, "webhooks": hooks}
        self.barrier: asyncio.Barrier | None = None
        self.refuses_configuration = False

    async def get(self, resource: Resource, *_: Any) -> dict[str, Any]:
        found = self.configuration if resource == CONFIGURATIONS else self.secret
        if found is None:
            raise NotFound("get", status=404, reason="NotFound", message="gone")
        seen = deepcopy(found)
        if self.barrier and resource != CONFIGURATIONS:
            await self.barrier.wait()
        return seen

    async def patch_merge(self, _: Resource, __: str, ___: str, patch: dict[str, Any]) -> None:
        self._written(self.secret, patch["metadata"]["resourceVersion"])
        _merge(self.secret["metadata"].setdefault("annotations", {}), patch["metadata"]["annotations"])
        _merge(self.secret.setdefault("data", {}), patch["data"])

    async def patch_json(self, _: Resource, __: str, ___: None, operations: Sequence[dict[str, Any]]) -> None:
        assert self.configuration
        if self.refuses_configuration:
            raise Transient("patch", status=503, reason="Busy", message="later")
        self._written(self.configuration, operations[0]["value"])
        for operation in operations[1:]:
            position = int(operation["path"].split("/")[2])
            self.configuration["webhooks"][position]["clientConfig"]["caBundle"] = operation["value"]

    def trusted(self) -> list[set[x509.Certificate]]:
        assert self.configuration
        bundles = [base64.b64decode(each["clientConfig"]["caBundle"]) for each in self.configuration["webhooks"]]
        return [set(x509.load_pem_x509_certificates(each)) for each in bundles]

    @staticmethod
    def _written(found: dict[str, Any], version: str) -> None:
        if found["metadata"]["resourceVersion"] != version:
            raise Conflict("patch", status=409, reason="Conflict", message="changed")
        found["metadata"]["resourceVersion"] = str(int(version) + 1)


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    into.update({key: value for key, value in patch.items() if value is not None})
    for key in [key for key, value in patch.items() if value is None]:
        into.pop(key, None)


class Replica(Certificates):
    def __init__(self, api: FakeApi) -> None:
        self.moment = START
        super().__init__(
            api=api,  # type: ignore[arg-type]
            namespace="bailiwick-system", names=["one.svc"], now=lambda: self.moment, lifetime=LIFETIME,
        )  # fmt: skip

    async def at(self, passed: timedelta) -> Pair:
        self.moment = START + passed
        return await self.keep()


def certificate(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


async def test_of_two_that_find_no_certificate_at_the_same_moment_one_makes_it() -> None:
    api = FakeApi()
    api.barrier = asyncio.Barrier(2)
    first, second = Replica(api), Replica(api)
    made = await asyncio.gather(first.keep(), second.keep(), return_exceptions=True)
    winners = [each for each in made if isinstance(each, Pair)]
    assert len(winners) == 1
    assert any(isinstance(each, Conflict) for each in made), "the loser wrote nothing and looks again"
    api.barrier = None
    assert await first.keep() == await second.keep() == winners[0]
    assert api.trusted() == [{certificate(winners[0])}] * 2


async def test_the_next_certificate_is_served_only_a_while_after_the_api_server_was_shown_both() -> None:
    api = FakeApi()
    replica = Replica(api)
    old = await replica.keep()
    due = LIFETIME * 2 / 3
    assert await replica.at(due) == old
    api.refuses_configuration = True
    for late in (SETTLE, 10 * SETTLE):  # it was made long ago, but nobody knows it
        with pytest.raises(Transient):
            await replica.at(due + late)
        assert api.trusted() == [{certificate(old)}] * 2
    api.refuses_configuration = False
    shown = due + 20 * SETTLE
    assert await replica.at(shown) == old
    both = api.trusted()
    assert [len(each) for each in both] == [2, 2]
    assert await replica.at(shown + SETTLE - timedelta(seconds=1)) == old
    new = await replica.at(shown + SETTLE)
    assert new != old
    assert both == [{certificate(old), certificate(new)}] * 2
    assert await replica.at(shown + 2 * SETTLE) == new
    assert api.trusted() == both, "another replica may still serve the old one"
    await replica.at(LIFETIME + timedelta(seconds=1))
    assert api.trusted() == [{certificate(new)}] * 2


async def test_a_configuration_that_is_made_anew_meanwhile_starts_the_waiting_again() -> None:
    api = FakeApi()
    replica = Replica(api)
    old = await replica.keep()
    due = LIFETIME * 2 / 3
    await replica.at(due)
    await replica.at(due)
    assert api.configuration
    for each in api.configuration["webhooks"]:
        each["clientConfig"] = {}
    assert await replica.at(due + SETTLE) == old
    assert [len(each) for each in api.trusted()] == [2, 2]
    assert await replica.at(due + 2 * SETTLE - timedelta(seconds=1)) == old
    assert await replica.at(due + 2 * SETTLE) != old


async def test_nothing_is_served_while_nobody_could_trust_it() -> None:
    api = FakeApi()
    api.configuration = None
    for _ in range(2):
        with pytest.raises(ApiError):
            await Replica(api).keep()


@pytest.mark.parametrize("left", ["tls.key", "tls.crt"])
async def test_half_a_pair_or_an_expired_one_is_made_anew(left: str) -> None:
    api = FakeApi()
    first = await Replica(api).keep()
    api.secret["data"].pop(left)
    second = await Replica(api).keep()
    assert second != first
    assert await Replica(api).at(LIFETIME) != second
