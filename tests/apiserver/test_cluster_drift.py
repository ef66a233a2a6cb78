"""Drift, ensure and reclaim on a real API server: hands edit children, and they come back."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster import resources as r
from bailiwick.cluster import trim
from bailiwick.cluster.apply import ensure, reclaim
from bailiwick.cluster.drift import adopt_fields, drift
from bailiwick.cluster.errors import Conflict, Terminal
from tests.apiserver.children import CHILDREN, deployment, service

if TYPE_CHECKING:
    from bailiwick.cluster.api import Api
    from bailiwick.cluster.resources import Resource
    from e2e.client import Client

pytestmark = pytest.mark.apiserver

Raw = dict[str, Any]


def content(manifest: Raw) -> Raw:
    """What a hand can change, without what the server keeps about it."""
    return {key: value for key, value in manifest.items() if key not in {"metadata", "status"}}


@pytest.mark.parametrize("kind", CHILDREN)
async def test_what_was_applied_and_what_the_server_filled_in_is_no_drift(api: Api, namespace: str, kind: str) -> None:
    resource, build = CHILDREN[kind]
    live = await api.apply(resource, build(namespace))
    assert not drift(live, build(namespace))
    assert not drift(trim.child(live), build(namespace))
    assert await ensure(api, resource, build(namespace), live) is None


HAND_EDITS: dict[str, tuple[str, Raw]] = {
    "another image": (
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": "foreign"}]}}}},
    ),
    "a second container": (
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [{"name": "spy", "image": "foreign"}]}}}},
    ),
    "another environment variable": (
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [{"name": "engine", "env": [{"name": "SPY", "value": "1"}]}]}}}},
    ),
    "a key in the node selector": ("Deployment", {"spec": {"template": {"spec": {"nodeSelector": {"abroad": "yes"}}}}}),
    "no node selector": ("Deployment", {"spec": {"template": {"spec": {"nodeSelector": None}}}}),
    "the host's network": ("Deployment", {"spec": {"template": {"spec": {"hostNetwork": True}}}}),
    "another volume": (
        "Deployment",
        {"spec": {"template": {"spec": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}}}},
    ),
    "an annotation of the pods": ("Deployment", {"spec": {"template": {"metadata": {"annotations": {"spy": "1"}}}}}),
    "no replicas": ("Deployment", {"spec": {"replicas": 0}}),
    "a pause": ("Deployment", {"spec": {"paused": True}}),
    "an external address": ("Service", {"spec": {"externalIPs": ["203.0.113.1"]}}),
    "another selector": ("Service", {"spec": {"selector": {"app": "spy"}}}),
    "a node port": ("Service", {"spec": {"type": "NodePort"}}),
    "another port": ("Service", {"spec": {"ports": [{"name": "spy", "port": 81, "targetPort": 81}]}}),
    "fewer pods": ("NetworkPolicy", {"spec": {"podSelector": {"matchLabels": {"app": "none"}}}}),
    "an open door": ("NetworkPolicy", {"spec": {"egress": [{}]}}),
    "a wider peer": (
        "NetworkPolicy",
        {"spec": {"egress": [{"to": [{"namespaceSelector": {}, "podSelector": {}}], "ports": [{"port": 53}]}]}},
    ),
    "an ingress rule": ("NetworkPolicy", {"spec": {"ingress": [{}]}}),
    "another budget": ("PodDisruptionBudget", {"spec": {"maxUnavailable": "100%"}}),
    "an eviction policy": ("PodDisruptionBudget", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}),
    "a token": ("ServiceAccount", {"automountServiceAccountToken": True}),
}
STRATEGIC = {"Deployment", "Service"}
"""Kinds whose lists of named elements an edit adds to; elsewhere it replaces them."""


@pytest.fixture(params=HAND_EDITS)
async def edited(request: Any, api: Api, client: Client, namespace: str) -> tuple[Resource, Raw, Raw]:
    """A child that a hand edited: its resource, what it was, what we want."""
    kind, patch = HAND_EDITS[request.param]
    resource, build = CHILDREN[kind]
    desired = build(namespace)
    before = await api.apply(resource, desired)
    how: Any = "strategic" if kind in STRATEGIC else "merge"
    client.patch(resource.api_version, kind, "chat", patch, namespace, how=how)
    return resource, before, desired


async def test_an_edited_child_comes_back_and_nothing_else_of_it_changes(
    api: Api, edited: tuple[Resource, Raw, Raw]
) -> None:
    resource, before, desired = edited
    live = await api.get(resource, "chat", desired["metadata"]["namespace"])
    found = drift(trim.child(live), desired)
    assert found
    written = await ensure(api, resource, desired, trim.child(live))
    assert written is not None
    assert written.drift == found
    assert written.manifest["metadata"]["uid"] == before["metadata"]["uid"]
    assert content(written.manifest) == content(before)
    assert await ensure(api, resource, desired, written.manifest) is None


async def test_a_reclaim_that_died_between_its_two_writes_is_seen(api: Api, edited: tuple[Resource, Raw, Raw]) -> None:
    resource, _, desired = edited
    namespace = desired["metadata"]["namespace"]
    live = await api.get(resource, "chat", namespace)
    adopted = adopt_fields(live["metadata"]["managedFields"])
    taken = await api.patch_json(
        resource, "chat", namespace, [{"op": "replace", "path": "/metadata/managedFields", "value": adopted}]
    )
    found = drift(trim.child(taken), desired)
    assert found
    assert not found.editors or resource is r.SERVICE_ACCOUNTS
    written = await ensure(api, resource, desired, trim.child(taken))
    assert written is not None
    assert not drift(written.manifest, desired)


async def test_an_apply_in_our_name_with_foreign_content_is_undone(api: Api, client: Client, namespace: str) -> None:
    """Anybody who may write may call himself bailiwick."""
    desired = deployment(namespace)
    await api.apply(r.DEPLOYMENTS, desired)
    foreign = copy.deepcopy(desired)
    foreign["spec"]["template"]["spec"]["nodeSelector"]["abroad"] = "yes"
    foreign["spec"]["template"]["spec"]["containers"].append({"name": "spy", "image": "foreign"})
    live = client.apply(foreign, manager="bailiwick")
    found = drift(trim.child(live), desired)
    assert not found.editors
    assert found.surplus
    written = await ensure(api, r.DEPLOYMENTS, desired, live)
    assert written is not None
    spec = written.manifest["spec"]["template"]["spec"]
    assert [container["name"] for container in spec["containers"]] == ["engine"]
    assert spec["nodeSelector"] == desired["spec"]["template"]["spec"]["nodeSelector"]


async def test_what_we_stop_wanting_goes(api: Api, namespace: str) -> None:
    live = await api.apply(r.DEPLOYMENTS, deployment(namespace))
    less = deployment(namespace)
    del less["spec"]["template"]["spec"]["tolerations"], less["metadata"]["annotations"]
    less["spec"]["template"]["spec"]["containers"][0]["env"].pop()
    written = await ensure(api, r.DEPLOYMENTS, less, trim.child(live))
    assert written is not None
    assert written.drift.missing == ("spec.template.spec.containers[0].env",)
    assert set(written.drift.surplus) >= {"metadata.annotations", "spec.template.spec.tolerations"}
    assert "tolerations" not in written.manifest["spec"]["template"]["spec"]
    assert "annotations" not in written.manifest["metadata"]


async def test_a_restart_a_scale_and_labels_of_others_are_no_drift(api: Api, client: Client, namespace: str) -> None:
    desired = deployment(namespace)
    del desired["spec"]["replicas"]  # an autoscaler's
    await api.apply(r.DEPLOYMENTS, desired)
    restarted = {trim.RESTARTED: "2026-11-21T12:00:00Z"}
    client.patch(
        "apps/v1", "Deployment", "chat",
        {"metadata": {"labels": {"team": "red"}}, "spec": {"template": {"metadata": {"annotations": restarted}}}},
        namespace,
    )  # fmt: skip
    client.patch("apps/v1", "Deployment", "chat", {"spec": {"replicas": 5}}, namespace, subresource="scale")
    live = await api.get(r.DEPLOYMENTS, "chat", namespace)
    assert live["spec"]["replicas"] == 5
    assert await ensure(api, r.DEPLOYMENTS, desired, trim.child(live)) is None


async def test_a_stranger_s_object_of_the_same_name_stays_his(api: Api, client: Client, namespace: str) -> None:
    theirs = deployment(namespace)
    theirs["spec"]["template"]["spec"]["containers"][0]["image"] = "their/own"
    theirs["metadata"]["labels"] = {}
    before = client.create(theirs)
    with pytest.raises(Terminal, match="a Deployment 'chat' that Bailiwick did not make is in the way") as error:
        await ensure(api, r.DEPLOYMENTS, deployment(namespace), None)
    assert error.value.reason == "NameTaken"
    assert client.get("apps/v1", "Deployment", "chat", namespace)["spec"] == before["spec"]


async def test_a_child_of_ours_that_the_store_does_not_know_is_reclaimed(
    api: Api, client: Client, namespace: str
) -> None:
    """A hand took off the label that we watch, and did more than that."""
    desired = deployment(namespace)
    await api.apply(r.DEPLOYMENTS, desired)
    spec = {"template": {"spec": {"hostNetwork": True, "containers": [{"name": "engine", "image": "foreign"}]}}}
    client.patch(
        "apps/v1", "Deployment", "chat", {"metadata": {"labels": None}, "spec": spec}, namespace, how="strategic"
    )
    written = await ensure(api, r.DEPLOYMENTS, desired, None)
    assert written is not None
    assert not drift(written.manifest, desired)
    assert "hostNetwork" not in written.manifest["spec"]["template"]["spec"]


async def test_a_reclaim_that_meets_a_newer_object_is_a_conflict(
    api: Api, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = service(namespace)
    await api.apply(r.SERVICES, desired)
    client.patch("v1", "Service", "chat", {"spec": {"externalIPs": ["203.0.113.1"]}}, namespace)
    look = api.get

    async def look_and_be_overtaken(resource: Resource, name: str, namespace: str | None = None, **more: Any) -> Raw:
        seen = await look(resource, name, namespace, **more)
        client.patch("v1", "Service", name, {"metadata": {"labels": {"faster": "yes"}}}, namespace)
        return seen

    monkeypatch.setattr(api, "get", look_and_be_overtaken)
    with pytest.raises(Conflict):
        await reclaim(api, r.SERVICES, desired)
