"""Every metric of the operator, in a registry of its own."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from bailiwick.cluster.store import Store

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIVER_STATES = {"InForce": "active", "NotYet": "waiting", "Expired": "expired"}
"""By the reason of a waiver's condition Active. Any other reason, or none yet: unapproved."""
_NOWHERE = "unknown"
_SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The operator's metrics. Its methods are the observers that queue, API port, lease and event poster take."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._api_calls = Counter(
            "bailiwick_api_requests", "Finished calls to the API server.", ["verb", "resource", "code"],
            registry=self.registry,
        )  # fmt: skip
        self._api_seconds = Histogram(
            "bailiwick_api_request_seconds", "How long a call to the API server took, to its last byte.",
            ["verb", "resource"], buckets=_FAST, registry=self.registry,
        )  # fmt: skip
        self._waited = Histogram(
            "bailiwick_queue_wait_seconds", "How long a key waited, from when it was due to when its reconcile began.",
            ["loop"], buckets=_SLOW, registry=self.registry,
        )  # fmt: skip
        self._reconciled = Histogram(
            "bailiwick_reconcile_seconds", "How long a reconcile took, failed ones too.",
            ["loop"], buckets=_SLOW, registry=self.registry,
        )  # fmt: skip
        self._errors = Counter(
            "bailiwick_reconcile_errors",
            "Reconciles that failed: Transient and Conflict are tried again, Terminal waits for a change, "
            "Unexpected is a bug.",
            ["loop", "kind"], registry=self.registry,
        )  # fmt: skip
        self._events = Counter(
            "bailiwick_events", "Kubernetes Events: posted, repeated (not posted again), dropped, failed.",
            ["outcome"], registry=self.registry,
        )  # fmt: skip
        self._relists = Counter(
            "bailiwick_store_relists", "Whole lists taken into a store, by whether they were read to the end.",
            ["resource", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._missed = Counter(
            "bailiwick_store_missed_changes", "Changes that a relist found and no event had told.",
            ["resource"], registry=self.registry,
        )  # fmt: skip
        self._audit_steps = Counter(
            "bailiwick_audit_steps", "Steps against pods outside: Report, Quarantine, Evict, Delete, Release.",
            ["policy", "step"], registry=self.registry,
        )  # fmt: skip
        self._audit_seconds = Histogram(
            "bailiwick_audit_seconds", "How long it took to judge everything once.", buckets=_SLOW,
            registry=self.registry,
        )  # fmt: skip
        self._attempts = Counter(
            "bailiwick_canary_attempts",
            "What the canary tried: held (as it must be), breached (the border is open), unclear (proves nothing).",
            ["policy", "attempt", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._repairs = Counter(
            "bailiwick_border_repairs",
            "Policies, bindings and Territories that somebody took away (gone) or edited (changed), by the in-tree "
            "policy that they are or put into force, and whether they are repaired or that failed.",
            ["guard", "fault", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._leader = Gauge(
            "bailiwick_leader", "1 on the replica that holds the lease, 0 on a standby.", registry=self.registry
        )

    def close(self) -> None:
        """The operator ends: nothing here is still to be told."""

    def called(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """One call to the API server is finished."""
        self._api_calls.labels(verb, resource, code).inc()
        self._api_seconds.labels(verb, resource).observe(seconds)

    def started(self, loop: str, waited: float) -> None:
        """One reconcile begins, this many seconds after it was due."""
        self._waited.labels(loop).observe(waited)

    def finished(self, loop: str, seconds: float, error: str | None) -> None:
        """One reconcile is over; ``error`` is its kind, or None."""
        self._reconciled.labels(loop).observe(seconds)
        if error:
            self._errors.labels(loop, error).inc()

    def event(self, outcome: str) -> None:
        """One Kubernetes Event was posted, repeated, dropped or failed."""
        self._events.labels(outcome).inc()

    def relisted(self, resource: str, outcome: str, missed: int) -> None:
        """One whole list was read, or could not be; ``missed`` changes had come by no event."""
        self._relists.labels(resource, outcome).inc()
        self._missed.labels(resource).inc(missed)

    def stepped(self, policy: str, step: str, pods: int) -> None:
        """One step was taken against so many pods, for a policy."""
        self._audit_steps.labels(policy, step).inc(pods)

    def swept(self, seconds: float) -> None:
        """Everything was judged."""
        self._audit_seconds.observe(seconds)

    def leading(self, *, leader: bool) -> None:
        """This replica became leader, or is a standby."""
        self._leader.set(leader)

    def tried(self, policy: str, attempt: str, outcome: str) -> None:
        """The canary made one attempt on a policy's border."""
        self._attempts.labels(policy, attempt, outcome).inc()

    def retired(self, policy: str) -> None:
        """The canary tries a policy no longer."""
        self._attempts.remove_by_labels({"policy": policy})

    def repaired(self, guard: str, fault: str, outcome: str) -> None:
        """Something of the border was not as it must be, and was put right or not."""
        self._repairs.labels(guard, fault, outcome).inc()

    def watch_policies(self, policies: Store) -> None:
        """Report whether each policy is proved to be enforced, as its status says it, whenever somebody asks."""
        self.registry.register(_Policies(policies))

    def watch_waivers(self, waivers: Store) -> None:
        """Report how many waivers there are, as their status says it, whenever somebody asks."""
        self.registry.register(_Waivers(waivers))

    def watch_models(self, models: Store) -> None:
        """Report where each replica of each model runs, as its status says it, whenever somebody asks."""
        self.registry.register(_Replicas(models))

    def watch_violations(self, count: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Report how much violates, by policy and reason, whenever somebody asks."""
        self.registry.register(_Violations(count))

    def watch_stores(self, stores: Iterable[Store], clock: Callable[[], float]) -> None:
        """Report objects, bytes and age of stores whenever somebody asks."""
        self.registry.register(_Stores(tuple(stores), clock))

    def watch_queue(self, depth: Callable[[], Mapping[str, int]], running: Callable[[], Mapping[str, int]]) -> None:
        """Report how many keys wait and run, by loop, whenever somebody asks."""
        self.registry.register(_Queue(depth, running))


class _Stores:
    def __init__(self, stores: tuple[Store, ...], clock: Callable[[], float]) -> None:
        self._stores = stores
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        objects = GaugeMetricFamily("bailiwick_store_objects", "Objects held by a store.", labels=["resource"])
        size = GaugeMetricFamily("bailiwick_store_bytes", "Bytes of content held by a store.", labels=["resource"])
        age = GaugeMetricFamily(
            "bailiwick_store_age_seconds",
            "Seconds since a store was last known to be current; +Inf before its first list.",
            labels=["resource"],
        )
        now = self._clock()
        for store in self._stores:
            name = [store.resource.plural]
            objects.add_metric(name, len(store))
            size.add_metric(name, store.size)
            age.add_metric(name, store.age(now))
        yield from (objects, size, age)


class _Policies:
    def __init__(self, policies: Store) -> None:
        self._policies = policies

    def collect(self) -> Iterator[Metric]:
        enforced = GaugeMetricFamily(
            "bailiwick_policy_enforced",
            "1 while the canary proves that a policy is enforced; 0 when it is not, or when nobody can say.",
            labels=["policy"],
        )
        for (_, name), policy in self._policies.items():
            stated = {each["type"]: each["status"] for each in (policy.get("status") or {}).get("conditions", ())}
            enforced.add_metric([name], float(stated.get("Enforced") == "True"))
        yield enforced


class _Waivers:
    def __init__(self, waivers: Store) -> None:
        self._waivers = waivers

    def collect(self) -> Iterator[Metric]:
        counted = GaugeMetricFamily(
            "bailiwick_waivers",
            "ResidencyWaivers by state: unapproved, waiting for their beginning, active, expired.",
            labels=["policy", "state"],
        )
        found = Tally((waiver["spec"]["policy"], _state(waiver)) for _, waiver in self._waivers.items())
        for labels, count in sorted(found.items()):
            counted.add_metric(labels, count)
        yield counted


def _state(waiver: Mapping[str, Any]) -> str:
    stated = {each["type"]: each["reason"] for each in (waiver.get("status") or {}).get("conditions", ())}
    return _WAIVER_STATES.get(stated.get("Active", ""), "unapproved")


class _Replicas:
    """The labels are not called `namespace` and `pod`: Prometheus gives these to the operator's own pod."""

    def __init__(self, models: Store) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        told = GaugeMetricFamily(
            "bailiwick_replica_info",
            "1 for every pod of a model that runs, with its node's jurisdiction; `unknown`: nobody vouches for it.",
            labels=["model_namespace", "model", "replica", "jurisdiction"],
        )
        for (namespace, name), model in self._models.items():
            for placement in (model.get("status") or {}).get("placements", ()):
                where = placement.get("jurisdiction", _NOWHERE)
                told.add_metric([namespace, name, placement["pod"], where], 1)
        yield told


class _Violations:
    def __init__(self, count: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._count = count

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "bailiwick_violations",
            "Pods, volumes and Services that violate a policy, by reason.",
            labels=["policy", "reason"],
        )
        for labels, count in self._count().items():
            family.add_metric(labels, count)
        yield family


class _Queue:
    def __init__(self, depth: Callable[[], Mapping[str, int]], running: Callable[[], Mapping[str, int]]) -> None:
        self._depth = depth
        self._running = running

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("bailiwick_queue_depth", "Keys that are due and wait.", labels=["loop"])
        running = GaugeMetricFamily("bailiwick_queue_running", "Keys being reconciled now.", labels=["loop"])
        for family, source in ((waiting, self._depth), (running, self._running)):
            for loop, count in source().items():
                family.add_metric([loop], count)
        yield from (waiting, running)
