"""The model loop: SovereignModel → its children, none that it no longer wants, and its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from bailiwick.api.resource import first_problem
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError
from bailiwick.control.stores import BY_IMPORT, BY_MODEL
from bailiwick.residency.facts import seconds_until
from bailiwick.residency.rules import judge_all
from bailiwick.workload import external
from bailiwick.workload.imported import done
from bailiwick.workload.plan import plan_workload
from bailiwick.workload.status import Seen, summarise, summarise_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.resources import Resource
    from bailiwick.cluster.store import Key
    from bailiwick.control.gates import Gates
    from bailiwick.control.offered import Offered
    from bailiwick.control.status import StatusWriter
    from bailiwick.control.world import World
    from bailiwick.control.writer import Writer
    from bailiwick.residency.policies import Limits
    from bailiwick.workload.plan import Settings, WorkloadPlan


class ModelLoop:
    """Reconciles one SovereignModel by (namespace, name). Owner references clean up after a deleted one."""

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        world: World,
        writer: Writer,
        status: StatusWriter,
        settings: Settings,
        offered: Offered,
        gates: Gates,
    ) -> None:
        self._world = world
        self._writer = writer
        self._status = status
        self._settings = settings
        self._offered = offered
        self._gates = gates

    def keys(self) -> list[Key]:
        """Every model that is there."""
        return self._world.stores.models.keys()

    async def reconcile(self, key: Key) -> float | None:
        """Bring the children and the status of one model in line; seconds until time alone changes where it may run."""
        manifest = self._world.stores.models.get(key)
        if manifest is None:
            return None
        if manifest["metadata"].get("deletionTimestamp"):
            await self._gates.end(key, {})  # a finalizer may hold it for long, and nobody judges its endpoint then
            return None
        now = self._world.clock()
        try:
            model = SovereignModel.read(manifest)
        except ValidationError as error:
            await self._gates.end(key, {})
            status = summarise_unreadable(manifest, first_problem(error), now=now)
            await self._status.write(resources.SOVEREIGN_MODELS, manifest, status)
            return None
        policies = self._world.governing(key[0])
        endpoint = self._world.endpoint(model, policies)
        plan = plan_workload(
            model,
            policies=policies,
            unreadable=self._world.unreadable_over(key[0]),
            classes=self._world.classes(),
            eligible=self._world.eligible,
            settings=self._settings,
            profiles=self._world.profiles(model),
            authorities=self._world.authorities(),
            offered=self._offered.kinds,
            gateways=self._world.gateway_classes() if model.spec.serving.gateway else None,
            endpoint=endpoint,
        )
        failure = await self._make(key, model.metadata.uid, plan)
        limits = self._world.limits(model, policies)
        status = summarise(model, plan, self._seen(key, manifest, limits, failure), now=now)
        await self._status.write(resources.SOVEREIGN_MODELS, manifest, status)
        if failure:
            raise failure
        moments = [each for each in (plan.eligibility.until, endpoint and endpoint.until) if each]
        return seconds_until(moments, now)

    async def _make(self, key: Key, uid: str, plan: WorkloadPlan) -> ApiError | None:
        """Remove children that are no longer wanted, and apply the others in their order.

        Removal comes first, or two would scale one model, and two would hold its devices. Of a refused plan nothing is
        removed but gates that lead outside. A failure is returned, so that the status tells it before it is raised.
        """
        try:
            await self._gates.end(key, external.labels(plan.endpoint))
            for resource, child in self._unwanted(key, uid, plan):
                await self._writer.remove(resource, child)
            for manifest in plan.due(done(self._jobs(key))):
                await self._writer.apply(manifest)
        except ApiError as error:
            return error
        return None

    def _jobs(self, key: Key) -> list[Raw]:
        store = self._world.stores.jobs
        return [job for each in store.find(BY_MODEL, key) if (job := store.get(each))]

    def _unwanted(self, key: Key, uid: str, plan: WorkloadPlan) -> list[tuple[Resource, Raw]]:
        """Objects that bear the model's label and have it as their controller, but are not in the plan.

        The label alone is not enough: others copy labels, as KEDA does to what it makes of a ScaledObject.
        """
        if not plan.objects:
            return []
        wanted = {(each["kind"], each["metadata"]["name"]) for each in plan.objects}
        return [
            (store.resource, child)
            for store in self._world.stores.children
            for each in store.find(BY_MODEL, key)
            if (store.resource.kind, each[1]) not in wanted
            and (child := store.get(each))
            and not child["metadata"].get("deletionTimestamp")
            and any(owner["uid"] == uid and owner.get("controller") for owner in _owners(child))
        ]

    def _groups(self, key: Key) -> Raw | None:
        """The LeaderWorkerSet of a model whose replicas are groups."""
        store = self._world.stores.leader_worker_sets
        return next((found for each in store.find(BY_MODEL, key) if (found := store.get(each))), None)

    def _seen(self, key: Key, manifest: Raw, limits: Sequence[Limits], failure: ApiError | None) -> Seen:
        stores, facts = self._world.stores, self._world.facts()
        pods = [pod for each in stores.pods.find(BY_MODEL, key) if (pod := stores.pods.get(each))]
        nodes = {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}
        now = self._world.clock()
        verdicts = {name: judge_all(limits, facts[name], now) for name in nodes if name in facts}
        return Seen(
            manifest=manifest,
            deployment=stores.deployments.get(key) or self._groups(key),
            scaler=stores.autoscalers.get(key) or stores.scaled_objects.get(key),
            pods=pods,
            facts=facts,
            outside={name: verdict for name, verdict in verdicts.items() if not verdict.allowed},
            failure=str(failure) if failure else None,
            jobs=self._jobs(key),
            importers=[pod for each in stores.pods.find(BY_IMPORT, key) if (pod := stores.pods.get(each))],
        )


def _owners(manifest: Raw) -> Iterable[Raw]:
    owners: Iterable[Raw] = manifest["metadata"].get("ownerReferences") or ()
    return owners
