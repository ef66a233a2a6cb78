"""Fixtures of the suites that need a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import Connection
from e2e.cluster.binaries import binary
from tests.apiserver.realm import Realm
from tests.apiserver.worlds import granted_realm
from tests.chart.helm import Helm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from e2e.cluster.apiserver import ApiServer
    from tests.apiserver.operator_process import OperatorProcess


@pytest.fixture
async def connection(apiserver: ApiServer) -> AsyncIterator[Connection]:
    """The operator's way to the server, as cluster-admin."""
    async with await Connection.open(kubeconfig=str(apiserver.kubeconfig())) as opened:
        yield opened


@pytest.fixture
def api(connection: Connection) -> Api:
    """The operator's port."""
    return Api(connection)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster: what the chart makes of its values."""
    return Helm(binary("helm"), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def cleared() -> Iterator[Realm]:
    """An API server for the operator, apart from the one of other suites: it has a border."""
    realm = Realm.start()
    try:
        yield realm
    finally:
        realm.server.stop()


@pytest.fixture(scope="session")
def granted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A server of its own, where operator and canary have the rights of the chart: nobody else wants its policies to
    go, nor to be proved."""
    with granted_realm(tmp_path_factory.mktemp("helm")) as realm:
        yield realm


@pytest.fixture
def realm(cleared: Realm) -> Iterator[Realm]:
    """The same, and what a test makes there goes when the test is over."""
    yield cleared
    cleared.clear()


@pytest.fixture(scope="module")
def operator(cleared: Realm) -> Iterator[OperatorProcess]:
    """The operator at work, one for all tests of a module."""
    process = cleared.operator()
    try:
        yield process.until_leading()
    finally:
        process.stop()


@pytest.fixture(scope="module")
def world(cleared: Realm, operator: OperatorProcess) -> Iterator[Realm]:
    """A cluster that the operator works in. What the tests of a module make there goes after the last."""
    yield cleared
    cleared.clear()
