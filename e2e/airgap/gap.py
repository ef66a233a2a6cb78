"""Nodes without a route out, a registry inside that stands for all others, and what pods tried to send."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from e2e.cluster import cluster, kind, places
from e2e.cluster.prerequisites import FOR_CAPTURES, require
from e2e.cluster.steps import ClusterError, run, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node_engine import Engine

MIRRORS = "/etc/containerd/certs.d"


@contextmanager
def no_route_out() -> Iterator[None]:
    """Take the default route from every node; what stays are the nodes, the pods and the Services.

    A node keeps what it had in a file, so that a killed run leaves nothing that the next one cannot put right.
    """
    engine = cluster.engine()
    for node in kind.NODES:
        _open(engine, node)
        route = engine.inside(node, "ip", "route", "show", "default").split()
        engine.inside(node, "sh", "-c", f"cat > {_KEPT}", given=" ".join(route))
        # The node's own programs come to Services by a route, too, before the address is translated.
        engine.inside(node, "ip", "route", "replace", kind.SERVICE_SUBNET, "dev", route[route.index("dev") + 1])
        engine.inside(node, "ip", "route", "del", "default")
    try:
        yield
    finally:
        for node in kind.NODES:
            _open(engine, node)


_KEPT = "/run/default-route"


def _open(engine: Engine, node: str) -> None:
    """Give a node its default route back, if it was taken."""
    kept = engine.attempt("exec", node, "cat", _KEPT).stdout.split()
    if kept:
        engine.inside(node, "ip", "route", "replace", *kept)
        engine.attempt("exec", node, "ip", "route", "del", kind.SERVICE_SUBNET)
        engine.inside(node, "rm", _KEPT)


@contextmanager
def mirrored(registry: str, address: str) -> Iterator[None]:
    """Have the nodes pull images of ``registry`` from that address, as containerd is told of a mirror."""
    engine, folder = cluster.engine(), f"{MIRRORS}/{registry}"
    hosts = f'server = "http://{address}"\n'
    for node in kind.NODES:
        engine.inside(node, "mkdir", "-p", folder)
        engine.inside(node, "sh", "-c", f"cat > {folder}/hosts.toml", given=hosts)
    try:
        yield
    finally:
        for node in kind.NODES:
            engine.inside(node, "rm", "-r", folder)


class Capture:
    """Every packet that a node carries for its pods, from before they start, in a file that tcpdump reads."""

    def __init__(self, node: str) -> None:
        self.file = places.LOGS / f"{node}.pcap"
        self._said = places.LOGS / f"{node}.tcpdump"
        self._node = node

    def __enter__(self) -> Self:
        require(FOR_CAPTURES)
        engine = cluster.engine()
        pid = engine.run("inspect", "--format", "{{.State.Pid}}", self._node).strip()
        self._process = started(
            self._said,
            "nsenter", f"--net=/proc/{pid}/ns/net", "tcpdump", "-i", "any", "-n", "-U", "-s", "96", "-B", "16384",
            "-Z", "root", "-w", self.file, f"src net {kind.POD_SUBNET} and {_BEGINS}",
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while "listening on" not in self._said.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(f"tcpdump does not listen: {self._said.read_text()}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> str:
        """Look no more; what tcpdump says of packets that it did not get in time: `0 packets dropped by kernel`."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
        return next(line for line in self._said.read_text().splitlines() if "dropped by kernel" in line)

    def begun_by(self, address: str, *, but: str = "") -> list[str]:
        """What a pod began to send, a line for each packet, except what the expression ``but`` describes."""
        beside = f" and not ({but})" if but else ""
        return run("tcpdump", "-n", "-tt", "-r", self.file, f"src host {address}{beside}").splitlines()


_BEGINS = "not arp and not (tcp and tcp[tcpflags] & (tcp-syn|tcp-ack) != tcp-syn) and not icmp6"
"""No answers: of TCP the packets that begin a connection, of everything else all."""
