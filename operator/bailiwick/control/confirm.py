"""What the audit asks the API server before it touches a pod: one watch may tell later than another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.cluster import resources
from bailiwick.cluster.errors import NotFound
from bailiwick.residency.audit import runs
from bailiwick.residency.nodes import read_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.resources import Resource
    from bailiwick.cluster.store import Store
    from bailiwick.residency.audit import Pod
    from bailiwick.residency.policies import CompiledPolicy


class Witness:
    """Confirms violations for one look: node and Territory are asked for once.

    ``judged`` says whether a policy's Territory in force was made from what is believed about a node now.
    """

    def __init__(self, *, api: Api, nodes: Store, judged: Callable[[CompiledPolicy, str], bool]) -> None:
        self._api = api
        self._nodes = nodes
        self._judged = judged
        self._seen: dict[tuple[str, str], Raw | None] = {}

    async def confirms(self, policy: CompiledPolicy, node: str) -> bool:
        """Whether a node is outside a policy's Territory as written, and is as the stores know it."""
        if not self._judged(policy, node):
            return False
        territory = await self._live(resources.TERRITORIES, policy.name)
        if territory is None or node in (territory["spec"].get("nodes") or {}):
            return False
        live, known = await self._live(resources.NODES, node), self._nodes.get(("", node))
        if live is None or known is None:
            return live is known
        return read_node(live) == read_node(known)

    async def _live(self, resource: Resource, name: str) -> Raw | None:
        key = (resource.plural, name)
        if key not in self._seen:
            try:
                self._seen[key] = await self._api.get(resource, name)
            except NotFound:
                self._seen[key] = None
        return self._seen[key]


async def still_there(api: Api, pod: Pod) -> Raw | None:
    """The very pod, where it was found, as the API server has it; None when it is gone or finished."""
    try:
        live = await api.get(resources.PODS, pod.name, pod.namespace)
    except NotFound:
        return None
    same = live["metadata"]["uid"] == pod.uid and (live.get("spec") or {}).get("nodeName") == pod.node
    return live if same and runs(live) else None
