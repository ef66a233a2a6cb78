"""How we reach an API server: the official client's configuration, authentication and TLS, on one aiohttp session.

Only `kubernetes.aio`'s Configuration, loaders and REST client are imported. They are lazy about the typed models, which
would cost 45 MiB.
"""

from __future__ import annotations

import asyncio
import logging
import os
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import KUBE_CONFIG_DEFAULT_LOCATION as KUBECONFIG
from kubernetes.aio.config import (
    list_kube_config_contexts,
    load_incluster_config,
    load_kube_config,
    refresh_token,
)

from bailiwick.cluster.errors import Terminal

if TYPE_CHECKING:
    from types import SimpleNamespace

__all__ = ["KUBECONFIG", "NO_CREDENTIALS", "Connection", "Files", "namespace_of"]

logger = logging.getLogger(__name__)

NO_CREDENTIALS = "NoCredentials"
"""Reason of the error where there is no way to a cluster; its message says what to do."""
IDLE_SECONDS = 60.0
"""Unused connections are closed before the API server (90 s) does it: it would race with our next request."""
REFRESH_SECONDS = 60
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Files(NamedTuple):
    """Paths of PEM files; None where there is none."""

    ca_file: str | None
    certificate_file: str | None
    key_file: str | None


class Connection:
    """One identity at one API server. Open it with `Connection.open`; close it, or use it as a context manager."""

    def __init__(self, configuration: Configuration, *, loader: Any = None) -> None:
        self.url = str(configuration.host).rstrip("/")
        self._configuration = configuration
        self._transport = _Transport(_settled(configuration, self.url))
        self._refresh = asyncio.create_task(_refresh(loader, configuration)) if loader else None

    @classmethod
    async def open(cls, *, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """A connection by kubeconfig when one is named, else as the pod's service account, else by the user's own.

        In a pod the token is read again every minute, so a rotated one is used in time; a kubeconfig's exec plug-in
        is asked again before its token expires. Raises Terminal (reason NoCredentials) when there is none to be made.
        """
        configuration = Configuration()
        in_cluster = not kubeconfig and os.environ.get(_IN_CLUSTER)
        source = None if in_cluster else kubeconfig or KUBECONFIG
        try:
            if in_cluster:
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                return cls(configuration)
            loader = await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig or None,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
            return cls(configuration, loader=loader)
        except Exception as error:  # the loaders raise what they stumble over: a TypeError for an empty file
            raise _no_credentials(source, error) from error

    @property
    def session(self) -> aiohttp.ClientSession:
        """The pool of connections; without a limit of its own, because Api bounds the calls."""
        if self._transport.pool_manager is None:
            self._transport.pool_manager = self._transport._create_pool_manager()  # noqa: SLF001 - its documented hook
        return self._transport.pool_manager

    @property
    def options(self) -> dict[str, Any]:
        """What every request of this connection needs besides its own arguments (proxy, TLS server name)."""
        options: dict[str, Any] = {}
        if self._transport.proxy:
            options["proxy"] = self._transport.proxy
        if self._configuration.tls_server_name:
            options["server_hostname"] = self._configuration.tls_server_name
        return options

    def credentials(self) -> Files:
        """Where the certificates of this connection lie, for a client that brings its own transport."""
        known = self._configuration
        return Files(known.ssl_ca_cert, known.cert_file, known.key_file)

    async def headers(self) -> dict[str, str]:
        """The credentials of the moment; empty with client certificates."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"Authorization": token.strip()} if token else {}

    async def close(self) -> None:
        """Give up the connections and stop refreshing credentials."""
        if self._refresh:
            self._refresh.cancel()
            with suppress(asyncio.CancelledError):
                await self._refresh
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Transport(RESTClientObject):
    """The official client's TLS and session, with a pool sized for us."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, keepalive_timeout=IDLE_SECONDS)


def _settled(configuration: Configuration, url: str) -> Configuration:
    if not configuration.proxy:
        configuration.proxy = _environment_proxy(url)
    configuration.client_session_kwargs = {
        # With trust_env aiohttp would look for a proxy and a .netrc in a thread at every request.
        "trust_env": False,
        "cookie_jar": aiohttp.DummyCookieJar(),
        "trace_configs": [_fence()],
        "read_bufsize": 2**18,
        # Gzip costs both sides more than the bytes do on a cluster's network.
        "headers": {"Accept-Encoding": "identity", "User-Agent": "bailiwick"},
    }
    return configuration


def _fence() -> aiohttp.TraceConfig:
    """Asks what a request brings as `trace_request_ctx` when its connection is there, and again as its body leaves.

    Before that a request waits, for its credentials and for the server, and may no longer be ours to send. Between the
    two it waits for its turn in the event loop. Headers and body leave together, and nothing has left if asking fails.
    """

    async def ask(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        if context.trace_request_ctx:
            context.trace_request_ctx()

    fence = aiohttp.TraceConfig()
    fence.on_connection_create_end.append(ask)
    fence.on_connection_reuseconn.append(ask)
    fence.on_request_chunk_sent.append(ask)
    return fence


def _environment_proxy(url: str) -> str | None:
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


async def _refresh(loader: Any, configuration: Configuration) -> None:
    """Keep a kubeconfig's token fresh; returns at once when it has none that expires."""
    while True:
        try:
            await refresh_token(loader, configuration, REFRESH_SECONDS)  # type: ignore[no-untyped-call]
        except Exception:
            logger.exception("the kubeconfig's credentials could not be refreshed; trying again")
            await asyncio.sleep(REFRESH_SECONDS)
        else:
            return


def namespace_of(kubeconfig: str | None, context: str | None) -> str:
    """The namespace that a context names, or the pod's own where `Connection.open` is its service account's.

    ``default`` where nothing names one. Raises Terminal for a kubeconfig that cannot be read.
    """
    if not kubeconfig and os.environ.get(_IN_CLUSTER):
        return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else "default"
    try:
        contexts, current = list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except Exception as error:  # as above
        raise _no_credentials(kubeconfig or KUBECONFIG, error) from error
    chosen = next((each for each in contexts if each["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def _no_credentials(kubeconfig: str | None, error: Exception) -> Terminal:
    """Without a kubeconfig it was the pod's service account that was tried."""
    source, found = "the pod's service account", str(error)
    if kubeconfig:
        source = f"the kubeconfig {kubeconfig}"
        if not any(Path(each).expanduser().exists() for each in kubeconfig.split(os.pathsep)):
            found = "no such file"
    said = f"no way to a cluster: expected credentials from {source}, found: {found}; set KUBECONFIG to another"
    return Terminal("connect", status=None, reason=NO_CREDENTIALS, message=said)
