"""The verbs of the port on a real API server."""

from __future__ import annotations

import ssl
from contextlib import aclosing
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from kubernetes.aio.config import incluster_config

from bailiwick.cluster import resources as r
from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import Connection
from bailiwick.cluster.errors import Conflict, Forbidden, NotFound, Terminal, Transient
from tests.apiserver.children import config_map, deployment

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.client import Client
    from e2e.cluster.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

Raw = dict[str, Any]


async def test_the_server_tells_its_release(api: Api, client: Client) -> None:
    told = client.request("GET", "/version").json()
    assert await api.release() == (int(told["major"]), int(told["minor"]))


async def test_an_object_from_its_creation_to_its_end(api: Api, namespace: str) -> None:
    made = await api.create(r.CONFIG_MAPS, config_map(namespace))
    with pytest.raises(Conflict, match="AlreadyExists"):
        await api.create(r.CONFIG_MAPS, config_map(namespace))
    applied = await api.apply(r.CONFIG_MAPS, config_map(namespace, key="applied"))
    assert applied["data"] == {"key": "applied"}
    merged = await api.patch_merge(r.CONFIG_MAPS, "a", namespace, {"data": {"key": None, "more": "1"}})
    assert merged["data"] == {"more": "1"}
    add = [{"op": "add", "path": "/data/json", "value": "2"}]
    assert (await api.patch_json(r.CONFIG_MAPS, "a", namespace, add))["data"] == {"more": "1", "json": "2"}
    assert (await api.get(r.CONFIG_MAPS, "a", namespace))["metadata"]["uid"] == made["metadata"]["uid"]
    await api.delete(r.CONFIG_MAPS, "a", namespace)
    with pytest.raises(NotFound):
        await api.get(r.CONFIG_MAPS, "a", namespace)
    await api.delete(r.CONFIG_MAPS, "a", namespace)


async def test_a_dry_run_leaves_nothing(api: Api, namespace: str) -> None:
    await api.create(r.CONFIG_MAPS, config_map(namespace), dry_run=True)
    await api.apply(r.CONFIG_MAPS, config_map(namespace), dry_run=True)
    with pytest.raises(NotFound):
        await api.get(r.CONFIG_MAPS, "a", namespace)


async def test_a_misspelt_field_is_terminal_in_every_verb(api: Api, namespace: str) -> None:
    wrong = {**config_map(namespace), "dota": {}}
    with pytest.raises(Terminal, match="dota"):
        await api.create(r.CONFIG_MAPS, wrong)
    with pytest.raises(Terminal, match="dota"):
        await api.apply(r.CONFIG_MAPS, wrong)
    await api.create(r.CONFIG_MAPS, config_map(namespace))
    with pytest.raises(Terminal, match="dota"):
        await api.patch_merge(r.CONFIG_MAPS, "a", namespace, {"dota": {}})


async def test_who_may_not_is_told_so(apiserver: ApiServer, namespace: str) -> None:
    async with await Connection.open(kubeconfig=str(apiserver.kubeconfig("jane", ["product"]))) as connection:
        with pytest.raises(Forbidden, match='User "jane" cannot get resource "configmaps"') as error:
            await Api(connection).get(r.CONFIG_MAPS, "a", namespace)
    assert (error.value.status, error.value.reason) == (403, "Forbidden")


async def test_a_server_with_another_certificate_is_not_trusted(connection: Connection, namespace: str) -> None:
    connection._transport.ssl_context = ssl.create_default_context()  # noqa: SLF001
    with pytest.raises(Transient, match="CERTIFICATE_VERIFY_FAILED"):
        await Api(connection).get(r.CONFIG_MAPS, "a", namespace)


async def test_in_a_pod_the_service_account_s_token_is_used_and_read_again_when_it_was_rotated(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [datetime(2026, 11, 21)]  # noqa: DTZ001 - as the loader's own
    clock = SimpleNamespace(datetime=SimpleNamespace(now=lambda: now[0]), timedelta=timedelta)
    token, url = tmp_path / "token", urlsplit(apiserver.url)
    monkeypatch.setattr(incluster_config, "datetime", clock)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(apiserver.authority.pair.certificate))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(url.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(url.port))
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": "default"},
        "spec": {},
    }
    token.write_text("outdated")
    async with await Connection.open() as connection:
        with pytest.raises(Transient, match="401 Unauthorized"):
            await Api(connection).get(r.CONFIG_MAPS, "a", namespace)
        issued = client.create(asked, namespace=namespace, subresource="token")
        token.write_text(issued["status"]["token"] + "\n")
        now[0] += timedelta(minutes=2)
        with pytest.raises(Forbidden, match=f'User "system:serviceaccount:{namespace}:default" cannot get'):
            await Api(connection).get(r.CONFIG_MAPS, "a", namespace)


async def test_only_the_object_that_was_meant_is_deleted(api: Api, namespace: str) -> None:
    made = await api.create(r.CONFIG_MAPS, config_map(namespace))
    with pytest.raises(Conflict):
        await api.delete(r.CONFIG_MAPS, "a", namespace, uid="another")
    with pytest.raises(Conflict):
        await api.delete(r.CONFIG_MAPS, "a", namespace, resource_version="1")
    await api.delete(r.CONFIG_MAPS, "a", namespace, uid=made["metadata"]["uid"])


