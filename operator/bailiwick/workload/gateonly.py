"""The pods of a model that is served outside the cluster: a gate that leads there, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.residency.endpoints import address_of
from bailiwick.workload import external, guard
from bailiwick.workload.gate import gate, seal
from bailiwick.workload.layout import DRAIN_SECONDS, GRACE_SECONDS, PRE_STOP_SECONDS, PROBE_PORT
from bailiwick.workload.naming import labels
from bailiwick.workload.pod import USER, where

if TYPE_CHECKING:
    from bailiwick.residency.endpoints import JudgedEndpoint
    from bailiwick.workload.naming import Manifest
    from bailiwick.workload.placing import Placing


def gate_only_template(placing: Placing, endpoint: JudgedEndpoint) -> Manifest:
    """Pods that meet Pod Security *restricted*, on nodes inside like any model's: prompts pass them in clear."""
    model = placing.model
    return {
        "metadata": {"labels": {**labels(model), **external.labels(endpoint)}},
        "spec": {
            "serviceAccountName": model.metadata.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            **where(placing),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            # Before the NetworkPolicy is in force the way to any address is open, not only to this one.
            "initContainers": [seal(placing)],
            "containers": [_gate(placing, endpoint)],
            "volumes": guard.volumes(model),
        },
    }


def _gate(placing: Placing, endpoint: JudgedEndpoint) -> Manifest:
    """The gate as it stands before an engine, but ready when the endpoint answers, and draining by itself."""
    made = gate(placing)
    for given in ("restartPolicy", "lifecycle"):
        made.pop(given)
    asked = [each for each in made.get("env", ()) if each["name"] != "ENGINE_HEALTH"]
    health = {"httpGet": {"path": "/health", "port": PROBE_PORT}}
    return {
        **made,
        "env": [*asked, *_environment(endpoint)],
        "readinessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 2},
        # Until every node has taken the pod out of its Services, requests still come; what is under way then ends.
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
    }


def _environment(endpoint: JudgedEndpoint) -> list[Manifest]:
    server = endpoint.endpoint
    told = {
        "ENDPOINT_ADDRESS": address_of(server),
        "ENDPOINT_NAME": server.server_name,
        "ENDPOINT_CA": server.certificate_authority,
        # The gate stops by itself when the statement ends, also while nobody is there to remove it.
        "ENDPOINT_UNTIL": str(int(endpoint.statement.spec.expires_at.timestamp())),
        "ENGINE_HEALTH": server.health_path,
        "GATE_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    return [{"name": name, "value": value} for name, value in told.items()]
