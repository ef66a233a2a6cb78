"""The LeaderWorkerSet of a model whose replicas are groups of pods, and the NetworkPolicies around each group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.residency.egress import NAME_SERVICE
from bailiwick.workload.group import GROUP_LABEL, GROUP_SET, SET_LABEL, set_name
from bailiwick.workload.layout import DRAIN_SECONDS, PRE_STOP_SECONDS
from bailiwick.workload.naming import MODEL_LABEL, Manifest, labels, metadata, queueing
from bailiwick.workload.pod import pod_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.workload.placing import Placing

RENDEZVOUS_PORT = 29501
"""Of the leader, where members find each other."""
_OF_LEADERS = ("startupProbe", "readinessProbe", "livenessProbe")


def leader_worker_set(placing: Placing) -> Manifest | None:
    """One group of pods per replica, replaced as a whole; None for a model whose replicas are one pod each.

    Leaders and workers begin together: a leader answers only when all of its workers have joined it.
    """
    if placing.need.nodes == 1:
        return None
    model = placing.model
    known = metadata(model) | {"name": set_name(model), "labels": labels(model) | queueing(model)}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": GROUP_SET,
        "metadata": known,
        "spec": {
            "replicas": model.spec.replicas,
            "startupPolicy": "LeaderCreated",
            # A group more, while one is replaced, would need its nodes twice.
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 0},
            },
            "leaderWorkerTemplate": {
                "size": placing.need.nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": _leader(placing),
                "workerTemplate": _worker(placing),
            },
        },
    }


def group_network_policies(placing: Placing) -> Iterator[Manifest]:
    """One for each group: its members reach each other and the name service, by which they find their leader.

    Nothing that passes between them is encrypted or authenticated, so nobody else may come near, other groups of the
    same model included. A group that is on its way out keeps its own until it is gone.
    """
    if placing.need.nodes == 1:
        return
    model = placing.model
    there = model.status.replicas if model.status else 0
    for index in range(max(model.spec.replicas, there)):
        members = {MODEL_LABEL: model.metadata.name, SET_LABEL: set_name(model), GROUP_LABEL: str(index)}
        each_other = [{"podSelector": {"matchLabels": members}}]
        yield {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata(model) | {"name": f"{set_name(model)}-{index}"},
            "spec": {
                "podSelector": {"matchLabels": members},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": each_other}],
                "egress": [{"to": each_other}, NAME_SERVICE],
            },
        }


def _leader(placing: Placing) -> Manifest:
    template = pod_template(placing)
    (engine,) = template["spec"]["containers"]
    engine["args"] = [*engine["args"], *_joining(placing)]
    return template


def _worker(placing: Placing) -> Manifest:
    """Sealed like its leader, without a gate: it serves nobody but its leader, and outlives what that still answers."""
    template = pod_template(placing)
    spec = template["spec"]
    (engine,) = spec["containers"]
    engine["args"] = [*engine["args"], *_joining(placing), "--headless"]
    for probe in _OF_LEADERS:
        engine.pop(probe, None)
    engine["lifecycle"] = {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS + DRAIN_SECONDS}}}
    spec["initContainers"] = [each for each in spec["initContainers"] if each["name"] != "gate"]
    return template


def _joining(placing: Placing) -> list[Any]:
    """The engine's own way to span nodes. LeaderWorkerSet puts these variables into every container."""
    return [
        *("--nnodes", str(placing.need.nodes), "--node-rank", "$(LWS_WORKER_INDEX)"),
        *("--master-addr", "$(LWS_LEADER_ADDRESS)", "--master-port", str(RENDEZVOUS_PORT)),
        *("--distributed-executor-backend", "mp"),
        # Else a member gives up after ten minutes while another's node still pulls, and has the whole group made anew.
        *("--distributed-timeout-seconds", str(placing.start.seconds)),
    ]
