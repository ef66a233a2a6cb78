"""Faults while models come: how soon Bailiwick acts again, and that nothing is lost or done twice.

``python -m e2e.operate.drills [WORD…]`` runs those whose titles have one of the words, or all. Two replicas with the
rights of the chart, a real etcd and kube-apiserver as processes on loopback, and somebody who asks for two models a
second. After the fault, or its end where nothing can be done before, one more model is asked for. Time runs from when
the server takes it until it has its five children and its status.
"""

from __future__ import annotations

import secrets
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from e2e.client import PROMPT, ApiError, eventually
from e2e.operate.ground import Replicas, Server, Work, made_twice, stale, told_twice
from tests.apiserver.operator_process import IDENTITY
from tests.apiserver.worlds import granted_realm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.apiserver.realm import Realm

ASKED_SECONDS = 15.0
OUTAGE_SECONDS = 15.0
"""Longer than a lease lasts: the leader cannot hold it through an outage."""
PAUSES = 4


@dataclass(frozen=True, slots=True)
class Site:
    """What a fault may be made with."""

    realm: Realm
    server: Server
    replicas: Replicas
    work: Work


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault, and what makes it; it returns when the time to act again begins."""

    title: str
    fault: Callable[[Site], None]

    def __str__(self) -> str:
        return self.title.replace(" ", "-").replace(",", "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault did. Seconds, bytes, and what should be empty."""

    seconds: float
    models: int
    lost: list[str]
    twice: list[tuple[str, str, str]]
    stale: list[str]
    peak_bytes: int


def killed(site: Site) -> None:
    """The leader's machine is gone."""
    site.replicas[site.replicas.leader].kill()


def paused(site: Site) -> None:
    """Again and again the leader stops in the middle of its work, and wakes when another one leads."""
    for _ in range(PAUSES):
        first = eventually(lambda: site.replicas.leader, what="a replica leads")
        for _ in range(secrets.choice(range(5, 15))):
            site.work.one_more()
        leader = site.replicas[first]
        leader.signal(signal.SIGSTOP)
        eventually(lambda first=first: site.replicas.leader not in {"", first}, what="another leads")  # type: ignore[misc]
        leader.signal(signal.SIGCONT)
        assert leader.process.wait(15) == 1, "it ends at once, and says that it failed"


def cut(site: Site) -> None:
    """The leader is well, but neither reaches the API server nor hears from it."""
    site.replicas.cut(site.replicas.leader)


def restarted(site: Site) -> None:
    """The API server is gone and comes back; what was before is compacted, so every watch is told 410."""
    site.server.end("kube-apiserver")
    time.sleep(OUTAGE_SECONDS)
    site.server.compact()
    site.server.again("kube-apiserver")


def silent(site: Site) -> None:
    """The API server says nothing, and connections stay open."""
    site.server.signal("kube-apiserver", signal.SIGSTOP)
    time.sleep(OUTAGE_SECONDS)
    site.server.signal("kube-apiserver", signal.SIGCONT)


def slow(site: Site) -> None:
    """The API server has a fifth of its time."""
    deadline = time.monotonic() + OUTAGE_SECONDS
    while time.monotonic() < deadline:
        site.server.signal("kube-apiserver", signal.SIGSTOP)
        time.sleep(0.4)
        site.server.signal("kube-apiserver", signal.SIGCONT)
        time.sleep(0.1)


