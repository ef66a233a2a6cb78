"""What the checks know: stores that our own list and watch fill, and single objects asked for when they are needed.

Everything here is either current or an error: a store that nobody confirmed for a while, or a lookup that failed, never
means "there is none".
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.authority import Authority
from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.residencywaiver import ResidencyWaiver, WaiverApproval
from bailiwick.api.resource import Resource as CustomResource
from bailiwick.api.resource import first_problem
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cluster import resources, trim
from bailiwick.cluster.errors import ApiError, NotFound
from bailiwick.cluster.listwatch import Feed
from bailiwick.cluster.resources import Resource
from bailiwick.cluster.store import Store
from bailiwick.evidence.statements import Authorities
from bailiwick.residency.endpoints import judge_endpoint
from bailiwick.residency.facts import gather_all
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_policy, governing, may_govern
from bailiwick.residency.provenance import with_provenance
from bailiwick.residency.verdict import Reason
from bailiwick.residency.waivers import with_waivers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from bailiwick.admission.review import User
    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.pace import Pace
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.residency.facts import NodeFacts
    from bailiwick.residency.policies import CompiledPolicy, Limits

R = TypeVar("R", bound=CustomResource)

STALE_SECONDS = 150.0
"""A watch is confirmed every minute by a bookmark, and given up after 90 s of silence."""
AGAIN = "try again, and if it stays so, see in the log of bailiwick-admission why the API server does not answer it"
LOOKUP_SECONDS = 1.5
"""One lookup; two of them still fit into the three seconds that the API server waits."""
_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)

logger = logging.getLogger(__name__)


class LookupFailedError(Exception):
    """Something that decides could not be known now. Where it decides, that is a refusal."""

    reason = Reason.LOOKUP_FAILED
    cure = AGAIN


class UnreadablePolicyError(LookupFailedError):
    """A policy that may decide cannot be read, so nobody knows what it asks."""

    reason = Reason.INVALID_POLICY
    cure = "correct the policy as its status says"


class Known:
    """The cluster as far as it is known. ``exempt`` are namespaces that no policy can govern."""

    def __init__(self, *, api: Api, pace: Pace, now: Callable[[], datetime], exempt: frozenset[str]) -> None:
        self._api = api
        self._pace = pace
        self.now = now
        self.exempt = exempt
        self._policies = Store(resources.RESIDENCY_POLICIES, trim=trim.whole)
        self._jurisdictions = Store(resources.JURISDICTIONS, trim=trim.whole)
        self._statements = Store(resources.NODE_STATEMENTS, trim=trim.whole)
        self._endpoints = Store(resources.ENDPOINT_STATEMENTS, trim=trim.whole)
        self._authorities = Store(resources.AUTHORITIES, trim=trim.whole)
        self._waivers = Store(resources.RESIDENCY_WAIVERS, trim=trim.whole)
        self._approvals = Store(resources.WAIVER_APPROVALS, trim=trim.whole)
        self._classes = Store(resources.ACCELERATOR_CLASSES, trim=trim.whole)
        self._models = Store(resources.SOVEREIGN_MODELS, trim=trim.whole)
        self._nodes = Store(resources.NODES, trim=trim.node)
        self._namespaces = Store(resources.NAMESPACES, trim=trim.labelled)
        self._facts: tuple[tuple[int, ...], datetime | None, dict[str, NodeFacts]] | None = None
        self._read: dict[str, tuple[int, Mapping[str, Any]]] = {}

    @property
    def stores(self) -> tuple[Store, ...]:
        """Every store that `feed` fills."""
        return (
            self._policies, self._jurisdictions, self._statements, self._endpoints, self._authorities, self._waivers,
            self._approvals, self._classes, self._models, self._nodes, self._namespaces,
        )  # fmt: skip

    async def feed(self) -> None:
        """Keep all stores current, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for store in self.stores:
                feed = Feed(api=self._api, store=store, on_list=lambda _: None, pace=self._pace)
                tasks.create_task(feed.list_and_watch(lambda _: None))

    def stale(self) -> list[str]:
        """Kinds that are not known, or not lately."""
        now = self._pace.clock()
        return sorted(store.resource.plural for store in self.stores if store.age(now) > STALE_SECONDS)

    def jurisdictions(self) -> Mapping[str, Jurisdiction]:
        """Every Jurisdiction by the name of its object."""
        return self._read_all(Jurisdiction, self._jurisdictions)

    def atlas(self) -> Atlas:
        """The named jurisdictions."""
        return Atlas(self.jurisdictions().values())

    def policies(self) -> Mapping[str, ResidencyPolicy]:
        """Every policy by name."""
        return self._read_all(ResidencyPolicy, self._policies)

    def require_readable_policies(self) -> None:
        """Raises UnreadablePolicyError while there is a policy that cannot be read."""
        for name, _ in self._unreadable():
            raise UnreadablePolicyError(f"policy {name} cannot be read, so nobody knows what it names")

    def _unreadable(self) -> Iterator[tuple[str, Raw]]:
        read = self.policies()
        return ((name, raw) for (_, name), raw in self._policies.items() if name not in read)

    def compiled(self, policy: ResidencyPolicy, atlas: Atlas) -> CompiledPolicy:
        """A policy together with the approved ones of its waivers."""
        waivers = self._read_all(ResidencyWaiver, self._waivers).values()
        approvals = self._read_all(WaiverApproval, self._approvals).values()
        return with_waivers(compile_policy(policy, atlas), waivers, approvals, atlas)

    def classes(self) -> Mapping[str, AcceleratorClass]:
        """Every AcceleratorClass by name."""
        return self._read_all(AcceleratorClass, self._classes)

    def authorities(self) -> Mapping[str, Authority]:
        """Every Authority by name."""
        return self._read_all(Authority, self._authorities)

    def models(self) -> list[SovereignModel]:
        """Every model."""
        return list(self._read_all(SovereignModel, self._models).values())

    def facts(self) -> Mapping[str, NodeFacts]:
        """What is believed about every node and the devices that it shows, by name."""
        sources = (self._nodes, self._statements, self._authorities, self._jurisdictions, self._classes)
        self._fresh(*sources)
        now, revisions = self.now(), tuple(store.revision for store in sources)
        if self._facts is None or self._facts[0] != revisions or (self._facts[1] and now >= self._facts[1]):
            authorities = Authorities.of(self._read_all(Authority, self._authorities).values(), self.atlas())
            nodes = [read_node(raw) for _, raw in self._nodes.items()]
            statements = self._read_all(NodeStatement, self._statements).values()
            found = [
                with_provenance(each, self.classes().values())
                for each in gather_all(nodes, statements, now, vouching=authorities.vouching(now))
            ]
            until = min((each.next_change for each in found if each.next_change), default=None)
            self._facts = (revisions, until, {each.name: each for each in found})
        return self._facts[2]

    def endpoint(self, statement: str, limits: Sequence[Limits]) -> JudgedEndpoint | None:
        """The server outside that a statement names, judged; None where nobody stated anything of it."""
        authorities = Authorities.of(self._read_all(Authority, self._authorities).values(), self.atlas())
        statements, now = self._read_all(EndpointStatement, self._endpoints).values(), self.now()
        return judge_endpoint(statement, statements, limits, now, vouching=authorities.vouching(now))

    def namespaces(self) -> dict[str, Mapping[str, str]]:
        """Labels of every namespace by name."""
        self._fresh(self._namespaces)
        return {name: raw["metadata"].get("labels") or {} for (_, name), raw in self._namespaces.items()}

    async def governing(self, namespace: str) -> tuple[CompiledPolicy, ...]:
        """The policies that govern a namespace, by name. A namespace that is too new for the store is asked for.

        Raises UnreadablePolicyError where one that cannot be read may govern it.
        """
        self._fresh(self._namespaces)
        raw = self._namespaces.get(("", namespace)) or await self._get(resources.NAMESPACES, namespace)
        if raw is None:
            raise LookupFailedError(f"namespace {namespace} is not there, so nobody knows which policies govern it")
        labels, atlas = raw["metadata"].get("labels") or {}, self.atlas()
        for name, policy in self._unreadable():
            if may_govern(policy, namespace, labels, exempt=self.exempt):
                raise UnreadablePolicyError(f"policy {name} cannot be read, and it may govern namespace {namespace}")
        compiled = [self.compiled(policy, atlas) for policy in self.policies().values()]
        return governing(compiled, namespace, labels, exempt=self.exempt)

    async def volume(self, name: str) -> Raw | None:
        """A PersistentVolume as it is now; None when there is none."""
        return await self._get(resources.PERSISTENT_VOLUMES, name)

    async def claim(self, namespace: str, name: str) -> Raw | None:
        """A PersistentVolumeClaim as it is now; None when there is none."""
        return await self._get(resources.PERSISTENT_VOLUME_CLAIMS, name, namespace)

    async def provisioner(self, storage_class: str) -> str | None:
        """Who makes the volumes of a StorageClass; None when there is no such class."""
        found = await self._get(_CLASSES, storage_class)
        return str(found["provisioner"]) if found else None

    async def may_get(
        self, user: User, namespace: str, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], bool]:
        """Which objects of a namespace (plural, name) somebody may read himself, asked all at once."""
        objects = sorted(set(wanted))
        answers = await asyncio.gather(*(self._may_get(user, namespace, *each) for each in objects))
        return dict(zip(objects, answers, strict=True))

    async def _may_get(self, user: User, namespace: str, plural: str, name: str) -> bool:
        attributes = {"namespace": namespace, "verb": "get", "group": "", "version": "v1"}
        spec: dict[str, Any] = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": user.extra,
            "resourceAttributes": {**attributes, "resource": plural, "name": name},
        }
        asked = {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind, "metadata": {}, "spec": spec}
        try:
            answer = await self._api.create(_REVIEWS, asked, seconds=LOOKUP_SECONDS)
        except ApiError as error:
            raise LookupFailedError(f"whether {user.name} may read {plural}/{name} is not known: {error}") from error
        return (answer.get("status") or {}).get("allowed") is True

    async def _get(self, resource: Resource, name: str, namespace: str | None = None) -> Raw | None:
        try:
            return await self._api.get(resource, name, namespace, seconds=LOOKUP_SECONDS)
        except NotFound:
            return None
        except ApiError as error:
            raise LookupFailedError(f"{resource.kind} {name} could not be read: {error}") from error

    def _read_all(self, kind: type[R], store: Store) -> Mapping[str, R]:
        self._fresh(store)
        plural = store.resource.plural
        if plural not in self._read or self._read[plural][0] != store.revision:
            self._read[plural] = (store.revision, dict(_readable(kind, store)))
        return self._read[plural][1]

    def _fresh(self, *stores: Store) -> None:
        now = self._pace.clock()
        for store in stores:
            if store.age(now) > STALE_SECONDS:
                raise LookupFailedError(f"what is known of {store.resource.plural} is older than {STALE_SECONDS:.0f} s")


def _readable(kind: type[R], store: Store) -> Iterator[tuple[str, R]]:
    for key, raw in store.items():
        name = "/".join(part for part in key if part)
        try:
            yield name, kind.read(raw)
        except ValidationError as error:
            logger.warning("%s %s cannot be read: %s", kind.__name__, name, first_problem(error))
