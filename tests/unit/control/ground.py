"""A world for the tests of what the loops observe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.control.stores import Stores
from bailiwick.control.world import World
from bailiwick.workload.plan import Settings, plan_workload

if TYPE_CHECKING:
    from bailiwick.workload.eligibility import Eligibility

START = datetime(2026, 11, 21, tzinfo=UTC)
CPU = AcceleratorClass.read(
    {"metadata": {"name": "cpu"}, "spec": {"engines": [{"name": "vllm", "image": "registry.example/vllm"}]}}
)
MODEL = SovereignModel.read(
    {
        "metadata": {"name": "chat", "namespace": "clinic", "uid": "u"},
        "spec": {"model": {"name": "tiny", "source": {"oci": {"image": "registry.example/tiny:1"}}}},
    }
)


class Ground:
    """A world whose clock and objects the test sets."""

    def __init__(self) -> None:
        self.now = START
        self.stores = Stores()
        self.world = World(self.stores, clock=lambda: self.now, exempt=frozenset({"kube-system"}))
        self._version = 0

    def put(
        self, store: str, name: str, *, namespace: str = "", labels: dict[str, str] | None = None, **parts: Any
    ) -> None:
        self._version += 1
        metadata = {
            "name": name, "namespace": namespace, "uid": name, "resourceVersion": str(self._version),
            "labels": labels or {}, "generation": 1,
        }  # fmt: skip
        getattr(self.stores, store).apply_event("MODIFIED", {"metadata": metadata, **parts})

    def policy(self, name: str = "health", **place: Any) -> None:
        selector = {"matchLabels": {"data": "health"}}
        place = {"allow": ["DE"], "assurance": "Declared", **place}
        self.put("policies", name, spec={"namespaceSelector": selector, "place": place})

    def node(self, name: str = "n", labels: dict[str, str] | None = None) -> None:
        self.put("nodes", name, labels=labels, spec={}, status={"conditions": [{"type": "Ready", "status": "True"}]})

    def statement(self, name: str = "n", *, hours: float = 24) -> None:
        spec = {
            "node": {"name": name},
            "place": {"jurisdiction": "DE"},
            "issuedAt": f"{START:%Y-%m-%dT%H:%M:%SZ}",
            "expiresAt": f"{START + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}",
        }
        self.put("statements", f"about-{name}", spec=spec)

    def waiver(self, node: str = "n", *, hours: float = 2) -> None:
        spec = {
            "policy": "health",
            "requester": "anna",
            "node": {"name": node, "providerID": "bare://1"},
            "dimensions": ["place", "assurance"],
            "reason": "a test",
            "notBefore": f"{START:%Y-%m-%dT%H:%M:%SZ}",
            "expiresAt": f"{START + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}",
        }
        self.put("waivers", "w", spec=spec)

    def approval(self, by: str) -> None:
        spec = {"waiver": "w", "waiverUID": "w", "requester": "anna", "approver": by}
        self.put("approvals", by, spec=spec)

    def found(self) -> Eligibility:
        """As the model loop asks: policies first, and nobody else has looked at the facts."""
        return plan_workload(
            MODEL,
            policies=self.world.governing("clinic"),
            classes={"cpu": CPU},
            eligible=self.world.eligible,
            settings=Settings(gate_image="gate", weights_image="weights"),
        ).eligibility

    def eligible(self) -> tuple[str, ...]:
        return self.found().nodes
