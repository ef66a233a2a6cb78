"""What the loops observe: the stores, and what follows from them.

Nothing is remembered from an earlier reconcile. What is expensive to derive is kept together with the revisions of the
stores that it follows from, and derived again when one of them or the time made it old.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import ValidationError

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.authority import Authority
from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.residencywaiver import ResidencyWaiver, WaiverApproval
from bailiwick.api.resource import Resource, first_problem
from bailiwick.evidence.statements import Authorities
from bailiwick.residency.endpoints import judge_endpoint
from bailiwick.residency.facts import gather_all
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_policy, compile_residency, governing, may_govern
from bailiwick.residency.provenance import with_provenance
from bailiwick.residency.waivers import with_waivers
from bailiwick.workload.eligibility import eligibility

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from bailiwick.api.modelsource import ProfileReference
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.cluster.store import Store
    from bailiwick.control.stores import Stores
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy, Limits
    from bailiwick.workload.eligibility import Eligibility, Need

T = TypeVar("T")
R = TypeVar("R", bound=Resource)

logger = logging.getLogger(__name__)


class Derived(Generic[T]):
    """A value that follows from stores, and the moment until which it holds without a change in them."""

    def __init__(self, compute: Callable[[datetime], tuple[T, datetime | None]], *sources: Store) -> None:
        self._compute = compute
        self._sources = sources
        self._seen: tuple[int, ...] | None = None
        self._until: datetime | None = None
        self._value: T
        self.revision = 0

    def at(self, now: datetime) -> T:
        """The value as of now."""
        seen = tuple(source.revision for source in self._sources)
        if seen != self._seen or (self._until and now >= self._until):
            self._value, self._until = self._compute(now)
            self._seen = seen
            self.revision += 1
        return self._value


class World:
    """What is true now, as far as the stores know. ``exempt`` are namespaces that no policy can govern."""

    def __init__(self, stores: Stores, *, clock: Callable[[], datetime], exempt: frozenset[str]) -> None:
        self.stores = stores
        self.clock = clock
        self.exempt = exempt
        self._waivers = Derived(lambda _: (_read_all(ResidencyWaiver, stores.waivers), None), stores.waivers)
        self._approvals = Derived(self._approve, stores.approvals)
        self._read = Derived(lambda _: (_sort_out(ResidencyPolicy, stores.policies), None), stores.policies)
        compiled_from = (stores.policies, stores.jurisdictions, stores.waivers, stores.approvals)
        self._policies = Derived(self._compile, *compiled_from)
        self._gateways = Derived(self._classes_of_gateways, stores.gateways)
        self._governing = Derived(self._govern, *compiled_from, stores.namespaces)
        self._classes = Derived(lambda _: (_read_all(AcceleratorClass, stores.classes), None), stores.classes)
        self._authorities = Derived(self._authorise, stores.authorities, stores.jurisdictions)
        self._facts = Derived(
            self._gather, stores.nodes, stores.statements, stores.authorities, stores.jurisdictions, stores.classes
        )
        self._endpoints = Derived(lambda _: (_read_all(EndpointStatement, stores.endpoints), None), stores.endpoints)
        self._eligible: dict[object, Eligibility] = {}
        self._eligible_as_of: tuple[int, ...] = ()

    def policies(self) -> Mapping[str, CompiledPolicy]:
        """Every policy, compiled together with the approved ones of its waivers, by name."""
        return self._policies.at(self.clock())

    def unreadable(self) -> Mapping[str, str]:
        """Policies that this release cannot read, by name, and why."""
        return self._read.at(self.clock())[1]

    def unreadable_over(self, namespace: str) -> list[str]:
        """Those of them that may govern a namespace: there nothing is decided by what the others allow."""
        if not (unreadable := self.unreadable()):
            return []
        there = self.stores.namespaces.get(("", namespace))
        if there is None:  # too new for the store, so nobody knows its labels
            return sorted(unreadable.keys()) if namespace not in self.exempt else []
        labels = there["metadata"].get("labels", {})
        return [
            name
            for name in sorted(unreadable)
            if may_govern(self.stores.policies.get(("", name)) or {}, namespace, labels, exempt=self.exempt)
        ]

    def waivers(self) -> Mapping[str, ResidencyWaiver]:
        """Every waiver, approved or not, by name."""
        return self._waivers.at(self.clock())

    def approvals(self) -> Mapping[str, Sequence[WaiverApproval]]:
        """Every approval, by the name of the waiver that it speaks of."""
        return self._approvals.at(self.clock())

    def facts(self) -> Mapping[str, NodeFacts]:
        """What is believed about every node and the devices that it shows, by name."""
        return self._facts.at(self.clock())

    def classes(self) -> Mapping[str, AcceleratorClass]:
        """Every AcceleratorClass, by name."""
        return self._classes.at(self.clock())

    def authorities(self) -> Mapping[str, Authority]:
        """Every Authority, by name."""
        return self._authorities.at(self.clock()).by_name

    def gateway_classes(self) -> Mapping[tuple[str, str], str]:
        """The class of every Gateway, by its namespace and name."""
        return self._gateways.at(self.clock())

    def atlas(self) -> Atlas:
        """The named jurisdictions."""
        return Atlas(_read_all(Jurisdiction, self.stores.jurisdictions).values())

    def governing(self, namespace: str) -> tuple[CompiledPolicy, ...]:
        """The policies that govern a namespace, sorted by name; none for a namespace that is not there."""
        return self._governing.at(self.clock()).get(namespace, ())

    def governed(self, policy: CompiledPolicy) -> list[str]:
        """Names of the namespaces that a policy governs."""
        return [name for name, policies in self._governing.at(self.clock()).items() if policy in policies]

    def profiles(self, model: SovereignModel) -> Mapping[ProfileReference, str]:
        """The texts of the profiles that a model and its variants name, as far as they are there."""
        found: dict[ProfileReference, str] = {}
        for where in (each.profile for each in model.spec.model.every if each.profile):
            there = self.stores.profiles.get((str(model.metadata.namespace), where.config_map))
            if there and isinstance(text := there["data"].get(where.key), str):
                found[where] = text
        return found

    def limits(self, model: SovereignModel, policies: Sequence[CompiledPolicy]) -> tuple[Limits, ...]:
        """Everything that a model's nodes are judged by: the policies, and its own residency."""
        own = model.spec.residency
        return (*policies, compile_residency(own, self.atlas(), by="the model")) if own else tuple(policies)

    def endpoint(self, model: SovereignModel, policies: Sequence[CompiledPolicy]) -> JudgedEndpoint | None:
        """The server outside that a model's source names, judged by everything that its nodes are judged by.

        None where it names none, and where nobody stated anything of it.
        """
        source = model.spec.model.endpoint
        if source is None:
            return None
        now = self.clock()
        statements, vouching = self._endpoints.at(now).values(), self._authorities.at(now).vouching(now)
        return judge_endpoint(source.statement, statements, self.limits(model, policies), now, vouching=vouching)

    def eligible(self, model: SovereignModel, policies: Sequence[CompiledPolicy], need: Need) -> Eligibility:
        """Which nodes could take a replica. Models that ask the same share one answer."""
        facts = self.facts().values()  # before the revisions are compared: they move only when somebody asks
        as_of = (self._policies.revision, self._facts.revision, self._classes.revision)
        if as_of != self._eligible_as_of:
            self._eligible.clear()
            self._eligible_as_of = as_of
        asked = (tuple(policy.name for policy in policies), model.spec.residency, need.key)
        now, known = self.clock(), self._eligible.get(asked)
        if known is None or (known.until and now >= known.until):
            known = self._eligible[asked] = eligibility(
                policies, model.spec.residency, need, facts, atlas=self.atlas(), now=now
            )
        return known

    def _compile(self, now: datetime) -> tuple[Mapping[str, CompiledPolicy], None]:
        atlas = self.atlas()
        waivers, approvals = self.waivers().values(), [each for about in self.approvals().values() for each in about]
        return {
            name: with_waivers(compile_policy(policy, atlas), waivers, approvals, atlas)
            for name, policy in self._read.at(now)[0].items()
        }, None

    def _approve(self, _: datetime) -> tuple[Mapping[str, Sequence[WaiverApproval]], None]:
        about: defaultdict[str, list[WaiverApproval]] = defaultdict(list)
        for approval in _read_all(WaiverApproval, self.stores.approvals).values():
            about[approval.spec.waiver].append(approval)
        return dict(about), None

    def _govern(self, _: datetime) -> tuple[Mapping[str, tuple[CompiledPolicy, ...]], None]:
        policies = self.policies().values()
        return {
            name: governing(policies, name, namespace["metadata"].get("labels", {}), exempt=self.exempt)
            for (_, name), namespace in self.stores.namespaces.items()
        }, None

    def _classes_of_gateways(self, _: datetime) -> tuple[Mapping[tuple[str, str], str], None]:
        return {key: raw["spec"]["gatewayClassName"] for key, raw in self.stores.gateways.items()}, None

    def _authorise(self, _: datetime) -> tuple[Authorities, None]:
        return Authorities.of(_read_all(Authority, self.stores.authorities).values(), self.atlas()), None

    def _gather(self, now: datetime) -> tuple[Mapping[str, NodeFacts], datetime | None]:
        nodes = [read_node(raw) for _, raw in sorted(self.stores.nodes.items(), key=lambda item: item[0])]
        statements = _read_all(NodeStatement, self.stores.statements).values()
        vouching = self._authorities.at(now).vouching(now)
        facts = [
            with_provenance(each, self.classes().values())
            for each in gather_all(nodes, statements, now, vouching=vouching)
        ]
        changes = [fact.next_change for fact in facts if fact.next_change]
        return {fact.name: fact for fact in facts}, min(changes, default=None)


def _read_all(kind: type[R], store: Store) -> dict[str, R]:
    """All objects of a cluster-scoped kind by name. One that cannot be read is left out: what it says is unknown."""
    return _sort_out(kind, store)[0]


def _sort_out(kind: type[R], store: Store) -> tuple[dict[str, R], dict[str, str]]:
    """The objects of a cluster-scoped kind that can be read, by name, and why the others cannot."""
    read: dict[str, R] = {}
    unreadable: dict[str, str] = {}
    for (_, name), raw in store.items():
        try:
            read[name] = kind.read(raw)
        except ValidationError as error:
            unreadable[name] = first_problem(error)
            logger.warning("%s %s cannot be read: %s", kind.__name__, name, unreadable[name])
    return read, unreadable
