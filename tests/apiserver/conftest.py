"""Fixtures of the suites that need a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2e.cluster.apiserver import ApiServer


@pytest.fixture
async def connection(apiserver: ApiServer) -> AsyncIterator[Connection]:
    """The operator's way to the server, as cluster-admin."""
    async with await Connection.open(kubeconfig=str(apiserver.kubeconfig())) as opened:
        yield opened


@pytest.fixture
def api(connection: Connection) -> Api:
    """The operator's port."""
    return Api(connection)
