"""How an import finds the host that was judged: by its whole name, whatever the namespace calls its own.

A pod's resolver tries a name below its own namespace first, where a pod may bear it: `storage.example` is also pod
`storage` of a headless Service `example`, and a source that names the one must never be answered by the other.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp import ThreadedResolver

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult


class WholeNames(ThreadedResolver):
    """Resolves names as they are; only one without a domain, or of a Service (`name.namespace.svc`), is completed."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError when it has none."""
        return await super().resolve(whole(host), port, family)


def whole(host: str) -> str:
    """The name that is asked for."""
    return host if "." not in host or host.endswith((".", ".svc")) else f"{host}."
