"""A server of a module's own, and the operator at work there with the rights that the chart gives it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.apiserver.realm import SERVICE_ACCOUNTS, OperatorProcess, Realm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def granted_realm(folder: Path, **server: Any) -> Iterator[Realm]:
    """A server as `Realm.start` makes it, where operator and canary have the rights of the chart."""
    realm = Realm.start(**server)
    try:
        realm.grant(folder)
        yield realm
    finally:
        realm.server.stop()


@contextmanager
def looking(realm: Realm, name: str, **environment: str) -> Iterator[OperatorProcess]:
    """The operator with those rights, which looks for kinds of others every second."""
    process = OperatorProcess(realm.server, name, SERVICE_ACCOUNTS, BAILIWICK_LOOK_SECONDS="1", **environment)
    try:
        yield process.until_leading()
    finally:
        process.stop()
