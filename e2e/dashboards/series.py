"""Recorded series of every metric that we know: six hours of a cluster with three policies and three models.

What is drawn follows from the tables of metrics, so that a new metric is there by itself. Only figures that mean
something beyond their shape are set by hand. All of it is the same each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING
from zlib import crc32

from bailiwick.cli.reference import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bailiwick.cli.reference.metrics import Told

START = 1_780_272_000
"""Seconds since 1970: the first of June 2026, midnight UTC."""
HOURS = 6
STEP = 60
END = START + HOURS * 3600
_FAILOVER = 3 * 60
"""Minute in which the first operator dies."""
_POLICIES = ("finance", "health", "research")
_VALUES: Mapping[str, tuple[str, ...]] = {
    "policy": _POLICIES,
    "reason": ("WrongPlace", "PlaceUnknown"),
    "outcome": ("allowed", "WrongPlace"),
    "attempt": ("foreign-node", "binding", "forged-label"),
    "step": ("Report", "Quarantine", "Evict"),
    "state": ("active", "waiting", "expired", "unapproved"),
    "guard": ("bailiwick-pods",),
    "fault": ("changed",),
    "loop": ("territory", "model", "audit", "canary", "waiver"),
    "kind": ("ResidencyPolicy", "SovereignModel", "PersistentVolumeClaim"),
    "resource": ("pods", "nodes", "sovereignmodels", "residencypolicies", "territories"),
    "verb": ("get", "patch", "list", "watch"),
    "code": ("2xx", "4xx", "5xx"),
}
_OTHERS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("bailiwick_canary_attempts_total", "outcome"): ("held", "unclear"),
    ("bailiwick_border_repairs_total", "outcome"): ("repaired",),
    ("bailiwick_events_total", "outcome"): ("posted", "repeated"),
    ("bailiwick_store_relists_total", "outcome"): ("complete", "failed"),
    ("bailiwick_reconcile_errors_total", "kind"): ("Transient", "Conflict"),
    ("bailiwick_api_requests_total", "code"): ("200", "404", "409"),
}
"""Values that a label has with one metric alone."""
_PER_MINUTE: Mapping[str, float] = {
    "bailiwick_canary_attempts_total": 1,
    "bailiwick_border_repairs_total": 0.005,
    "bailiwick_audit_steps_total": 0.03,
    "bailiwick_reconcile_errors_total": 0.2,
    "bailiwick_store_missed_changes_total": 0.02,
    "vllm:prompt_tokens_total": 90_000,
    "vllm:generation_tokens_total": 21_000,
    "vllm:num_preemptions_total": 0.3,
    "llamacpp:prompt_tokens_total": 2_400,
    "llamacpp:tokens_predicted_total": 700,
    "haproxy_frontend_bytes_out_total": 4e6,
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 410 * 60e3,
    "gpu_energy_consumed": 520 * 60e6,
    "kepler_pod_cpu_joules_total": 45 * 60,
}
_RARE: Mapping[str, float] = {"unclear": 0.02, "failed": 0.002, "4xx": 0.05, "5xx": 0.004, "404": 0.1, "409": 0.03}
"""How much rarer what is not as usual is."""
_LEVEL: Mapping[str, float] = {
    "bailiwick_leader": 1,
    "bailiwick_queue_running": 0.6,
    "bailiwick_store_age_seconds": 40,
    "bailiwick_store_bytes": 400_000,
    "bailiwick_store_objects": 120,
    "bailiwick_waivers": 1.4,
    "bailiwick_replica_info": 1,
    "vllm:kv_cache_usage_perc": 0.5,
    "haproxy_backend_response_time_average_seconds": 0.4,
}
_MIDDLE: Mapping[str, float] = {
    "vllm:inter_token_latency_seconds": 0.03,
    "vllm:time_to_first_token_seconds": 0.35,
    "vllm:e2e_request_latency_seconds": 6,
    "bailiwick_admission_review_seconds": 0.006,
    "bailiwick_api_request_seconds": 0.012,
}
"""Seconds that half of what a histogram counts take."""
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Replica:
    """A pod of a model, with what measures it: series of exporters, by name, with the labels that they add."""

    namespace: str
    pod: str
    model: str
    jurisdiction: str
    engine: tuple[Told, ...]
    name: str = ""
    measured: Mapping[str, tuple[Labels, ...]] = field(default_factory=dict)


def _cpu(namespace: str, pod: str) -> tuple[Labels, ...]:
    told = {"pod_namespace": namespace, "pod_name": pod, "node_name": "n", "state": "running"}
    return tuple({**told, "zone": zone} for zone in ("package", "dram"))


def _vllm(pod: str, jurisdiction: str, **measured: tuple[Labels, ...]) -> Replica:
    energy = {**measured, "kepler_pod_cpu_joules_total": _cpu("clinic", pod)}
    return Replica("clinic", pod, "chat", jurisdiction, metrics.engine(), "llama-3.3-70b", energy)


_NVIDIA = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
REPLICAS = (
    _vllm("chat-7d9f-2kq8x", "DE", **{_NVIDIA: ({"UUID": "GPU-0"}, {"UUID": "GPU-1"})}),
    _vllm("chat-7d9f-9wz4c", "DE", **{_NVIDIA: ({"UUID": "GPU-2"}, {"UUID": "GPU-3"})}),
    _vllm("chat-7d9f-m5t7b", "FR", gpu_energy_consumed=({"hostname": "fr-1", "gpu_id": "0"},)),
    Replica("lab", "code-66c8-x2x9p", "code", "CH", metrics.LLAMACPP, measured={
        "kepler_pod_cpu_joules_total": _cpu("lab", "code-66c8-x2x9p")
    }),
    Replica("lab", "notes-5b4c-q7hht", "notes", "unknown", metrics.LLAMACPP),
)  # fmt: skip
"""The last one runs where nobody measures, and where nobody vouches for the node."""
_OPERATORS = ("bailiwick-operator-5d4-a", "bailiwick-operator-5d4-b")


def write(file: Path) -> None:
    """Everything as OpenMetrics."""
    with file.open("w") as out:
        for name, labels, at in _every():
            told = ",".join(f'{key}="{value}"' for key, value in labels.items())
            for minute in range(HOURS * 60 + 1):
                value = at(minute)
                if value is not None:
                    out.write(f"{name}{{{told}}} {value:.6g} {START + minute * STEP}\n")
        out.write("# EOF\n")


Series = tuple[str, Labels, "Callable[[int], float | None]"]


def _every() -> Iterator[Series]:
    for told in metrics.operator():
        yield from _of_operator(told)
    for told in metrics.webhook():
        yield from _shaped(told, {"namespace": "bailiwick-system", "pod": "bailiwick-admission-6f7-a"})
    for replica in REPLICAS:
        found: Labels = {"namespace": replica.namespace, "pod": replica.pod}
        for told in replica.engine:
            named = {"model_name": replica.name} if told.labels else {}
            yield from _shaped(told, {**found, **named})
        for told in metrics.GATE:
            proxy = "engine" if "_backend_" in told.name else "clients"
            yield from _shaped(told, {**found, "proxy": proxy})
        for name, devices in replica.measured.items():
            aside = {} if "kepler" in name else {"exported_namespace": replica.namespace, "exported_pod": replica.pod}
            told = next(each for each in metrics.EXPORTERS if each.name == name)
            for device in devices:
                yield from _shaped(told, {"namespace": "monitoring", "pod": "exporter", **aside, **device})


def _of_operator(told: Told) -> Iterator[Series]:
    """The leader tells most, and dies in the middle; the standby tells little until then."""
    for index, pod in enumerate(_OPERATORS):
        for name, labels, at in _shaped(told, {"namespace": "bailiwick-system", "pod": pod}):
            yield name, labels, _while_leading(at, index, always=told.name == "bailiwick_leader")


def _while_leading(at: Callable[[int], float | None], index: int, *, always: bool) -> Callable[[int], float | None]:
    def told(minute: int) -> float | None:
        first = minute < _FAILOVER
        if always:
            return float(first == (index == 0)) if first or index == 1 else None
        return at(minute) if first == (index == 0) else None

    return told


def _shaped(told: Told, found: Labels) -> Iterator[Series]:
    """The series of one metric, with all values that its labels have."""
    if told.name == "bailiwick_replica_info":
        for replica in REPLICAS:
            where = {"model_namespace": replica.namespace, "model": replica.model}
            yield (
                told.name,
                {**found, **where, "replica": replica.pod, "jurisdiction": replica.jurisdiction},
                _always(1),
            )
        return
    open_labels = [label for label in told.labels if label not in found and label in _VALUES]
    for values in product(*(_OTHERS.get((told.name, label), _VALUES[label]) for label in open_labels)):
        labels = {**found, **dict(zip(open_labels, values, strict=True))}
        if told.type == "histogram":
            yield from _histogram(told.name, labels)
        elif told.type == "counter" or told.name == "gpu_energy_consumed":
            yield told.name, labels, _counter(told.name, labels)
        else:
            yield told.name, labels, _gauge(told.name, labels)


def _weight(name: str, labels: Labels) -> float:
    """A figure of a series' own between 0.5 and 1.5, and less for what is rare."""
    chance = crc32(f"{name}{sorted(labels.items())}".encode()) % 1000 / 1000
    return (0.5 + chance) * math.prod(_RARE.get(value, 1) for value in labels.values())


