"""One look at a cluster for `bailiwick doctor`: everything that is judged, as far as whoever asks may see it.

Nothing is written: what is tried is tried by dry run.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from bailiwick.admission.identity import CONFIGURATIONS
from bailiwick.admission.identity import NAME as WEBHOOK
from bailiwick.api.resource import API_VERSION
from bailiwick.cli.live.fitness.findings import Unseen
from bailiwick.cli.live.fitness.seen import PROBE_LABEL, PROBE_NODE, SYSTEM, Answer, Review, Seen
from bailiwick.cli.live.fitness.server import ADMISSION, DEVICES, KIND_NAMES
from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError, NotFound
from bailiwick.cluster.resources import Resource
from bailiwick.control.chart import NAME as BORDER
from bailiwick.residency.policies import exempt_namespaces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
    from datetime import datetime

    from bailiwick.cli.live.fitness.seen import Found, Listed, Raw
    from bailiwick.cluster.api import Api

T = TypeVar("T")

_OPERATOR: Final = "bailiwick-operator"
_KUBE_SYSTEM: Final = "kube-system"
_RBAC: Final = "rbac.authorization.k8s.io"
_CLUSTER_ROLES = Resource(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
_CLUSTER_BINDINGS = Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
_ROLES = Resource(_RBAC, "v1", "roles", "Role", namespaced=True)
_ROLE_BINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding", namespaced=True)
_DAEMONS = Resource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
_KUBELET: Final = f"system:node:{PROBE_NODE}"
_ASK: Final = "ask for the right; ClusterRole bailiwick-auditor has it, where Bailiwick is installed"


class Eyes:
    """Looks once. ``api`` is whoever asks, ``kubelet`` the same as a kubelet; ``on_seen`` is told of each step."""

    def __init__(self, api: Api, kubelet: Api, *, at: datetime, on_seen: Callable[[int, int], None]) -> None:
        self._api = api
        self._kubelet = kubelet
        self._at = at
        self._on_seen = on_seen
        self._begun = self._done = 0

    async def look(self) -> Seen:
        """Everything. Raises ApiError where the API server does not answer, or does not know who asks."""
        release = await self._release()
        async with asyncio.TaskGroup() as tasks:
            webhook = self._begin(tasks, self._get(CONFIGURATIONS, WEBHOOK))
            cluster_bindings = self._begin(tasks, self._list(_CLUSTER_BINDINGS))
        home = _home(webhook.result(), cluster_bindings.result())
        async with asyncio.TaskGroup() as tasks:
            served = {each: self._begin(tasks, self._served(each)) for each in (ADMISSION, DEVICES)}
            definitions = resources.CUSTOM_RESOURCE_DEFINITIONS
            kinds = {each: self._begin(tasks, self._get(definitions, each)) for each in KIND_NAMES}
            deployments = {
                each: self._begin(tasks, self._get(resources.DEPLOYMENTS, each, home)) for each in (_OPERATOR, WEBHOOK)
            }
            listed = {name: self._begin(tasks, each) for name, each in self._every_list(home).items()}
            border = self._begin(tasks, self._get(resources.CONFIG_MAPS, BORDER, home))
            lease = self._begin(tasks, self._get(resources.LEASES, _OPERATOR, home))
            registers = self._begin(tasks, _try(self._kubelet.create(resources.NODES, _node(), dry_run=True)))
            reads = self._begin(tasks, self._review())
            asked = self._begin(tasks, self._ask(webhook.result()))
        return Seen(
            at=self._at,
            home=home,
            release=release,
            served={name: each.result() for name, each in served.items()},
            kinds={name: each.result() for name, each in kinds.items()},
            deployments={name: each.result() for name, each in deployments.items()},
            cluster_bindings=cluster_bindings.result(),
            border=border.result(),
            lease=lease.result(),
            webhook=webhook.result(),
            registers=registers.result(),
            reads=reads.result(),
            asked=asked.result(),
            **{name: each.result() for name, each in listed.items()},
        )

    def _every_list(self, home: str) -> Mapping[str, Coroutine[object, object, Listed]]:
        """By the field of `Seen` that each is for."""
        exempt = sorted(exempt_namespaces(home))
        return {
            "servers": self._list(resources.PODS, _KUBE_SYSTEM, labels="component=kube-apiserver"),
            "nodes": self._list(resources.NODES),
            "daemons": self._list(_DAEMONS),
            "replicas": self._list(resources.PODS, labels="bailiwick.dev/model"),
            "system_pods": self._lists(resources.PODS, exempt),
            "namespaces": self._list(resources.NAMESPACES),
            "cluster_roles": self._list(_CLUSTER_ROLES),
            "roles": self._lists(_ROLES, exempt),
            "role_bindings": self._lists(_ROLE_BINDINGS, exempt),
            "in_tree": self._list(resources.VALIDATING_POLICIES),
            "bindings": self._list(resources.VALIDATING_BINDINGS),
            "policies": self._list(resources.RESIDENCY_POLICIES),
        }

    def _begin(self, tasks: asyncio.TaskGroup, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        self._begun += 1
        task = tasks.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, _: object) -> None:
        self._done += 1
        self._on_seen(self._done, self._begun)

    async def _release(self) -> tuple[int, int] | Unseen:
        """The first question. Where it is not even refused, there is nobody to ask."""
        try:
            return await self._api.release()
        except ApiError as error:
            if error.status in {None, HTTPStatus.UNAUTHORIZED}:
                raise
            return _hidden(error, "read /version")

    async def _served(self, api_version: str) -> frozenset[str] | Unseen:
        try:
            return await self._api.served(api_version)
        except ApiError as error:
            return _hidden(error, f"read /apis/{api_version}")

    async def _list(self, resource: Resource, namespace: str | None = None, *, labels: str = "") -> Listed:
        try:
            return [each async for each in self._api.list(resource, namespace, labels=labels)]
        except NotFound:  # the kind is not there
            return []
        except ApiError as error:
            return _hidden(error, f"list {_called(resource)}{f' in {namespace}' if namespace else ''}")

    async def _lists(self, resource: Resource, namespaces: Sequence[str]) -> Listed:
        """Of some namespaces; nothing where one of them may not be seen."""
        found: list[Raw] = []
        for each in await asyncio.gather(*(self._list(resource, namespace) for namespace in namespaces)):
            if isinstance(each, Unseen):
                return each
            found += each
        return found

    async def _get(self, resource: Resource, name: str, namespace: str | None = None) -> Found:
        try:
            return await self._api.get(resource, name, namespace)
        except NotFound:
            return None
        except ApiError as error:
            where = f" in {namespace}" if namespace else ""
            return _hidden(error, f"get {_called(resource)}{where}")

    async def _review(self) -> Review | Unseen:
        """Whether a kubelet may read what no pod of its node mounts. The answer holds the authorizer's own words."""
        asked = {"namespace": _KUBE_SYSTEM, "verb": "get", "resource": "secrets", "name": PROBE_NODE}
        spec = {"user": _KUBELET, "groups": ["system:nodes"], "resourceAttributes": asked}
        manifest = {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind, "metadata": {}, "spec": spec}
        try:
            status = (await self._api.create(_REVIEWS, manifest)).get("status") or {}
        except ApiError as error:
            return _hidden(error, f"create {_called(_REVIEWS)}")
        return Review(allowed=bool(status.get("allowed")), reason=str(status.get("reason") or ""))

    async def _ask(self, webhook: Found) -> Answer:
        """A request that the webhook judges, where there is one."""
        if not isinstance(webhook, dict):
            return Answer(accepted=False, message="there is no webhook")
        spec = {"members": ["DE"], "asOf": f"{self._at:%Y-%m-%d}", "source": "bailiwick doctor, by dry run"}
        manifest = {"apiVersion": API_VERSION, "kind": "Jurisdiction", "metadata": {"name": PROBE_NODE}, "spec": spec}
        return await _try(self._api.create(resources.JURISDICTIONS, manifest, dry_run=True))


async def _try(request: Awaitable[Raw]) -> Answer:
    try:
        await request
    except ApiError as error:
        return Answer(accepted=False, status=error.status, message=error.message)
    return Answer(accepted=True)


def _node() -> Raw:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": PROBE_NODE, "labels": {PROBE_LABEL: "true"}}}


def _called(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _hidden(error: ApiError, what: str) -> Unseen:
    if error.status == HTTPStatus.FORBIDDEN:
        return Unseen(f"you may not {what}", _ASK)
    return Unseen(f"could not {what}: {error.message}", "try again, and see the API server's log if it stays so")


def _home(webhook: Found, bindings: Listed) -> str:
    """Where Bailiwick runs: where its webhook is, or whom its rights were given to; else where it usually does."""
    hooks: Iterable[Raw] = (webhook.get("webhooks") or ()) if isinstance(webhook, dict) else ()
    for hook in hooks:
        if namespace := ((hook.get("clientConfig") or {}).get("service") or {}).get("namespace"):
            return str(namespace)
    for binding in () if isinstance(bindings, Unseen) else bindings:
        if binding["metadata"]["name"] == _OPERATOR:
            for subject in binding.get("subjects") or ():
                return str(subject.get("namespace") or SYSTEM)
    return SYSTEM
