"""The chart, rendered and installed by Helm itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.cluster.apiserver import ApiServer
from e2e.cluster.binaries import binary
from tests.chart.helm import CHART, NAMESPACE, Helm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Client


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(binary("helm"), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    """An empty cluster: no kind of ours, no policy, no namespace."""
    server = ApiServer.start()
    try:
        server.start_controller_manager()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def cluster(server: ApiServer) -> Client:
    """Cluster-admin of it."""
    return server.client


@pytest.fixture(scope="module")
def release(server: ApiServer, helm: Helm) -> Helm:
    """The chart as one command installs it, whatever the module before left of it."""
    installer = Helm(helm.program, helm.home, server.kubeconfig())
    installer.run("upgrade", "--install", "bailiwick", str(CHART), f"--namespace={NAMESPACE}", "--create-namespace")
    return installer
