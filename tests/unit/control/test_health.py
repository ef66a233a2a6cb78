"""What the kubelet and Prometheus are told."""

from __future__ import annotations

import aiohttp
import pytest

from bailiwick.cluster import trim
from bailiwick.cluster.resources import NODES
from bailiwick.cluster.store import Store
from bailiwick.control.health import RUN_LIMIT_SECONDS, Health, serve
from bailiwick.control.metrics import Metrics


def health(*, role: str = "leader", unsynced: tuple[str, ...] = (), running: float = 0.0) -> Health:
    return Health(role=lambda: role, unsynced=lambda: list(unsynced), longest_run=lambda: running)


async def ask(path: str, judged: Health, metrics: Metrics | None = None) -> tuple[int, str]:
    registry = (metrics or Metrics()).registry
    async with (
        serve(judged, registry, port=0, host="127.0.0.1") as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_a_process_that_answers_is_alive() -> None:
    assert await ask("/healthz", health()) == (200, '{"role": "leader", "longestRunSeconds": 0.0}')


async def test_a_reconcile_that_never_ends_calls_for_a_restart() -> None:
    code, said = await ask("/healthz", health(running=RUN_LIMIT_SECONDS + 1))
    assert (code, said) == (503, '{"role": "leader", "longestRunSeconds": 301.0}')


@pytest.mark.parametrize(
    ("judged", "code", "said"),
    [
        (health(), 200, '{"role": "leader", "ready": true, "notSynced": []}'),
        (
            health(unsynced=("pods", "nodes")),
            503,
            '{"role": "leader", "ready": false, "notSynced": ["nodes", "pods"]}',
        ),
        (
            health(role="standby", unsynced=("nodes",)),
            200,
            '{"role": "standby", "ready": true, "notSynced": ["nodes"]}',
        ),
    ],
    ids=["leader", "leader that does not know everything", "standby"],
)
async def test_readiness(judged: Health, code: int, said: str) -> None:
    assert await ask("/readyz", judged) == (code, said)


async def test_metrics_say_what_happened_and_what_is() -> None:
    metrics, store = Metrics(), Store(NODES, trim=trim.labelled)
    metadata = {"name": "worker", "uid": "1", "resourceVersion": "5"}
    metrics.watch_stores([store], lambda: 100.0)
    metrics.watch_queue(lambda: {"model": 3}, lambda: {"model": 2})
    metrics.called("get", "nodes", "200", 0.01)
    metrics.called("apply", "deployments", "Timeout", 30)
    metrics.started("model", 0.2)
    metrics.finished("model", 0.5, None)
    metrics.finished("model", 0.5, "Conflict")
    metrics.event("posted")
    metrics.relisted("nodes", "complete", 2)
    metrics.leading(leader=True)
    _, before = await ask("/metrics", health(), metrics)
    assert 'bailiwick_store_age_seconds{resource="nodes"} +Inf' in before
    store.replace([{"apiVersion": "v1", "kind": "Node", "metadata": metadata}], "9")
    store.confirm(97.5)
    code, said = await ask("/metrics", health(), metrics)
    assert code == 200
    for line in (
        'bailiwick_api_requests_total{code="200",resource="nodes",verb="get"} 1.0',
        'bailiwick_api_requests_total{code="Timeout",resource="deployments",verb="apply"} 1.0',
        'bailiwick_api_request_seconds_bucket{le="0.01",resource="nodes",verb="get"} 1.0',
        'bailiwick_queue_depth{loop="model"} 3.0',
        'bailiwick_queue_running{loop="model"} 2.0',
        'bailiwick_queue_wait_seconds_sum{loop="model"} 0.2',
        'bailiwick_reconcile_seconds_count{loop="model"} 2.0',
        'bailiwick_reconcile_errors_total{kind="Conflict",loop="model"} 1.0',
        'bailiwick_events_total{outcome="posted"} 1.0',
        'bailiwick_store_relists_total{outcome="complete",resource="nodes"} 1.0',
        'bailiwick_store_missed_changes_total{resource="nodes"} 2.0',
        'bailiwick_store_objects{resource="nodes"} 1.0',
        'bailiwick_store_age_seconds{resource="nodes"} 2.5',
        "bailiwick_leader 1.0",
    ):
        assert line in said.splitlines()
    assert f'bailiwick_store_bytes{{resource="nodes"}} {float(store.size)}' in said
    assert "process_resident_memory_bytes" in said
