"""The real cluster with Bailiwick and the quickstart's model, once for all suites of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.demo.install import install
from e2e.demo.scenes import clear, govern, serve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl


@pytest.fixture(scope="session")
def installed() -> Installed:
    """A cluster with Bailiwick. It stays up after the session, for the next one and for whoever looks for a fault."""
    return install()


@pytest.fixture(scope="session")
def kubectl(installed: Installed) -> Kubectl:
    """Cluster-admin."""
    return installed.kubectl


@pytest.fixture(scope="session")
def model(installed: Installed, kubectl: Kubectl) -> Mapping[str, Any]:
    """The quickstart's model, serving."""
    clear(kubectl)
    govern(kubectl)
    return serve(kubectl, installed)