def _day(minute: int) -> float:
    """How busy callers are: little at night, more in the morning, with a gap."""
    return (0.35 + 0.65 * math.sin(math.pi * minute / (HOURS * 60)) ** 2) * (0.9 + 0.1 * math.sin(minute / 7))


def _counter(name: str, labels: Labels) -> Callable[[int], float]:
    rate = _PER_MINUTE.get(name, 30) * _weight(name, labels)
    total, sums = 0.0, []
    for minute in range(HOURS * 60 + 1):
        total += rate * (1 if "canary" in name else _day(minute))
        sums.append(float(int(total)) if rate < 100 else total)
    return sums.__getitem__


def _gauge(name: str, labels: Labels) -> Callable[[int], float]:
    if name == "bailiwick_policy_enforced":
        return lambda minute: float(labels["policy"] != "research" and not (200 <= minute < 215))
    if name == "bailiwick_violations":
        many = {"WrongPlace": 3, "PlaceUnknown": 1}[labels["reason"]] if labels["policy"] == "health" else 0
        return lambda minute: float(many if 90 <= minute < 150 else 0)
    level = _LEVEL.get(name, 4) * _weight(name, labels)
    if name in {"bailiwick_waivers", "bailiwick_store_objects"}:
        return _always(round(level))
    if name == "vllm:kv_cache_usage_perc":
        return lambda minute: min(1.0, level * _day(minute) * 1.4)
    if level >= 1 and not name.endswith("_seconds"):
        return lambda minute: round(level * _day(minute))
    return lambda minute: level * _day(minute)


def _always(value: float) -> Callable[[int], float]:
    return lambda _: value


def _histogram(name: str, labels: Labels) -> Iterator[Series]:
    """Counts that spread around the middle as a logarithm does: a tenth of them take more than thrice as long."""
    middle = _MIDDLE.get(name, 0.05) * _weight(name, labels)
    counted = _counter(f"{name}_count", labels)

    def below(bound: float) -> Callable[[int], float]:
        part = 0.5 * (1 + math.erf(math.log(bound / middle) / (0.9 * math.sqrt(2))))
        return lambda minute: round(counted(minute) * 100 * part)

    for bound in _BOUNDS:
        yield f"{name}_bucket", {**labels, "le": f"{bound:g}"}, below(bound)
    yield f"{name}_bucket", {**labels, "le": "+Inf"}, below(math.inf)
    yield f"{name}_count", labels, below(math.inf)
    yield f"{name}_sum", labels, lambda minute: counted(minute) * 100 * middle * 1.5