def too_many(site: Site) -> None:
    """The API server answers 429 to everything that Bailiwick asks."""
    flow = "flowcontrol.apiserver.k8s.io/v1"
    level = {
        "apiVersion": flow, "kind": "PriorityLevelConfiguration", "metadata": {"name": "jail"},
        "spec": {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}},
        },
    }  # fmt: skip
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ours = {"subjects": [{"kind": "User", "user": {"name": IDENTITY}}], "resourceRules": [everything]}
    schema = {
        "apiVersion": flow, "kind": "FlowSchema", "metadata": {"name": "jail"},
        "spec": {"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "jail"}, "rules": [ours]},
    }  # fmt: skip
    for manifest in (level, schema):
        site.realm.client.create(manifest)
    asked = site.server.as_user(IDENTITY)
    eventually(lambda: _refused(lambda: asked.get("v1", "Namespace", "default")), what="429")
    time.sleep(OUTAGE_SECONDS)
    for kind in ("FlowSchema", "PriorityLevelConfiguration"):
        site.realm.client.delete(flow, kind, "jail")


def _refused(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except ApiError as error:
        return error.code == httpx.codes.TOO_MANY_REQUESTS
    return False


def full(site: Site) -> None:
    """The disk of etcd is full: nothing can be written, everything can be read."""
    stuff = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"stuff": "x" * 900_000}}
    names = [f"stuff-{number}" for number in range(200)]
    for name in names:
        try:
            site.realm.client.create({**stuff, "metadata": {"name": name, "namespace": "default"}})
        except ApiError as error:
            said = str(error)
            break
    else:
        said = "etcd took everything"
    assert "database space exceeded" in said, said
    time.sleep(OUTAGE_SECONDS)
    site.realm.client.delete_all("v1", "ConfigMap", "default")
    site.server.compact()
    site.server.etcd("maintenance/defragment")
    for alarm in site.server.etcd("maintenance/alarm", action="GET")["alarms"]:
        site.server.etcd("maintenance/alarm", **alarm, action="DEACTIVATE")


DRILLS = (
    Drill("the leader is killed", killed),
    Drill("the leader is paused past its lease, four times", paused),
    Drill("the leader is cut off from the API server", cut),
    Drill("the API server restarts after 15 s, history gone", restarted),
    Drill("the API server is silent for 15 s", silent),
    Drill("the API server has a fifth of its time for 15 s", slow),
    Drill("every request of ours is answered 429 for 15 s", too_many),
    Drill("etcd is full for 15 s", full),
)


@contextmanager
def site() -> Iterator[Site]:
    """A server, two replicas at work and somebody who wants models."""
    with tempfile.TemporaryDirectory() as folder, granted_realm(Path(folder), kind=Server) as realm:
        server = realm.server
        assert isinstance(server, Server)
        with Replicas(server) as replicas, Work(realm) as work:
            yield Site(realm, server, replicas, work)


def run(drill: Drill) -> Outcome:
    """Make the fault, wait until all is well, and count. Raises AssertionError when nobody acts any more."""
    with site() as at:
        drill.fault(at)
        name = at.work.one_more()
        begun = time.monotonic()
        eventually(lambda: at.work.is_served(name), what="Bailiwick acts again", every=0.05)
        seconds = time.monotonic() - begun
        at.work.end()  # a model that is asked for while we count would count as lost
        with suppress(AssertionError):  # what is missing then is counted
            eventually(lambda: not at.work.missing(), what="every model is served", seconds=PROMPT)
        return Outcome(
            seconds=seconds,
            models=len(at.work.asked),
            lost=at.work.missing(),
            twice=[*made_twice(at.server), *told_twice(at.realm)],
            stale=[f"{each.replica} {each.verb} {'/'.join(each.what)} at {each.at}" for each in stale(at.server)],
            peak_bytes=at.replicas.peak_bytes,
        )


def main() -> int:
    """Run the drills, and print what became of each."""
    chosen = [each for each in DRILLS if not sys.argv[1:] or any(word in each.title for word in sys.argv[1:])]
    print(f"{'fault':52} acts after  models  lost  twice  stale  memory")
    bad = 0
    for drill in chosen:
        seen = run(drill)
        counts = (len(seen.lost), len(seen.twice), len(seen.stale))
        print(
            f"{drill.title:52} {seen.seconds:8.1f} s {seen.models:7} {counts[0]:5} {counts[1]:6} {counts[2]:6}"
            f"  {seen.peak_bytes / 2**20:.0f} MiB",
            flush=True,
        )
        bad += any(counts) or seen.seconds > ASKED_SECONDS
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
