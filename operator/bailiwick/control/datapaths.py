"""Volumes and Services of governed namespaces: judged by every sweep of the audit, and reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick.cluster import resources
from bailiwick.residency.audit import Step
from bailiwick.residency.datapaths import judge_service, judge_volume
from bailiwick.residency.rules import judge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.events import Events
    from bailiwick.control.world import World
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Outside:
    """A claim or Service that a policy does not allow; of a claim, its volume is judged."""

    policy: str
    verdict: Verdict
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def sentence(self) -> str:
        """For people."""
        what = "claim" if self.kind == resources.PERSISTENT_VOLUME_CLAIMS.kind else self.kind
        return f"{what} {self.namespace}/{self.name}: {self.verdict}"


class DataPaths:
    """What was found last."""

    def __init__(self, *, world: World, api: Api, events: Events) -> None:
        self._world = world
        self._api = api
        self._events = events
        self.outside: tuple[Outside, ...] = ()

    async def judge(self, policies: Mapping[str, CompiledPolicy], now: datetime) -> None:
        """PersistentVolumes behind claims, and Services: listed page by page, so that none of them is kept."""
        found: list[Outside] = []
        if policies:
            inside = self._inside(policies, now)
            async for volume in self._api.list(resources.PERSISTENT_VOLUMES):
                claim = volume["spec"].get("claimRef")
                for policy in self._world.governing(claim["namespace"]) if claim else ():
                    verdict = judge_volume(policy, volume, inside.get(policy.name, {}))
                    found += self._note(policy, volume, resources.PERSISTENT_VOLUME_CLAIMS.kind, claim, verdict)
            async for service in self._api.list(resources.SERVICES):
                metadata = service["metadata"]
                for policy in self._world.governing(metadata["namespace"]):
                    verdict = judge_service(policy, service)
                    found += self._note(policy, service, resources.SERVICES.kind, metadata, verdict)
        self.outside = tuple(found)

    def _inside(
        self, policies: Mapping[str, CompiledPolicy], now: datetime
    ) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """By policy, the labels of the nodes inside, by name."""
        facts = self._world.facts()
        labels = {name: node["metadata"].get("labels", {}) for (_, name), node in self._world.stores.nodes.items()}
        return {
            policy.name: {
                name: labels.get(name, {}) for name, fact in facts.items() if judge(policy, fact, now).allowed
            }
            for policy in policies.values()
        }  # fmt: skip

    def _note(self, policy: CompiledPolicy, raw: Raw, kind: str, named: Raw, verdict: Verdict) -> list[Outside]:
        if verdict.allowed:
            return []
        outside = Outside(policy.name, verdict, kind, named["namespace"], named["name"], named.get("uid", ""))
        if outside not in self.outside:
            self._events.post(raw, verdict.reason, verdict.message, action=Step.REPORT.word, warning=True)
        return [outside]
