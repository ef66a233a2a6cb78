"""The NetworkPolicies that close a governed namespace, and open what all of its policies allow. Pure.

NetworkPolicies add up: whatever one of them allows is open. So what several policies allow together is worked out here,
and the API server lets nobody write one that allows more (charts/bailiwick/policies/networks.yaml).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.residencypolicy import Mode
from bailiwick.residency.territories import MANAGED_LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bailiwick.api.residencypolicy import Egress
    from bailiwick.residency.policies import CompiledPolicy

Manifest = dict[str, Any]

CLOSED: Final = "bailiwick-closed"
"""NetworkPolicy of a namespace: no pod reaches anything."""
EGRESS: Final = "bailiwick-egress"
"""NetworkPolicy of a namespace: what pods that are no engine's may reach in spite of it."""

_ANY: Final = (1, 65535)
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
# Imports have a way of their own, engines reach nothing at all, and a pod in quarantine reaches nothing any more.
_NEITHER: Final = ("bailiwick.dev/import", "bailiwick.dev/model", "bailiwick.dev/quarantined")
NAME_SERVICE: Final[Manifest] = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}


@dataclass(frozen=True, slots=True, order=True)
class Destination:
    """An address range and one range of ports of one protocol."""

    network: IPv4Network | IPv6Network
    protocol: str
    ports: tuple[int, int]

    def within(self, other: Destination) -> Destination | None:
        """What both allow; address ranges are nested or apart."""
        if self.protocol != other.protocol or self.network.version != other.network.version:
            return None
        first, last = max(self.ports[0], other.ports[0]), min(self.ports[1], other.ports[1])
        if not self.network.overlaps(other.network) or first > last:
            return None
        smaller = max(self.network, other.network, key=lambda network: network.prefixlen)
        return Destination(smaller, self.protocol, (first, last))


_EVERYWHERE: Final = tuple(Destination(ip_network(cidr), "TCP", _ANY) for cidr in ("0.0.0.0/0", "::/0"))


def network_policies(
    namespace: str, policies: Iterable[CompiledPolicy], others: Iterable[tuple[Egress, ...]] = ()
) -> tuple[Manifest, ...]:
    """What the operator applies in one namespace, in this order; nothing where no policy asks about the network.

    ``policies`` are all that govern it. In modes Audit and Warn they close nothing. ``others`` is what further policies
    open that cannot be read any more.
    """
    open_to = opened(policies, others)
    if open_to is None:
        return ()
    return (
        _network_policy(CLOSED, namespace, {}, []),
        _network_policy(
            EGRESS,
            namespace,
            {"matchExpressions": [{"key": label, "operator": "DoesNotExist"} for label in _NEITHER]},
            [{"to": [{"podSelector": {}}]}, NAME_SERVICE, *_rules(open_to)],
        ),
    )


def opened(
    policies: Iterable[CompiledPolicy], others: Iterable[tuple[Egress, ...]] = ()
) -> tuple[Destination, ...] | None:
    """What all policies of a namespace that close it open together; None where none closes it."""
    asked = [policy.spec.network for policy in policies if policy.mode is Mode.ENFORCE and policy.spec.network]
    lists = (*(network.egress for network in asked), *others)
    return common(lists) if lists else None


def way_out(open_to: tuple[Destination, ...] | None, host: str, port: int) -> tuple[str, ...]:
    """The address ranges in which a host may be that is reached by TCP on a port. None of ``open_to``: anywhere."""
    ways = _EVERYWHERE if open_to is None else open_to
    found = [each.network for each in ways if each.protocol == "TCP" and each.ports[0] <= port <= each.ports[1]]
    try:
        address = ip_network(host)
    except ValueError:
        return tuple(str(network) for network in found)
    inside = any(network.version == address.version and network.overlaps(address) for network in found)
    return (str(address),) if inside else ()


@lru_cache(maxsize=64)
def common(lists: tuple[tuple[Egress, ...], ...]) -> tuple[Destination, ...]:
    """The destinations that every one of the lists allows, in order; whatever the order of the lists."""
    first, *others = (set(_destinations(each)) for each in lists)
    for other in others:
        pairs = (one.within(another) for one in first for another in other)
        first = {both for both in pairs if both}
    kept = (one for one in first if not any(one != other and one.within(other) == one for other in first))
    return tuple(sorted(kept, key=lambda one: (one.network.version, one)))


def _destinations(egress: Iterable[Egress]) -> Iterable[Destination]:
    for each in egress:
        network = ip_network(each.cidr)
        for port in each.ports:
            yield Destination(network, port.protocol, (port.port, port.end_port or port.port))
        if not each.ports:
            yield from (Destination(network, protocol, _ANY) for protocol in _PROTOCOLS)


def _rules(destinations: Iterable[Destination]) -> Iterable[Manifest]:
    """One rule for each address range."""
    for network, found in groupby(destinations, key=lambda one: one.network):
        reached = tuple(found)
        rule: Manifest = {"to": [{"ipBlock": {"cidr": str(network)}}]}
        if tuple(one.protocol for one in reached if one.ports == _ANY) != _PROTOCOLS:
            rule["ports"] = [_port(one) for one in reached]
        yield rule


def _port(destination: Destination) -> Manifest:
    first, last = destination.ports
    port: Manifest = {"protocol": destination.protocol, "port": first}
    return port if first == last else {**port, "endPort": last}


def _network_policy(name: str, namespace: str, selector: Manifest, egress: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(MANAGED_LABELS)},
        "spec": {"podSelector": selector, "policyTypes": ["Egress"], **({"egress": egress} if egress else {})},
    }
