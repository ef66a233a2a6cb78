"""Which kinds the API server serves that not every cluster has: those of other projects, reports, and what pins pods.

Asked by listing: a kind that is not there is not found. That takes no right to read CustomResourceDefinitions, and a
kind that comes later is found at the next look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.control.queue import Priority
from bailiwick.control.routes import MODEL, REPORT, SPREAD, TERRITORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.cluster.store import Store
    from bailiwick.control.queue import KeyedQueue


class Offered:
    """What the feeds of optional stores found out. When it changes, all models, policies and reports are looked at."""

    def __init__(self, *, stores: Sequence[Store], queue: KeyedQueue) -> None:
        self._stores = stores
        self._queue = queue
        self._served: dict[str, bool] = {}

    def tell(self, store: Store, *, served: bool) -> None:
        """A kind is served now, or is not."""
        before = self._served.get(store.resource.kind)
        self._served[store.resource.kind] = served
        if before is not None and before is not served:
            for loop in (MODEL, TERRITORY, REPORT):
                self._queue.add(SPREAD, loop, priority=Priority.LIVE)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that are served."""
        return frozenset(kind for kind, served in self._served.items() if served)

    def unknown(self) -> list[str]:
        """Plural names of the kinds of which nothing is known yet."""
        return [store.resource.plural for store in self._stores if store.resource.kind not in self._served]
