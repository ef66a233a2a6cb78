"""A server of a module's own, and the operator at work there with the rights that the chart gives it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from e2e.client import eventually
from tests.apiserver.operator_process import SERVICE_ACCOUNTS, OperatorProcess
from tests.apiserver.realm import Realm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.client import Manifest
    from tests.apiserver.realm import Policy

RBAC = "rbac.authorization.k8s.io/v1"


def served_team(world: Realm, policy: Policy) -> str:
    """A namespace that a policy governs, with a model whose children are there; its name."""
    name = world.namespace(policy.selects)
    eventually(lambda: world.marked(name), what="the namespace is marked")
    world.model(name)
    world.served(name)
    return name


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


class Rights:
    """A ClusterRole that loses some of its rules, and gets them back."""

    def __init__(self, realm: Realm, name: str) -> None:
        self._realm = realm
        self._name = name
        self._rules: list[Manifest] = realm.client.get(RBAC, "ClusterRole", name)["rules"]

    def without(self, group: str, verbs: set[str]) -> None:
        """Take verbs away on everything of an API group."""
        kept = [
            rule | {"verbs": [verb for verb in rule["verbs"] if verb not in verbs]}
            if group in rule["apiGroups"]
            else rule
            for rule in self._rules
        ]
        self._put([rule for rule in kept if rule["verbs"]])

    def back(self) -> None:
        """As it was."""
        self._put(self._rules)

    def _put(self, rules: list[Manifest]) -> None:
        self._realm.client.patch(RBAC, "ClusterRole", self._name, {"rules": rules})
