"""A pod of a governed namespace is bound inside only, by either URL (charts/bailiwick/policies/bindings.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import ApiError
from tests.border.ground import Governed, Ground, authored, pod, refused
from tests.in_tree import JUDGES_TARGETS

if TYPE_CHECKING:
    from e2e.client import Client, Manifest

BINDINGS = "bailiwick-bindings"
NOBODYS = {"schedulerName": "nobody"}


@pytest.fixture(params=["scheduler", "kube-scheduler", "lite", "admin"])
def who(request: pytest.FixtureRequest, ground: Ground) -> Client:
    if request.param == "kube-scheduler":
        return ground.person("system:kube-scheduler")
    client: Client = getattr(ground, request.param)
    return client


@pytest.fixture(params=["pods/binding", "bindings"])
def url(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def held(ground: Ground, health: Governed) -> Governed:
    """The governed namespace, in which a pod called held waits for a scheduler."""
    ground.editor.create(authored(pod(health.namespace, "held", **NOBODYS), health))
    return health


def bind(who: Client, url: str, namespace: str, node: str, *, dry_run: bool = False, **target: Any) -> None:
    binding: Manifest = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "held", "namespace": namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node} | target,
    }
    who.create(binding, subresource="binding" if url == "pods/binding" else "", dry_run=dry_run)


def test_a_pod_is_not_bound_abroad(who: Client, url: str, held: Governed, ground: Ground) -> None:
    with refused(BINDINGS, "WrongPlace", f"{BINDINGS}.{held.policy}") as refusal:
        bind(who, url, held.namespace, held.abroad)
    assert f"but {held.abroad} is not one of them" in refusal.message
    assert "nodeName" not in ground.admin.get("v1", "Pod", "held", held.namespace)["spec"]


def test_a_pod_is_not_bound_to_a_node_that_nobody_knows(url: str, held: Governed, ground: Ground) -> None:
    with refused(BINDINGS, "WrongPlace", f"{BINDINGS}.{held.policy}"):
        bind(ground.scheduler, url, held.namespace, "laptop")


@pytest.mark.parametrize("node", ["INSIDE", "inside.", " inside"])
def test_a_pod_is_not_bound_to_what_looks_like_a_node(url: str, held: Governed, ground: Ground, node: str) -> None:
    if JUDGES_TARGETS:
        with pytest.raises(ApiError, match=r"target\.name: Invalid value"):
            bind(ground.scheduler, url, held.namespace, node)
        return
    with refused(BINDINGS, "WrongPlace", f"{BINDINGS}.{held.policy}"):
        bind(ground.scheduler, url, held.namespace, node)


def test_a_binding_that_does_not_say_what_its_target_is_counts_as_one_to_a_node(
    url: str, held: Governed, ground: Ground
) -> None:
    with refused(BINDINGS, "WrongPlace", f"{BINDINGS}.{held.policy}"):
        bind(ground.scheduler, url, held.namespace, held.abroad, kind="", apiVersion="")


def test_a_pod_is_bound_inside(who: Client, url: str, held: Governed) -> None:
    bind(who, url, held.namespace, held.inside, dry_run=True)


def test_pods_of_other_namespaces_are_bound_anywhere(url: str, ground: Ground) -> None:
    namespace = ground.namespace()
    ground.editor.create(pod(namespace, "held", **NOBODYS))
    bind(ground.scheduler, url, namespace, ground.abroad)
    assert ground.admin.get("v1", "Pod", "held", namespace)["spec"]["nodeName"] == ground.abroad


def test_two_policies_on_one_namespace_must_both_agree(url: str, ground: Ground) -> None:
    narrow = ground.govern()
    wide = ground.govern(namespace=narrow.namespace, nodes={ground.inside: "DE", ground.abroad: "US"})
    ground.editor.create(authored(pod(narrow.namespace, "held", **NOBODYS), narrow, wide))
    with refused(BINDINGS, "WrongPlace", f"{BINDINGS}.{narrow.policy}"):
        bind(ground.scheduler, url, narrow.namespace, wide.abroad)
    bind(ground.scheduler, url, narrow.namespace, wide.inside, dry_run=True)
