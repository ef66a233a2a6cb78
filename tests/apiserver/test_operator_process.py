"""The operator as a process: who leads, how it ends, and what a restart writes."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from e2e.client import eventually
from tests.apiserver.operator_process import SYSTEM
from tests.apiserver.realm import ADMISSION, ENFORCED, OURS, VALIDATING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Realm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"


@pytest.fixture
def start(realm: Realm) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts replicas, which end with the test."""
    started: list[OperatorProcess] = []

    def begin(name: str = "operator") -> OperatorProcess:
        started.append(realm.operator(name))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
    # What is still there is for the operator to remove, and the next test wants its lease now.
    realm.client.delete("coordination.k8s.io/v1", "Lease", "bailiwick-operator", SYSTEM)
    realm.clear()
    if not realm.client.list(OURS, "Territory"):
        return
    last = realm.operator("last")
    try:
        last.until_leading()
        eventually(lambda: not realm.client.list(OURS, "Territory"), what="every border is withdrawn")
    finally:
        last.stop()


def holder(realm: Realm) -> str:
    lease = realm.client.find("coordination.k8s.io/v1", "Lease", "bailiwick-operator", SYSTEM)
    return (lease or {}).get("spec", {}).get("holderIdentity") or ""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


def test_a_standby_is_ready_and_takes_over_when_the_leader_dies(
    realm: Realm, start: Callable[..., OperatorProcess]
) -> None:
    leader = start("leader").until_leading()
    standby = start("standby")
    eventually(standby.ready, what="the standby is ready")
    assert standby.metric("bailiwick_leader") == 0
    assert standby.metric("bailiwick_store_objects") == 0, "a standby holds no watches"
    leader.kill()
    with within(20):
        eventually(lambda: holder(realm).startswith("standby_"), what="the standby takes over")
    standby.until_leading()
    policy = realm.policy("DE")
    policy.in_force()


def test_a_leader_that_is_asked_to_end_gives_the_lease_back(
    realm: Realm, start: Callable[..., OperatorProcess]
) -> None:
    leader = start("leader").until_leading()
    standby = start("standby")
    eventually(standby.ready, what="the standby is ready")
    with within(15):
        assert leader.stop() == 0
    with within(5):
        eventually(lambda: holder(realm).startswith("standby_"), what="the standby takes over")
    assert standby.stop() == 0
    assert holder(realm) == ""


def test_a_standby_that_is_asked_to_end_does(realm: Realm, start: Callable[..., OperatorProcess]) -> None:
    start("leader").until_leading()
    standby = start("standby")
    eventually(standby.ready, what="the standby is ready")
    with within(5):
        assert standby.stop() == 0
    assert holder(realm).startswith("leader_")


def test_who_lost_the_lease_writes_nothing_and_ends(realm: Realm, start: Callable[..., OperatorProcess]) -> None:
    first = start("first").until_leading()
    first.signal(signal.SIGSTOP)
    second = start("second")
    eventually(lambda: holder(realm).startswith("second_"), what="another one takes the lease")
    second.until_leading()
    second.signal(signal.SIGSTOP)
    policy = realm.policy("DE")
    before = realm.everything()
    first.signal(signal.SIGCONT)
    assert first.process.wait(15) == 1, "it ends at once, and says that it failed"
    assert realm.everything() == before, "it saw the policy and may not act on it"
    second.signal(signal.SIGCONT)
    assert realm.find("Territory", policy.name) is None or second.process.poll() is None


def test_a_restart_with_nothing_to_change_writes_nothing(realm: Realm, start: Callable[..., OperatorProcess]) -> None:
    first = start("first").until_leading()
    realm.node(FRANKFURT)
    node = realm.node()
    realm.statement(node, "DE")
    policy = realm.policy("DE", models={"sources": ["oci://registry.example/"]}, images={"registries": ["a.example/"]})
    policy.in_force()
    namespace = realm.namespace(policy.selects)
    eventually(lambda: realm.model(namespace, replicas=2), what="the model is admitted")
    realm.served(namespace)
    # Nobody granted the canary anything here: it looks some seconds later, and says that it cannot.
    eventually(
        lambda: (
            (told := policy.condition("Enforced"))["reason"] != "NothingGoverned"
            and "has not tried" not in told["message"]
        ),
        what="the canary looked",
    )
    before = realm.settled()
    assert first.stop() == 0
    second = start("second").until_leading()
    eventually(lambda: second.metric("bailiwick_reconcile_seconds_count") >= 4, what="every key was looked at")
    assert realm.settled() == before
    assert second.writes() == {}
    assert second.metric("bailiwick_reconcile_errors_total") == 0


def test_a_border_outlives_its_policy_until_the_operator_withdraws_it(
    realm: Realm, start: Callable[..., OperatorProcess]
) -> None:
    first = start("first").until_leading()
    node = realm.node(FRANKFURT)
    policy = realm.policy("DE")
    policy.in_force().holds(node)
    realm.settled()
    assert first.stop() == 0
    policy.delete()
    time.sleep(1)
    assert policy.inside() == {node}
    assert policy.bindings().keys() == ENFORCED
    start("second").until_leading()
    policy.withdrawn()


@pytest.mark.parametrize("gone", ["Territory", "label"])
def test_what_is_left_of_a_border_is_found_by_any_piece(
    realm: Realm, start: Callable[..., OperatorProcess], gone: str
) -> None:
    first = start("first").until_leading()
    node = realm.node(FRANKFURT)
    policy = realm.policy("DE")
    policy.in_force().holds(node)
    realm.settled()
    assert first.stop() == 0
    policy.delete()
    if gone == "Territory":
        realm.forger.delete(OURS, "Territory", policy.name)
        realm.client.delete("v1", "Node", node)
    else:
        realm.client.delete("v1", "Node", node)
    start("second").until_leading()
    policy.withdrawn()
    eventually(
        lambda: not realm.client.find(ADMISSION, VALIDATING, "bailiwick-namespaces"), what="labels are free again"
    )
