"""The territory loop: policies and nodes → node labels, Territories, bindings, governed namespaces, policy status."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError, NotFound
from bailiwick.cluster.exact import Fault
from bailiwick.control.policy_status import summarise, summarise_unreadable
from bailiwick.residency import border, egress
from bailiwick.residency.facts import seconds_until
from bailiwick.residency.territories import (
    GOVERNED_LABEL,
    RESIDENT,
    compile_territory,
    label_of,
    manifest_of,
    narrowed,
    opened_before,
)
from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bailiwick.api.residencypolicy import Egress
    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.store import Key
    from bailiwick.control.alarm import Alarm
    from bailiwick.control.status import StatusWriter
    from bailiwick.control.world import World
    from bailiwick.control.writer import Writer
    from bailiwick.residency.audit import Audited
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.residency.proofs import Proof
    from bailiwick.residency.territories import CompiledTerritory

UNBOUND_SECONDS = 2.0
"""For about a second after a binding is gone, API servers act by it: so long a Territory has to be there for it."""


class TerritoryLoop:
    """Reconciles one policy by name. Keys are names of policies, of those that are gone too.

    ``proof`` is what the canary found last about a policy, ``audited`` what the audit did. Only this loop writes the
    status of policies. ``alarm`` is raised when somebody took something of a border away that stood, or changed it.
    ``pins`` says whether the API server serves what pins pods.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        world: World,
        writer: Writer,
        status: StatusWriter,
        proof: Callable[[str], Proof | None],
        audited: Callable[[CompiledPolicy], Audited | None],
        alarm: Alarm,
        pins: Callable[[], bool],
    ) -> None:
        self._world = world
        self._proof = proof
        self._alarm = alarm
        self._pins = pins
        self._writer = writer
        self._status = status
        self._audited = audited
        self._judged: dict[str, tuple[object, Mapping[str, NodeFacts]]] = {}

    def keys(self) -> set[str]:
        """Every policy that is there or left something behind: a border outlives its policy until it is withdrawn."""
        stores = self._world.stores
        bindings = (stores.validating_bindings, stores.mutating_bindings)
        return {
            *(name for store in (stores.policies, stores.territories) for _, name in store.keys()),  # noqa: SIM118
            *(policy for _, node in stores.nodes.items() for policy in _policies_on(node)),
            *(policy for store in bindings for _, binding in store.items() if (policy := border.policy_of(binding))),
        }

    def judged(self, policy: CompiledPolicy, node: str) -> bool:
        """Whether the Territory in force was made by the policy as it is, from what is believed about a node now."""
        spec, facts = self._judged.get(policy.name, (None, {}))
        return spec == policy.spec and facts.get(node) == self._world.facts().get(node)

    async def reconcile(self, name: str) -> float | None:
        """Bring the border of one policy in line with the world; seconds until time alone changes it."""
        policy = self._world.policies().get(name)
        if policy is None:
            manifest = self._world.stores.policies.get(("", name))
            if manifest is not None:
                return await self._stand(name, manifest)
            await self._withdraw(name)
            return None
        schedulers = {each.spec.scheduler_name or "" for each in self._world.classes().values()} - {""}
        facts = self._world.facts()
        territory = compile_territory(policy, facts.values(), self._world.clock(), schedulers=schedulers)
        try:
            await self._enforce(policy, territory, facts)
            await self._mark_namespaces()
            await self._close_namespaces(self._world.governed(policy))
        except ApiError as error:
            await self._tell(policy, territory, failure=error)
            raise
        await self._tell(policy, territory)
        return territory.look_again_in

    async def _enforce(
        self, policy: CompiledPolicy, territory: CompiledTerritory, facts: Mapping[str, NodeFacts]
    ) -> None:
        # A node is labelled before it enters the Territory and leaves it before its label goes: at no moment does the
        # Territory admit a node that the scheduler would not also take for inside. A binding never stands without it.
        label = label_of(policy.name)
        inside, labelled = territory.nodes.keys(), self._nodes_with(label)
        pinned = {name for name, value in labelled.items() if value == RESIDENT}
        await self._writer.label(resources.NODES, inside - pinned, label, RESIDENT)
        stood = self._stood(policy.name)
        written = await self._writer.apply(territory.manifest)
        self._judged[policy.name] = (policy.spec, facts)
        if written and written.drift.editors:
            self._alarm.repaired(territory.manifest, Fault.CHANGED, [policy.name])
        await self._writer.label(resources.NODES, labelled.keys() - inside, label, None)
        wanted = border.bindings(policy, exempt=self._world.exempt, pins=self._pins())
        await self._bind(policy.name, wanted, stood=stood)
        await self._remove_bindings(policy.name, keep={_identity(binding) for binding in wanted})

    async def _stand(self, name: str, manifest: Raw) -> float | None:
        """Tell that a policy cannot be read, and let nothing in or out that its border, as it was drawn, does not."""
        await self._tell_unreadable(name, manifest)
        namespaces = [each for _, each in self._world.stores.namespaces.keys()]  # noqa: SIM118 - a Store
        await self._mark_namespaces()
        await self._close_namespaces(each for each in namespaces if name in self._world.unreadable_over(each))
        territory, facts = self._world.stores.territories.get(("", name)), self._world.facts()
        if territory is None:
            return None
        spec = narrowed(territory["spec"], facts)
        await self._writer.apply(manifest_of(name, spec))
        label = label_of(name)
        await self._writer.label(resources.NODES, self._nodes_with(label).keys() - spec["nodes"].keys(), label, None)
        moments = [moment for each in spec["nodes"] if (moment := facts[each].next_change)]
        return seconds_until(moments, self._world.clock())

    async def _bind(self, name: str, wanted: Iterable[Raw], *, stood: bool) -> None:
        """Write bindings in their order. One that is refused (as while its policy is gone) holds up no other."""
        errors: list[ApiError] = []
        every = border.namespaces_binding(exempt=self._world.exempt)
        for binding in (*wanted, every):
            try:
                fault = await self._writer.keep(binding)
            except ApiError as error:
                errors.append(error)
                continue
            if fault and stood:
                concerned = [name] if border.policy_of(binding) else list(self._world.policies())
                self._alarm.repaired(binding, fault, concerned)
        if errors:
            raise errors[0]

    def _stood(self, name: str) -> bool:
        """Whether we were done with this version of the policy before: what is missing now was taken away since."""
        manifest = self._world.stores.policies.get(("", name)) or {"metadata": {}}
        status = manifest.get("status") or {}
        unread = any(each["reason"] == Reason.INVALID_POLICY for each in status.get("conditions", ()))
        return not unread and bool(status.get("observedGeneration", 0) == manifest["metadata"].get("generation"))

    async def _withdraw(self, name: str) -> None:
        self._judged.pop(name, None)
        # Namespaces first: without any Territory their guard refuses every change of a label. Then the reverse of
        # `_enforce`: bindings, what they refer to, what pods refer to.
        await self._mark_namespaces()
        await self._remove_bindings(name, keep=set())
        await self._close_namespaces(namespace for namespace, _ in self._closing())
        await self._unguard_namespaces()
        await self._writer.delete(resources.TERRITORIES, name)
        label = label_of(name)
        await self._writer.label(resources.NODES, self._nodes_with(label), label, None)

    async def _unguard_namespaces(self) -> None:
        """The guard goes before the last Territory does, or before all of those that go at once."""
        stores = self._world.stores
        lasts = any(key in stores.policies for key in stores.territories.keys())  # noqa: SIM118 - a Store
        if not lasts and ("", border.NAMESPACES_BINDING) in stores.validating_bindings:
            await self._writer.delete(resources.VALIDATING_BINDINGS, border.NAMESPACES_BINDING)
            await asyncio.sleep(UNBOUND_SECONDS)

    async def _mark_namespaces(self) -> None:
        """One label tells the API server, which cannot evaluate all selectors in one expression, who is governed."""
        stores = self._world.stores
        marked, wanted = set(), set()
        for (_, name), namespace in stores.namespaces.items():
            if namespace["metadata"].get("labels", {}).get(GOVERNED_LABEL) == "true":
                marked.add(name)
            if self._world.governing(name) or self._world.unreadable_over(name):
                wanted.add(name)
        await self._writer.label(resources.NAMESPACES, wanted - marked, GOVERNED_LABEL, "true")
        await self._writer.label(resources.NAMESPACES, marked - wanted, GOVERNED_LABEL, None)

    async def _close_namespaces(self, governed: Iterable[str]) -> None:
        """Write what pods may reach in these namespaces, and in those that nobody governs any more.

        NetworkPolicies add up, so each namespace takes all of its policies at once. Of one that cannot be read, what it
        opened when it could counts.
        """
        ours = self._closing()
        namespaces = {*governed, *(namespace for namespace, _ in ours if not self._world.governing(namespace))}
        wanted = {
            (namespace, manifest["metadata"]["name"]): manifest
            for namespace in namespaces
            for manifest in egress.network_policies(
                namespace, self._world.governing(namespace), self._opened_before(namespace)
            )
        }
        await self._writer.apply_all(wanted.values(), unless=_ending)
        for namespace, name in ours - wanted.keys():
            if namespace in namespaces:
                await self._writer.delete(resources.NETWORK_POLICIES, name, namespace)

    def _opened_before(self, namespace: str) -> list[tuple[Egress, ...]]:
        """What those open in a namespace that cannot be read, by the Territories that were drawn when they could."""
        stores = self._world.stores
        found = (
            opened_before(stores.policies.get(("", name)) or {}, stores.territories.get(("", name)))
            for name in self._world.unreadable_over(namespace)
        )
        return [each for each in found if each is not None]

    def _closing(self) -> set[Key]:
        """The NetworkPolicies by which namespaces are closed."""
        keys = self._world.stores.network_policies.keys()
        return {key for key in keys if key[1] in (egress.CLOSED, egress.EGRESS)}

    async def _remove_bindings(self, policy: str, *, keep: set[tuple[str, str]]) -> None:
        stores = self._world.stores
        for store in (stores.validating_bindings, stores.mutating_bindings):
            for (_, name), binding in store.items():
                if border.policy_of(binding) == policy and _identity(binding) not in keep:
                    await self._writer.delete(store.resource, name)

    async def _tell(
        self, policy: CompiledPolicy, territory: CompiledTerritory, failure: ApiError | None = None
    ) -> None:
        manifest = self._world.stores.policies.get(("", policy.name))
        if manifest is None:
            return
        namespaces = len(self._world.governed(policy))
        now = self._world.clock()
        status = summarise(
            manifest, policy, territory,
            namespaces=namespaces, failure=failure, proof=self._proof(policy.name), now=now,
            audited=self._audited(policy), pinned=("", border.PIN) in self._world.stores.mutating_policies,
        )  # fmt: skip
        await self._status.write(resources.RESIDENCY_POLICIES, manifest, status)

    async def _tell_unreadable(self, name: str, manifest: Raw) -> None:
        status = summarise_unreadable(manifest, self._world.unreadable()[name], now=self._world.clock())
        await self._status.write(resources.RESIDENCY_POLICIES, manifest, status)

    def _nodes_with(self, label: str) -> dict[str, str]:
        labels = {name: node["metadata"].get("labels", {}) for (_, name), node in self._world.stores.nodes.items()}
        return {name: found[label] for name, found in labels.items() if label in found}


def _ending(error: BaseException) -> bool:
    """Whether a namespace ends or is gone: nothing can be made there, nor need it be."""
    causes = error.details.get("causes") or () if isinstance(error, ApiError) else ()
    return isinstance(error, NotFound) or any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def _identity(binding: Raw) -> tuple[str, str]:
    return binding["kind"], binding["metadata"]["name"]


def _policies_on(node: Raw) -> Iterable[str]:
    prefix = label_of("")
    return (label.removeprefix(prefix) for label in node["metadata"].get("labels", {}) if label.startswith(prefix))
