"""Metrics say where each replica runs, and forget it with the model or the pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.cluster import resources, trim
from bailiwick.cluster.store import Store
from bailiwick.control.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

Labels = dict[str, str]


def told(metrics: Metrics) -> list[tuple[Labels, float]]:
    def samples() -> Iterator[tuple[Labels, float]]:
        for family in metrics.registry.collect():
            if family.name == "bailiwick_replica_info":
                yield from ((sample.labels, sample.value) for sample in family.samples)

    return sorted(samples(), key=lambda each: each[0]["replica"])


def model(revision: int, *placements: Any) -> dict[str, Any]:
    metadata = {"namespace": "clinic", "name": "chat", "uid": "1", "resourceVersion": str(revision)}
    return {"metadata": metadata, "status": {"placements": list(placements)}}


def at(replica: str, jurisdiction: str) -> tuple[Labels, float]:
    return {"model_namespace": "clinic", "model": "chat", "replica": replica, "jurisdiction": jurisdiction}, 1


def test_each_replica_is_told_where_it_is_and_no_longer_when_it_went() -> None:
    store, metrics = Store(resources.SOVEREIGN_MODELS, trim=trim.whole), Metrics()
    metrics.watch_models(store)
    store.apply_event("ADDED", {"metadata": model(1)["metadata"]})
    assert told(metrics) == []
    vouched, other = {"pod": "chat-0", "node": "a", "jurisdiction": "DE"}, {"pod": "chat-1", "node": "b"}
    store.apply_event("MODIFIED", model(2, vouched, other))
    assert told(metrics) == [at("chat-0", "DE"), at("chat-1", "unknown")]
    store.apply_event("MODIFIED", model(3, {**vouched, "jurisdiction": "FR"}))
    assert told(metrics) == [at("chat-0", "FR")]
    store.apply_event("DELETED", model(4, vouched))
    assert told(metrics) == []
