"""Fixtures of all suites under tests/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from e2e.cluster.apiserver import ApiServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from e2e.client import Client

CRDS = Path(__file__).parent.parent / "crds"

# Examples are the same on every machine, so that a change is what turned a test red; and a busy machine is no failure.
# FUZZ=1 looks for new ones.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("fuzz", deadline=None)
settings.load_profile("fuzz" if os.environ.get("FUZZ") else "same")


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ApiServer]:
    """An API server with Bailiwick's CRDs and nothing else of it, for the whole session."""
    server = ApiServer.start()
    try:
        server.install_crds(sorted(CRDS.glob("*.yaml")))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def client(apiserver: ApiServer) -> Client:
    """Cluster-admin of that server."""
    return apiserver.client


@pytest.fixture
def new_namespace(apiserver: ApiServer) -> Iterator[Callable[..., str]]:
    """Makes namespaces (``new_namespace(labels={…})``) that are removed, with all they hold, after the test."""
    made: list[str] = []

    def make(labels: Mapping[str, str] | None = None) -> str:
        made.append(apiserver.create_namespace(labels))
        return made[-1]

    yield make
    for name in made:
        apiserver.remove_namespace(name)


@pytest.fixture
def namespace(new_namespace: Callable[..., str]) -> str:
    """The name of a fresh namespace without labels."""
    return new_namespace()
