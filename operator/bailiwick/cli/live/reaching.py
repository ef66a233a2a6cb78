"""How commands that ask a cluster reach it, and what they say when they cannot."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from bailiwick.cluster.api import Api
from bailiwick.cluster.connection import KUBECONFIG, NO_CREDENTIALS, Connection, namespace_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from bailiwick.cluster.api import Person
    from bailiwick.cluster.errors import ApiError
    from bailiwick.cluster.resources import Resource

SECONDS = 15.0
"""One call; somebody waits before a terminal."""
_OURS = "bailiwick.dev"
_REMEDIES = {
    HTTPStatus.UNAUTHORIZED: "the cluster does not take these credentials any more; log in again",
    HTTPStatus.TOO_MANY_REQUESTS: "the API server is overloaded; try again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cluster, and as whom: kubectl's words."""
    parser.add_argument("--kubeconfig", metavar="FILE", help="credentials (default: $KUBECONFIG, or ~/.kube/config)")
    parser.add_argument("--context", metavar="NAME", help="a context of it (default: the current one)")


def add_namespace(parser: argparse.ArgumentParser, *, every: str | None = None) -> None:
    """Which namespace; with ``every``, what for all of them may be asked for."""
    chosen = parser.add_mutually_exclusive_group() if every else parser
    chosen.add_argument("-n", "--namespace", metavar="NAME", help="a namespace (default: the context's)")
    if every:
        chosen.add_argument("-A", "--all-namespaces", action="store_true", help=every)


@asynccontextmanager
async def reach(arguments: argparse.Namespace, acting_as: Person | None = None) -> AsyncIterator[Api]:
    """A port to the cluster that was chosen. Raises Terminal when there are no credentials for any."""
    async with await Connection.open(kubeconfig=_kubeconfig(arguments), context=arguments.context) as connection:
        yield Api(connection, seconds=SECONDS, acting_as=acting_as)


def namespace(arguments: argparse.Namespace) -> str:
    """The namespace that was chosen, or that of the context."""
    return arguments.namespace or namespace_of(_kubeconfig(arguments), arguments.context)


def _kubeconfig(arguments: argparse.Namespace) -> str | None:
    """None in a pod without another choice: its service account."""
    return arguments.kubeconfig or os.environ.get("KUBECONFIG") or (KUBECONFIG if arguments.context else None)


def refused(error: ApiError, resource: Resource) -> str:
    """Why a kind could not be listed, and what to do about it, where the answer is final."""
    if error.status == HTTPStatus.NOT_FOUND:
        if resource.group == _OURS:
            return f"this cluster serves no {resource.plural}: install Bailiwick there, or choose another by --context"
        return f"this cluster serves no {resource.plural}"
    role = "bailiwick-viewer" if resource.group == _OURS else "bailiwick-auditor"
    return f"you may not list {resource.plural}; ask for the ClusterRole {role}"


def told(error: ApiError) -> str:
    """A failure in a sentence that says what to do."""
    if error.reason == NO_CREDENTIALS:
        return error.message
    if error.status is None:
        return (
            f"the API server does not answer ({error.message}); see whether `kubectl version` reaches it, or choose "
            f"another by --context or --kubeconfig"
        )
    remedy = _REMEDIES.get(HTTPStatus(error.status)) if error.status in set(HTTPStatus) else None
    return remedy or str(error)
