"""Where pods run, and who says where a node is."""

import json
from collections.abc import Iterable

from e2e.border.attempts import (
    ADMINISTRATOR,
    HELD,
    LABEL,
    NAMESPACE,
    Row,
    affinity,
    bind,
    binding,
    passes,
    pod,
    pods,
    refused,
    term,
)
from e2e.demo.attacks import ABROAD, INSIDE, Attempt

STATEFUL_SETS = "system:serviceaccount:kube-system:statefulset-controller"
"""Who makes the pods of a LeaderWorkerSet."""


def placement() -> Iterable[Row]:
    compliant = (passes("a pod that asks for nothing", pod()),)
    outside = {LABEL: "foreign"}
    yield Row(
        1, "nodeName at creation",
        pods("nodeName", "WrongPlace", [pod(nodeName=ABROAD), pod(nodeName="laptop")]),
        (passes("nodeName inside", pod(nodeName=INSIDE, nodeSelector={LABEL: "resident"})),),
    )  # fmt: skip
    for number, through, url in ((2, "pods/binding", "pods/held/binding"), (3, "bindings", "bindings")):
        yield Row(number, f"a binding through {through}", (bind(url, ABROAD),), compliant)
    leads_out = [
        pod(nodeSelector=outside, affinity=affinity(*terms, preferred=preferred))
        for terms, preferred in (
            ((term("In", "resident"), term("In", ABROAD, key="kubernetes.io/hostname")), False),
            ((term("NotIn", "resident"),), False),
            ((term("Exists"),), False),
            ((term("In", ABROAD, key="kubernetes.io/hostname"),), True),
        )
    ]
    yield Row(4, "ORed affinity terms", pods("terms", "NotPinned", leads_out[:1]), compliant)
    yield Row(5, "weak operators", pods("operators", "NotPinned", leads_out[1:3]), compliant)
    yield Row(6, "preferred affinity only", pods("a preference", "NotPinned", leads_out[3:]), compliant)
    yield Row(7, "a plain pod beside the model", pods("outside", "NotPinned", [pod(nodeSelector=outside)]), compliant)
    wildcard = {"operator": "Exists"}
    quarantine = {"key": "bailiwick.dev/quarantine", "operator": "Exists"}
    yield Row(
        10, "tolerations of everything",
        pods("tolerations", "ForbiddenToleration", [pod(tolerations=[each]) for each in (wildcard, quarantine)]),
        (passes("one taint by name", pod(tolerations=[{"key": "example.com/gpu", "operator": "Exists"}])),),
    )  # fmt: skip
    mirror = pod(nodeName=INSIDE)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "0" * 32}
    yield Row(
        12, "the mirror of a static pod",
        (refused("a mirror", mirror, "bailiwick-pods", "MirrorPod", who=ADMINISTRATOR),),
        compliant,
    )  # fmt: skip
    yield Row(
        13, "a scheduler of one's own",
        pods("schedulerName", "ForbiddenScheduler", [pod(schedulerName="mine")]),
        (passes("Kubernetes' own", pod(schedulerName="default-scheduler")),),
    )  # fmt: skip

    group = {"leaderworkerset.sigs.k8s.io/name": "giant", "leaderworkerset.sigs.k8s.io/group-index": "0"}
    leader, worker = pod("giant-0"), pod("giant-0-1", nodeSelector=outside)
    for index, member in enumerate((leader, worker)):
        member["metadata"]["labels"] = {**group, "leaderworkerset.sigs.k8s.io/worker-index": str(index)}
    yield Row(
        14, "a group of which one member stands abroad",
        (refused("a worker", worker, "bailiwick-pods", "NotPinned", who=STATEFUL_SETS),),
        (passes("its leader", leader, who=STATEFUL_SETS),),
    )  # fmt: skip


def facts() -> Iterable[Row]:
    resident = f"{LABEL}=resident"
    kubelet = {"who": f"system:node:{ABROAD}", "groups": ("system:nodes", "system:authenticated")}
    topology = (
        "label",
        "--dry-run=server",
        "--overwrite",
        "node",
        ABROAD,
        "topology.kubernetes.io/region=eu-central-1",
    )
    believed_by_nobody = Attempt(name="its own region", command=topology, stopped_by="", reason="", **kubelet)  # type: ignore[arg-type]
    label = ("label", "--dry-run=server", "--overwrite", "node", ABROAD, resident)
    yield Row(
        18, "a kubelet that says it is inside",
        (Attempt(name="label", command=label, stopped_by="is not allowed to modify labels", reason=LABEL, **kubelet),),  # type: ignore[arg-type]
        (believed_by_nobody,),
    )  # fmt: skip
    through = [("nodes", ()), ("nodes/status", ("--subresource=status",))]
    patch = json.dumps({"metadata": {"labels": {LABEL: "resident"}}})
    yield Row(
        20, "an editor of nodes",
        tuple(
            Attempt(
                name=f"through {url}", who=ADMINISTRATOR, stopped_by="bailiwick-nodes", reason="ProtectedLabel",
                command=("patch", "node", ABROAD, "--dry-run=server", "--type=merge", "-p", patch, *options),
            )
            for url, options in through
        ),
        (Attempt(
            name="another label", who=ADMINISTRATOR, stopped_by="", reason="",
            command=("label", "--dry-run=server", "node", ABROAD, "example.com/rack=7"),
        ),),
    )  # fmt: skip
    born = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "new", "labels": {LABEL: "resident"}}}
    yield Row(
        17, "a node pool that stamps labels",
        (refused("a new node with the label", born, "bailiwick-nodes", "ProtectedLabel", who=ADMINISTRATOR),),
        (passes("without it", {**born, "metadata": {"name": "new"}}, who=ADMINISTRATOR),),
    )  # fmt: skip
    yield Row(22, "a node that is not there", (bind("pods/held/binding", "not-yet"),), (passes("a pod", pod()),))
    spoofed = binding(ABROAD)
    spoofed["metadata"]["labels"] = {"topology.kubernetes.io/region": "eu-central-1"}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/held/binding?dryRun=All"
    yield Row(
        25, "topology labels as evidence",
        (Attempt(
            name="a binding that says eu-central-1", who=ADMINISTRATOR, command=("create", "--raw", path, "-f", "-"),
            manifest=spoofed, stopped_by="bailiwick-bindings", reason="WrongPlace", prepare=(HELD,),
        ),),
        (passes("a pod", pod()),),
    )  # fmt: skip
    yield Row(
        24, "a node of which nothing is known",
        (bind("pods/held/binding", "stranger"), *pods("nodeName", "WrongPlace", [pod(nodeName="stranger")])),
        (passes("a pod that avoids what is known", pod(affinity=affinity(term("NotIn", "foreign")))),),
    )  # fmt: skip