async def test_a_list_spans_pages_and_shows_one_moment(api: Api, namespace: str) -> None:
    for number in range(7):
        await api.create(r.CONFIG_MAPS, config_map(namespace, f"a{number}"))
    pages = [page async for page in api.pages(r.CONFIG_MAPS, namespace, size=3)]
    assert [len(page.items) for page in pages] == [3, 3, 1]
    assert len({page.resource_version for page in pages}) == 1
    names = [item["metadata"]["name"] async for item in api.list(r.CONFIG_MAPS, namespace, fields="metadata.name=a3")]
    assert names == ["a3"]
    assert {(item["apiVersion"], item["kind"]) for page in pages for item in page.items} == {("v1", "ConfigMap")}


async def test_a_status_is_ours_alone_and_of_one_object(api: Api, namespace: str) -> None:
    made = await api.apply(r.DEPLOYMENTS, deployment(namespace))
    told = await api.patch_status(r.DEPLOYMENTS, made, {"replicas": 3, "observedGeneration": 1})
    assert told["status"]["replicas"] == 3
    assert told["metadata"]["generation"] == made["metadata"]["generation"]
    less = await api.patch_status(r.DEPLOYMENTS, made, {"observedGeneration": 1})
    assert "replicas" not in less["status"]
    again = await api.patch_status(r.DEPLOYMENTS, made, {"observedGeneration": 1})
    assert again["metadata"]["resourceVersion"] == less["metadata"]["resourceVersion"]
    await api.delete(r.DEPLOYMENTS, "chat", namespace)
    with pytest.raises(NotFound):
        await api.patch_status(r.DEPLOYMENTS, made, {"replicas": 3})
    await api.apply(r.DEPLOYMENTS, deployment(namespace))
    with pytest.raises(Conflict, match="another Deployment has this name by now"):
        await api.patch_status(r.DEPLOYMENTS, made, {"replicas": 3})


async def test_a_status_of_our_own_kind_is_of_one_object_too(api: Api, namespace: str) -> None:
    source = {"oci": {"image": f"registry.example/model@sha256:{'0' * 64}"}}
    model = {
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "SovereignModel",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {"model": {"name": "smollm2", "source": source}},
    }
    made = await api.create(r.SOVEREIGN_MODELS, model)
    told = await api.patch_status(r.SOVEREIGN_MODELS, made, {"observedGeneration": 1})
    assert told["status"] == {"observedGeneration": 1}
    await api.delete(r.SOVEREIGN_MODELS, "chat", namespace)
    await api.create(r.SOVEREIGN_MODELS, model)
    with pytest.raises(Conflict, match="another SovereignModel has this name by now"):
        await api.patch_status(r.SOVEREIGN_MODELS, made, {"observedGeneration": 1})


async def test_a_status_that_the_schema_refuses_is_terminal(api: Api, client: Client) -> None:
    made = client.create(
        {
            "apiVersion": "bailiwick.dev/v1alpha1",
            "kind": "ResidencyPolicy",
            "metadata": {"name": "port"},
            "spec": {"namespaceSelector": {"matchLabels": {"a": "b"}}, "place": {"allow": ["DE"]}},
        },
        validation="Ignore",
    )
    try:
        with pytest.raises(Terminal, match=r"status\.conditions"):
            await api.patch_status(r.RESIDENCY_POLICIES, made, {"conditions": "none"})
    finally:
        client.delete("bailiwick.dev/v1alpha1", "ResidencyPolicy", "port")


async def test_a_pod_is_bound_through_a_subresource(apiserver: ApiServer, api: Api, namespace: str) -> None:
    apiserver.add_node("port-worker")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": namespace}}
    await api.create(r.PODS, {**pod, "spec": {"containers": [{"name": "main", "image": "registry.example/i"}]}})
    target = {"apiVersion": "v1", "kind": "Node", "name": "port-worker"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": target}
    await api.post_subresource(r.PODS, "a", namespace, "binding", binding, dry_run=True)
    assert "nodeName" not in (await api.get(r.PODS, "a", namespace))["spec"]
    await api.post_subresource(r.PODS, "a", namespace, "binding", binding)
    assert (await api.get(r.PODS, "a", namespace))["spec"]["nodeName"] == "port-worker"
    await api.delete(r.NODES, "port-worker")


async def test_a_watch_tells_what_happens_after_a_version(api: Api, namespace: str) -> None:
    first = await api.create(r.CONFIG_MAPS, config_map(namespace))
    version = first["metadata"]["resourceVersion"]
    await api.apply(r.CONFIG_MAPS, config_map(namespace, key="2"))
    await api.delete(r.CONFIG_MAPS, "a", namespace)
    seen = []
    async with aclosing(api.watch(r.CONFIG_MAPS, namespace, since=version)) as events:
        async for event in events:
            seen.append((event.type, int(event.object["metadata"]["resourceVersion"]) > int(version)))
            if event.type == "DELETED":
                break
    assert seen == [("MODIFIED", True), ("DELETED", True)]


async def test_a_watch_ends_when_it_was_asked_to(api: Api, namespace: str) -> None:
    made = await api.create(r.CONFIG_MAPS, config_map(namespace))
    watch = api.watch(r.CONFIG_MAPS, namespace, since=made["metadata"]["resourceVersion"], timeout_seconds=1)
    assert [event async for event in watch if event.type != "BOOKMARK"] == []
