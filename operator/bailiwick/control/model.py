"""The model loop: SovereignModel → Deployment, Service, ServiceAccount, NetworkPolicy, PodDisruptionBudget, status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError
from bailiwick.control.stores import BY_IMPORT, BY_MODEL
from bailiwick.residency.rules import judge_all
from bailiwick.workload.imported import done
from bailiwick.workload.plan import plan_workload
from bailiwick.workload.status import Seen, summarise, summarise_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.store import Key
    from bailiwick.control.status import StatusWriter
    from bailiwick.control.world import World
    from bailiwick.control.writer import Writer
    from bailiwick.residency.policies import Limits
    from bailiwick.workload.plan import Settings, WorkloadPlan


class ModelLoop:
    """Reconciles one SovereignModel by (namespace, name). Owner references clean up after a deleted one."""

    def __init__(self, *, world: World, writer: Writer, status: StatusWriter, settings: Settings) -> None:
        self._world = world
        self._writer = writer
        self._status = status
        self._settings = settings

    def keys(self) -> list[Key]:
        """Every model that is there."""
        return self._world.stores.models.keys()

    async def reconcile(self, key: Key) -> float | None:
        """Bring the children and the status of one model in line; seconds until time alone changes where it may run."""
        manifest = self._world.stores.models.get(key)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return None
        now = self._world.clock()
        try:
            model = SovereignModel.read(manifest)
        except ValidationError as error:
            status = summarise_unreadable(manifest, str(error), now=now)
            await self._status.write(resources.SOVEREIGN_MODELS, manifest, status)
            return None
        policies = self._world.governing(key[0])
        plan = plan_workload(
            model,
            policies=policies,
            classes=self._world.classes(),
            eligible=self._world.eligible,
            settings=self._settings,
            profile=self._world.profile(model),
            authorities=self._world.authorities(),
        )
        failure = await self._make(key, plan)
        limits = self._world.limits(model, policies)
        status = summarise(model, plan, self._seen(key, manifest, limits, failure), now=now)
        await self._status.write(resources.SOVEREIGN_MODELS, manifest, status)
        if failure:
            raise failure
        until = plan.eligibility.until
        return max((until - now).total_seconds(), 0.0) if until else None

    async def _make(self, key: Key, plan: WorkloadPlan) -> ApiError | None:
        """Apply the children in their order. A failure is returned, so that the status tells it before it is raised."""
        try:
            for manifest in plan.due(done(self._jobs(key))):
                await self._writer.apply(manifest)
            if plan.verdict.allowed:
                await self._forget(key, plan)
        except ApiError as error:
            return error
        return None

    async def _forget(self, key: Key, plan: WorkloadPlan) -> None:
        """Take away Jobs that the plan knows no more: they import what nobody asks for, or where it may not be."""
        wanted = {each.job for each in plan.awaited}
        for job in self._jobs(key):
            name = job["metadata"]["name"]
            if name not in wanted:
                await self._writer.delete(resources.JOBS, name, key[0])

    def _jobs(self, key: Key) -> list[Raw]:
        store = self._world.stores.jobs
        return [job for each in store.find(BY_MODEL, key) if (job := store.get(each))]

    def _seen(self, key: Key, manifest: Raw, limits: Sequence[Limits], failure: ApiError | None) -> Seen:
        stores, facts = self._world.stores, self._world.facts()
        pods = [pod for each in stores.pods.find(BY_MODEL, key) if (pod := stores.pods.get(each))]
        nodes = {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}
        now = self._world.clock()
        verdicts = {name: judge_all(limits, facts[name], now) for name in nodes if name in facts}
        return Seen(
            manifest=manifest,
            deployment=stores.deployments.get(key),
            pods=pods,
            facts=facts,
            outside={name: verdict for name, verdict in verdicts.items() if not verdict.allowed},
            failure=str(failure) if failure else None,
            jobs=self._jobs(key),
            importers=[pod for each in stores.pods.find(BY_IMPORT, key) if (pod := stores.pods.get(each))],
        )
