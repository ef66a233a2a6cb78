"""Where credentials come from, and what is said when they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kubernetes.aio.client import Configuration

from bailiwick.cluster.connection import Connection
from bailiwick.cluster.errors import Terminal

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: here, user: me}}
- {name: two, context: {cluster: there, user: me}}
clusters:
- {name: here, cluster: {server: "https://here.example:6443/", tls-server-name: kubernetes.example}}
- {name: there, cluster: {server: "https://there.example"}}
users:
- {name: me, user: {token: secret}}
"""


@pytest.mark.parametrize(
    "content", [None, "", "{{{", "apiVersion: v1\nkind: Config\n"], ids=["absent", "empty", "no YAML", "bare"]
)
async def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Terminal, match=f"expected credentials from the kubeconfig {path}, found: ") as error:
        await Connection.open(kubeconfig=str(path))
    assert error.value.reason == "NoCredentials"


async def test_a_pod_without_a_token_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(Terminal, match="from the pod's service account, found: Service token file does not exist"):
        await Connection.open()


async def test_a_token_a_context_and_a_name_for_tls_are_taken_from_the_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(GOOD)
    async with await Connection.open(kubeconfig=str(path)) as one:
        assert one.url == "https://here.example:6443"
        assert await one.headers() == {"Authorization": "Bearer secret"}
        assert one.options == {"server_hostname": "kubernetes.example"}
    async with await Connection.open(kubeconfig=str(path), context="two") as two:
        assert (two.url, two.options) == ("https://there.example", {})


@pytest.mark.parametrize(("exempt", "proxy"), [("", "http://proxy.example:3128"), ("api.example", None)])
async def test_a_proxy_of_the_environment_is_used_unless_the_host_is_exempt(
    monkeypatch: pytest.MonkeyPatch, exempt: str, proxy: str | None
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", exempt)
    async with Connection(Configuration(host="https://api.example")) as connection:
        assert connection.options.get("proxy") == proxy
