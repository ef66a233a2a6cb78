"""URLs are built in one place."""

from __future__ import annotations

import pytest

from bailiwick.cluster.resources import DEPLOYMENTS, NODES, PODS, RESOURCES, of_kind


def test_paths() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("clinic") == "/api/v1/namespaces/clinic/pods"
    assert PODS.path("clinic", "a", "eviction") == "/api/v1/namespaces/clinic/pods/a/eviction"
    assert DEPLOYMENTS.path("clinic", "a") == "/apis/apps/v1/namespaces/clinic/deployments/a"
    assert NODES.path(None, "worker") == "/api/v1/nodes/worker"


def test_names_cannot_leave_their_place_in_the_path() -> None:
    assert PODS.path("clinic", "../secrets/a?x") == "/api/v1/namespaces/clinic/pods/..%2Fsecrets%2Fa%3Fx"
    assert PODS.path("a/b") == "/api/v1/namespaces/a%2Fb/pods"


def test_an_object_needs_its_namespace() -> None:
    with pytest.raises(ValueError, match="Pod 'a' needs a namespace"):
        PODS.path(None, "a")


def test_a_cluster_scoped_kind_has_none() -> None:
    with pytest.raises(ValueError, match="Node is cluster-scoped, but namespace 'clinic' was given"):
        NODES.path("clinic", "worker")


def test_every_kind_is_found_by_its_name() -> None:
    assert [of_kind(resource.kind) for resource in RESOURCES] == list(RESOURCES)
    with pytest.raises(KeyError, match="Gadget"):
        of_kind("Gadget")
