"""Every metric in Markdown: those of operator and webhook as their registries tell them, and those of models we use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.admission.server import Metrics as WebhookMetrics
from bailiwick.cluster import resources, trim
from bailiwick.cluster.store import Store
from bailiwick.control.metrics import Metrics as OperatorMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry

    from bailiwick.cluster.resources import Resource

_HEAD = """\
# Metrics

<!-- Generated from the registries of operator and webhook by `make generate`; edit these, not this file. -->

Prometheus reads the operator and the webhook on port 8080 of each pod, `/metrics`; the Service
`bailiwick-operator-metrics` finds the operator. Only the leader tells of policies, stores and queues. Beside what is
listed, the operator tells `process_*` and `python_info` of itself. A histogram `x` has the series `x_bucket`, `x_sum`
and `x_count`.

[Alerts](../runbooks/README.md) and dashboards are made of these metrics and of no others.
"""
_MODELS = """\
## Models

Port 8081 of every pod of a model: `/metrics` is the engine's, `/gate/metrics` the gate's (HAProxy's exporter). The
value `monitoring.namespace` says whose Prometheus may ask. They tell more than is listed: these are what dashboards and
alerts use. `namespace` and `pod` come from Prometheus, as it found the pod.
"""
_USE = """\
## Use and energy

What the chart's rules make of the metrics of operator, engines and others' exporters, once a minute: see
[use and energy](../use-and-energy.md). A series is absent where nobody measures.
"""
_TABLE = "| metric | type | labels | meaning |\n|---|---|---|---|"
_UNTOLD = ("process_", "python_")


@dataclass(frozen=True, slots=True)
class Told:
    """One metric: its name as queries use it (of a histogram, without suffix), its type, labels, and what it means."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> frozenset[str]:
        """The names that a query can ask for."""
        if self.type == "histogram":
            return frozenset(f"{self.name}_{suffix}" for suffix in ("bucket", "sum", "count"))
        return frozenset({self.name})


ENGINE = (
    Told("vllm:num_requests_running", "gauge", ("model_name",), "Requests that are being answered."),
    Told("vllm:num_requests_waiting", "gauge", ("model_name",), "Requests that wait for room in a batch."),
    Told("vllm:kv_cache_usage_perc", "gauge", ("model_name",), "Part of the KV cache that is in use, 0 to 1."),
    Told("vllm:num_preemptions", "counter", ("model_name",), "Requests put back because the KV cache was full."),
    Told("vllm:prompt_tokens", "counter", ("model_name",), "Tokens read."),
    Told("vllm:generation_tokens", "counter", ("model_name",), "Tokens written."),
    Told("vllm:time_to_first_token_seconds", "histogram", ("model_name",), "From a request to its first token."),
    Told("vllm:inter_token_latency_seconds", "histogram", ("model_name",), "From one token to the next."),
    Told("vllm:e2e_request_latency_seconds", "histogram", ("model_name",), "From a request to its last token."),
)
"""Of vLLM, by the names in its source; counters are asked for with the suffix ``_total``."""
LLAMACPP = (
    Told("llamacpp:prompt_tokens_total", "counter", (), "Tokens read."),
    Told("llamacpp:tokens_predicted_total", "counter", (), "Tokens written."),
)
"""Of llama.cpp's server."""
GATE = (
    Told("haproxy_frontend_http_requests_total", "counter", ("proxy",), "Requests; those of clients have `clients`."),
    Told(
        "haproxy_frontend_http_responses_total", "counter", ("proxy", "code"),
        "Responses by class: `2xx`, `4xx` (refused: no key, too many requests), `5xx`.",
    ),
    Told("haproxy_frontend_current_sessions", "gauge", ("proxy",), "Connections of clients that are open."),
    Told("haproxy_frontend_bytes_out_total", "counter", ("proxy",), "Bytes sent to clients."),
    Told(
        "haproxy_backend_response_time_average_seconds", "gauge", ("proxy",),
        "From a request to the first byte of the engine, over the last 1,024.",
    ),
    Told("haproxy_backend_connection_errors_total", "counter", ("proxy",), "Requests for which no engine listened."),
)  # fmt: skip
"""Of the gate's HAProxy."""
_SET_ASIDE = ("exported_namespace", "exported_pod")
EXPORTERS = (
    Told(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", ("UUID", *_SET_ASIDE),
        "Millijoules of a GPU (NVIDIA's dcgm-exporter 4.5.3).",
    ),
    Told(
        "gpu_energy_consumed", "gauge", ("hostname", "gpu_id", *_SET_ASIDE),
        "Microjoules of a GPU (AMD's device-metrics-exporter 1.5.1).",
    ),
    Told(
        "kepler_pod_cpu_joules_total", "counter", ("pod_namespace", "pod_name", "node_name", "state", "zone"),
        "Joules of processors and memory that a pod had (Kepler 0.11.4; since 0.10).",
    ),
)  # fmt: skip
"""Of others, who tell energy, by the names in their sources."""
_OF_MODEL = ("namespace", "model", "jurisdiction")
_OF_REPLICA = ("namespace", "pod", "model", "jurisdiction")
RECORDED = (
    Told("replica:bailiwick_place:latest", "gauge", _OF_REPLICA, "1 where each replica runs, as it was told last."),
    Told("replica:bailiwick_prompt_tokens:rate5m", "gauge", _OF_REPLICA, "Tokens read, a second."),
    Told("replica:bailiwick_generation_tokens:rate5m", "gauge", _OF_REPLICA, "Tokens written, a second."),
    Told("replica:bailiwick_watts:rate5m", "gauge", (*_OF_REPLICA, "part", "source"), "Watts, by who measured them."),
    Told("model_jurisdiction:bailiwick_prompt_tokens:rate5m", "gauge", _OF_MODEL, "Tokens read, a second."),
    Told("model_jurisdiction:bailiwick_generation_tokens:rate5m", "gauge", _OF_MODEL, "Tokens written, a second."),
    Told(
        "model_jurisdiction:bailiwick_watts:rate5m", "gauge", (*_OF_MODEL, "part"),
        "Watts of `accelerators` and of `processors`.",
    ),
    Told(
        "model_jurisdiction:bailiwick_measured_tokens:rate5m", "gauge", (*_OF_MODEL, "part"),
        "Tokens written a second by replicas whose part is measured.",
    ),
    Told(
        "model_jurisdiction:bailiwick_joules_per_token:rate5m", "gauge", (*_OF_MODEL, "part"),
        "Joules of a part for each token written.",
    ),
)  # fmt: skip
"""What the chart's rules record."""


def metrics_reference() -> str:
    """The whole page."""
    return "\n".join(
        [
            _HEAD,
            "## Operator\n",
            *_table(operator()),
            "\n## Webhook\n",
            *_table(webhook()),
            f"\n{_MODELS}",
            "### The engine: vLLM\n",
            *_table(engine()),
            "\n### The engine: llama.cpp\n",
            *_table(LLAMACPP),
            "\n### The gate\n",
            *_table(GATE),
            f"\n{_USE}",
            "### Exporters of energy\n",
            *_table(EXPORTERS),
            "\n### Recorded\n",
            *_table(RECORDED),
            "",
        ]
    )


def operator() -> tuple[Told, ...]:
    """Every metric of the operator, each with one sample from which its labels are read."""
    metrics = OperatorMetrics()
    metrics.called("get", "nodes", "200", 0.1)
    metrics.started("model", 0.1)
    metrics.finished("model", 0.1, "Transient")
    metrics.event("posted")
    metrics.relisted("nodes", "complete", 0)
    metrics.stepped("policy", "Report", 1)
    metrics.swept(0.1)
    metrics.leading(leader=True)
    metrics.tried("policy", "attempt", "held")
    metrics.repaired("bailiwick-pods", "gone", "repaired")
    metrics.watch_policies(_store(resources.RESIDENCY_POLICIES))
    metrics.watch_waivers(_store(resources.RESIDENCY_WAIVERS))
    metrics.watch_models(_store(resources.SOVEREIGN_MODELS))
    metrics.watch_violations(lambda: {("policy", "WrongPlace"): 1})
    metrics.watch_stores([_store(resources.NODES)], lambda: 0.0)
    metrics.watch_queue(lambda: {"model": 1}, lambda: {"model": 1})
    return tuple(_told(metrics.registry))


def webhook() -> tuple[Told, ...]:
    """Every metric of the webhook."""
    metrics = WebhookMetrics()
    metrics.answered("SovereignModel", "allowed", 0.1)
    return tuple(_told(metrics.registry))


def engine() -> tuple[Told, ...]:
    """Those of vLLM, as Prometheus tells them."""
    return tuple(
        Told(f"{each.name}_total" if each.type == "counter" else each.name, each.type, each.labels, each.meaning)
        for each in ENGINE
    )


def _store(resource: Resource) -> Store:
    store = Store(resource, trim=trim.whole)
    metadata = {"name": "example", "uid": "1", "resourceVersion": "1"}
    manifest = {"metadata": metadata, "spec": {"policy": "policy"}, "status": {"placements": [{"pod": "example"}]}}
    store.apply_event("ADDED", manifest)
    return store


def _told(registry: CollectorRegistry) -> Iterator[Told]:
    """What a registry tells, by name. A metric of which nothing was recorded would have lost its labels: IndexError."""
    for family in sorted(registry.collect(), key=lambda each: each.name):
        if family.name.startswith(_UNTOLD):
            continue
        labels = tuple(label for label in family.samples[0].labels if label != "le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Told(name, family.type, labels, family.documentation)


def _table(every: Iterable[Told]) -> list[str]:
    rows = [
        f"| `{told.name}` | {told.type} | {', '.join(f'`{label}`' for label in told.labels)} | {told.meaning} |"
        for told in every
    ]
    return [_TABLE, *rows]
