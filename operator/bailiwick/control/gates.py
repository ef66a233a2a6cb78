"""Gates that lead outside the cluster end at once when they may not any more.

A pod that is told to end goes on for a while, and an open connection outlives a NetworkPolicy that would not let it be
made. So what opens their way and their Deployment are removed, and each pod is given one second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError
from bailiwick.control.stores import BY_MODEL
from bailiwick.workload.external import leads_elsewhere
from bailiwick.workload.troubles import running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from bailiwick.cluster.api import Api, Raw
    from bailiwick.cluster.store import Key, Store
    from bailiwick.control.stores import Stores
    from bailiwick.control.writer import Writer

SECONDS = 1
"""What a gate gets to end. None at all would leave it to run on a node that does not answer, unseen."""

logger = logging.getLogger(__name__)


class Gates:
    """Ends gates of one model that lead elsewhere than its plan says."""

    def __init__(self, *, stores: Stores, api: Api, writer: Writer) -> None:
        self._stores = stores
        self._api = api
        self._writer = writer

    async def end(self, key: Key, planned: Mapping[str, str]) -> None:
        """End what leads elsewhere than to the endpoint with the labels ``planned``; empty: whatever leads outside.

        Each step is taken though another one fails; the first failure is raised when all are done.
        """
        failures: list[ApiError] = []
        for step in self._steps(key, planned):
            try:
                await step
            except ApiError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _steps(self, key: Key, planned: Mapping[str, str]) -> Iterator[Awaitable[object]]:
        for policy in self._astray(self._stores.network_policies, key, planned):
            yield self._writer.remove(resources.NETWORK_POLICIES, policy)
        for deployment in self._astray(self._stores.deployments, key, planned):
            if not deployment["metadata"].get("deletionTimestamp"):
                logger.info("gates of model %s/%s end: they may not lead there any more", *key)
                yield self._writer.remove(resources.DEPLOYMENTS, deployment)
        for pod in running(self._astray(self._stores.pods, key, planned)):
            metadata = pod["metadata"]
            if metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds", SECONDS + 1) <= SECONDS:
                continue
            yield self._api.delete(
                resources.PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_seconds=SECONDS
            )

    def _astray(self, store: Store, key: Key, planned: Mapping[str, str]) -> list[Raw]:
        found = (store.get(each) for each in store.find(BY_MODEL, key))
        return [each for each in found if each and leads_elsewhere(each, planned)]
