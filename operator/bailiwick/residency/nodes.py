"""What is read from a Kubernetes Node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LABEL_PREFIX = "bailiwick.dev.node-restriction.kubernetes.io/"
"""Before the names of policies in the labels of nodes inside. NodeRestriction keeps kubelets from labels under this
prefix, the in-tree policy bailiwick-nodes everybody else.
"""


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods away from a node unless they tolerate it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Node:
    """One node, as far as residency and placement care. What the API server does not tell is an empty string.

    ``virtual`` says by which sign the node was recognised as a stand-in for another cluster (virtual-kubelet, Liqo,
    Admiralty and their kin); empty for a machine.
    """

    name: str
    uid: str
    provider_id: str
    machine_id: str
    system_uuid: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    allocatable: Mapping[str, str]
    ready: bool
    cordoned: bool
    virtual: str
    what: str = "node"
    """What it is called in messages: an endpoint outside the cluster is judged as a node is (`residency.endpoints`)."""


def read_node(raw: Mapping[str, Any]) -> Node:
    """The node from its manifest; fields that are missing are empty, and a node without a Ready condition is not.

    Our own labels are left out: they follow from what is believed about a node, and say nothing about it.
    """
    metadata, spec, status = (raw.get(part) or {} for part in ("metadata", "spec", "status"))
    info = status.get("nodeInfo") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if not key.startswith(LABEL_PREFIX)}
    taints = tuple(
        Taint(taint.get("key") or "", taint.get("value") or "", taint.get("effect") or "")
        for taint in spec.get("taints") or ()
    )
    return Node(
        name=metadata.get("name") or "",
        uid=metadata.get("uid") or "",
        provider_id=spec.get("providerID") or "",
        machine_id=info.get("machineID") or "",
        system_uuid=info.get("systemUUID") or "",
        labels=labels,
        taints=taints,
        allocatable=status.get("allocatable") or {},
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        cordoned=bool(spec.get("unschedulable")),
        virtual=_sign_of_a_virtual_node(labels, taints, info.get("kubeletVersion") or ""),
    )


# Sources: virtual-kubelet (node/node.go, examples), Azure ACI connector, Liqo (pkg/consts), Admiralty
# (common/constants.go), interLink, Alibaba Cloud ECI, Tencent TKE super nodes. A node can hide these signs; it then has
# no providerID that the region table knows, or it lies about that too, which only a statement that names the machine
# can tell.
_LABELS = {
    "type": "virtual-kubelet",
    "liqo.io/type": "virtual-node",
    "virtual-node.interlink/type": "virtual-kubelet",
    "node.kubernetes.io/instance-type": "eklet",
}
_KEYS = frozenset({"liqo.io/remote-cluster-id", "azure.com/aci", "eks.tke.cloud.tencent.com/eklet"})
"""Labels or taints that only stand-ins have, whatever their value."""
_DOMAINS = frozenset({
    "virtual-kubelet.io",
    "multicluster.admiralty.io",
    "virtual-node.liqo.io",
    "virtual-node.interlink",
})  # fmt: skip
"""What stands before the slash in labels and taints that only stand-ins have."""
_KUBELETS = ("-vk-", "virtual-kubelet", "eklet")


def _sign_of_a_virtual_node(labels: Mapping[str, str], taints: tuple[Taint, ...], kubelet: str) -> str:
    for key, value in _LABELS.items():
        if labels.get(key) == value:
            return f"label {key}={value}"
    for key in sorted(labels):
        if _tells(key):
            return f"label {key}"
    for taint in taints:
        if _tells(taint.key):
            return f"taint {taint.key}"
    if any(sign in kubelet.lower() for sign in _KUBELETS):
        return f"kubelet version {kubelet}"
    return ""


def _tells(key: str) -> bool:
    return key in _KEYS or key.partition("/")[0] in _DOMAINS
