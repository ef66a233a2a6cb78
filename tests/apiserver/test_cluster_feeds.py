"""Feeds, the lease and Events on a real API server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster import resources as r
from bailiwick.cluster import trim
from bailiwick.cluster.events import Events
from bailiwick.cluster.lease import Lease, LeaseLostError, Terms, utc_now
from bailiwick.cluster.listwatch import Feed, Scope
from bailiwick.cluster.pace import Pace
from bailiwick.cluster.store import Store
from tests.apiserver.children import config_map, until

if TYPE_CHECKING:
    from bailiwick.cluster.api import Api
    from e2e.client import Client

pytestmark = pytest.mark.apiserver

Raw = dict[str, Any]


async def test_a_feed_follows_a_namespace(api: Api, namespace: str) -> None:
    await api.create(r.CONFIG_MAPS, config_map(namespace, "before"))
    store = Store(r.CONFIG_MAPS, trim=trim.child)
    told: list[str] = []
    feed = Feed(api=api, store=store, on_list=lambda _: None, pace=Pace(), scope=Scope(namespace=namespace))
    following = asyncio.create_task(feed.list_and_watch(lambda change: told.append(change.key[1])))
    await until(lambda: store.synced)
    await api.apply(r.CONFIG_MAPS, config_map(namespace, "after"))
    await api.delete(r.CONFIG_MAPS, "before", namespace)
    await until(lambda: store.keys() == [(namespace, "after")])
    assert told == ["after", "before"]
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


async def test_a_list_finds_what_no_event_told(api: Api, namespace: str) -> None:
    store = Store(r.CONFIG_MAPS, trim=trim.child)
    lists: list[list[str]] = []
    feed = Feed(
        api=api,
        store=store,
        on_list=lambda changes: lists.append(sorted(change.key[1] for change in changes)),
        pace=Pace(),
        scope=Scope(namespace=namespace),
    )
    for name in ("a", "b"):
        store.apply_event("ADDED", await api.create(r.CONFIG_MAPS, config_map(namespace, name)))
    await api.delete(r.CONFIG_MAPS, "a", namespace)
    await api.create(r.CONFIG_MAPS, config_map(namespace, "c"))
    await feed.relist()
    await feed.relist()
    assert lists == [["a", "c"], []]


# Lease and Events

QUICK = Terms(duration=3.0, renew_deadline=2.0, retry_period=0.2, call=1.0)


def candidate(api: Api, namespace: str, identity: str) -> Lease:
    return Lease(api=api, namespace=namespace, name="operator", identity=identity, pace=Pace(), terms=QUICK)


async def test_a_lease_is_taken_kept_released_and_taken_over(api: Api, namespace: str) -> None:
    first, second = candidate(api, namespace, "first"), candidate(api, namespace, "second")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    keeping = asyncio.create_task(first.keep())
    await asyncio.sleep(4)  # longer than the duration: only renewals hold it
    assert first.held
    assert not waiting.done()
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    await first.release()
    await asyncio.wait_for(waiting, 2)
    assert second.held
    lease = await api.get(r.LEASES, "operator", namespace)
    assert lease["spec"]["holderIdentity"] == "second"
    assert lease["spec"]["leaseTransitions"] == 1


async def test_candidates_that_begin_together_make_one_leader(api: Api, namespace: str) -> None:
    candidates = [candidate(api, namespace, f"c{number}") for number in range(8)]
    tasks = [asyncio.create_task(each.acquire()) for each in candidates]
    await until(lambda: any(each.held for each in candidates))
    await asyncio.sleep(2 * QUICK.retry_period)  # the others try again, and in vain
    assert [each.held for each in candidates].count(True) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_stolen_lease_ends_the_leader(api: Api, client: Client, namespace: str) -> None:
    first = candidate(api, namespace, "first")
    await first.acquire()
    client.patch("coordination.k8s.io/v1", "Lease", "operator", {"spec": {"holderIdentity": "thief"}}, namespace)
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(first.keep(), 2)


@pytest.mark.parametrize("scope", ["namespaced", "cluster"])
async def test_an_event_is_accepted(api: Api, client: Client, namespace: str, scope: str) -> None:
    if scope == "namespaced":
        about, where = await api.create(r.CONFIG_MAPS, config_map(namespace)), namespace
    else:
        about, where = await api.get(r.NAMESPACES, namespace), "default"
    outcomes: list[str] = []

    class Seen:
        def event(self, outcome: str) -> None:
            outcomes.append(outcome)

    events = Events(api=api, instance="bailiwick-0", pace=Pace(), now=utc_now, observer=Seen())
    events.post(about, "Placed", "ä" * 2000, action="Place", warning=True)
    posting = asyncio.create_task(events.run())
    await until(lambda: bool(outcomes))
    posting.cancel()
    assert outcomes == ["posted"]
    (event,) = [
        each
        for each in client.list("events.k8s.io/v1", "Event", where)
        if each["regarding"].get("uid") == about["metadata"]["uid"]
    ]
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "Placed", "Place")
