"""Whether somebody enforces NetworkPolicies: who runs that could, and what the seals of models found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from bailiwick.cli.live.fitness.findings import Unseen, bad, doubtful, good, unseen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bailiwick.cli.live.fitness.findings import Finding
    from bailiwick.cli.live.fitness.seen import Raw, Seen

_CHECK: Final = "NetworkPolicy"
_EXPECTED: Final = "an engine on every node that enforces NetworkPolicies, egress among them"
_PROVE: Final = (
    "prove it: in an empty namespace with a NetworkPolicy that denies all egress, no pod may reach anything; the seals "
    "of models do the same"
)
_INSTALL: Final = "install an engine that enforces NetworkPolicies, such as Calico, Cilium, Antrea or kube-router"
_ENFORCERS: Final[Mapping[str, str]] = {
    "calico-node": "Calico", "canal": "Canal", "rke2-canal": "Canal", "cilium": "Cilium", "rke2-cilium": "Cilium",
    "anetd": "Cilium of GKE", "kube-router": "kube-router", "antrea-agent": "Antrea", "weave-net": "Weave Net",
    "ovnkube-node*": "OVN-Kubernetes", "kube-ovn-cni": "Kube-OVN", "azure-npm": "Azure NPM",
    "kube-network-policies": "kube-network-policies",
}  # fmt: skip
"""Names of DaemonSets, as their makers ship them."""
_SOMETIMES: Final[Mapping[str, str]] = {
    "kindnet": "kindnet enforces them since kind 0.24, not before",
    "terway*": "Terway enforces them where that was chosen",
}
_NEVER: Final[Mapping[str, str]] = {
    "kube-flannel*": "Flannel enforces none", "flannel*": "Flannel enforces none",
    "aws-node": "the VPC CNI enforces none without --enable-network-policy=true",
}  # fmt: skip
_ALONE: Final = ("+k3s", "+rke2")
"""In the version of a kubelet: distributions where an engine is part of the node's own process."""
_SOME: Final = 5


@dataclass(frozen=True, slots=True)
class _Seals:
    """What the init containers of models found: nodes where nothing came through, and replicas where something did."""

    nodes: frozenset[str]
    open: tuple[str, ...]


def network(seen: Seen) -> Iterator[Finding]:
    """One answer: what was tried counts for more than who runs."""
    seals = _sealed(() if isinstance(seen.replicas, Unseen) else seen.replicas)
    if seals.open:
        yield bad(
            _CHECK, f"the seal of {_listed(seals.open)} found the way out open", expected=_EXPECTED,
            remedy=f"{_INSTALL}; if one runs, see why it leaves that node out",
        )  # fmt: skip
        return
    nodes = _names(seen.nodes)
    if nodes and seals.nodes >= nodes:
        yield good(_CHECK, f"the seals of models found nothing that passes, on each of {len(nodes)} nodes")
    elif isinstance(seen.daemons, Unseen):
        yield unseen(_CHECK, seen.daemons, expected=_EXPECTED)
    else:
        yield _by_engines(seen.daemons, nodes, seals, alone=_runs_alone(seen))


def _by_engines(daemons: Sequence[Raw], nodes: frozenset[str], seals: _Seals, *, alone: bool) -> Finding:
    engines = _engines(daemons)
    proved = f"; the seals of models proved it on {_listed(sorted(seals.nodes))}" if seals.nodes else ""
    if engines:
        return _coverage(engines, nodes, proved)
    if found := _known(daemons, _SOMETIMES):
        return doubtful(_CHECK, f"{found}{proved}", expected=_EXPECTED, remedy=_PROVE)
    if alone:
        said = f"k3s or RKE2 runs, whose engine is part of the node's process and cannot be seen{proved}"
        return doubtful(
            _CHECK, said, expected=_EXPECTED, remedy=f"{_PROVE}; k3s has --disable-network-policy to turn it off"
        )
    if (found := _known(daemons, _NEVER)) and not seals.nodes:
        return bad(
            _CHECK, f"{found}, and nothing known that enforces them runs beside it", expected=_EXPECTED, remedy=_INSTALL
        )
    return doubtful(
        _CHECK, f"no engine that is known to enforce them runs as a DaemonSet{proved}", expected=_EXPECTED,
        remedy=f"{_PROVE}; if it does not hold, {_INSTALL}",
    )  # fmt: skip


def _coverage(engines: Mapping[str, Sequence[Raw]], nodes: frozenset[str], proved: str) -> Finding:
    """Whether the engine that covers most nodes covers all of them."""
    counts = {name: _ready(each) for name, each in engines.items()}
    name = max(counts, key=lambda each: counts[each])
    ready, wanted = counts[name], max(len(nodes), _desired(engines[name]))
    told = f"{name} is ready on {ready} of {wanted} nodes{proved}"
    if wanted and ready >= wanted:
        return good(_CHECK, f"{told}; that it enforces is not proved by that" if not proved else told)
    return doubtful(
        _CHECK, told, expected=_EXPECTED,
        remedy="see why it is not ready everywhere (kubectl get daemonsets -A); pods on the other nodes are open",
    )  # fmt: skip


def _engines(daemons: Iterable[Raw]) -> Mapping[str, Sequence[Raw]]:
    found: defaultdict[str, list[Raw]] = defaultdict(list)
    for each in daemons:
        name = _matching(each, _ENFORCERS) or ("VPC CNI" if _vpc_enforces(each) else None)
        if name:
            found[name].append(each)
    return found


def _vpc_enforces(daemon: Raw) -> bool:
    """Its agent is there in any case, and is told by a flag whether to work."""
    containers = daemon["spec"]["template"]["spec"].get("containers") or ()
    return daemon["metadata"]["name"] == "aws-node" and any(
        "--enable-network-policy=true" in (container.get("args") or ()) for container in containers
    )


def _known(daemons: Iterable[Raw], table: Mapping[str, str]) -> str:
    return "; ".join(dict.fromkeys(said for each in daemons if (said := _matching(each, table))))


def _matching(daemon: Raw, table: Mapping[str, str]) -> str | None:
    return next((said for name, said in table.items() if fnmatchcase(daemon["metadata"]["name"], name)), None)


def _ready(daemons: Iterable[Raw]) -> int:
    return sum((each.get("status") or {}).get("numberReady") or 0 for each in daemons)


def _desired(daemons: Iterable[Raw]) -> int:
    return sum((each.get("status") or {}).get("desiredNumberScheduled") or 0 for each in daemons)


def _runs_alone(seen: Seen) -> bool:
    nodes = () if isinstance(seen.nodes, Unseen) else seen.nodes
    versions = [((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "") for node in nodes]
    return any(mark in version for version in versions for mark in _ALONE)


def _sealed(pods: Iterable[Raw]) -> _Seals:
    nodes, open_ = set(), []
    for pod in pods:
        state = next((each for each in _initial(pod) if each.get("name") == "seal"), {})
        ended = (state.get("state") or {}).get("terminated") or (state.get("lastState") or {}).get("terminated")
        if ended and ended.get("exitCode") == 0:
            nodes.add(pod["spec"].get("nodeName", ""))
        elif ended:
            open_.append(f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}")
    return _Seals(frozenset(nodes), tuple(sorted(open_)))


def _initial(pod: Raw) -> Sequence[Raw]:
    return (pod.get("status") or {}).get("initContainerStatuses") or ()


def _names(nodes: Sequence[Raw] | Unseen) -> frozenset[str]:
    return frozenset() if isinstance(nodes, Unseen) else frozenset(each["metadata"]["name"] for each in nodes)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
    return f"{', '.join(names[:_SOME])}{more}"
