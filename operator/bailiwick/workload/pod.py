"""The pods of a model: the gate, the seal and the engine, where they can only run inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.residency.territories import RESIDENT, label_of
from bailiwick.workload import copying, guard, sources, verification
from bailiwick.workload.containers import LOGS_TELL, RESTRICTED
from bailiwick.workload.gate import gate, seal
from bailiwick.workload.layout import (
    DRAIN_SECONDS,
    GRACE_SECONDS,
    PRE_STOP_SECONDS,
    PROBE_PORT,
    SCRATCH_PATH,
)
from bailiwick.workload.naming import labels
from bailiwick.workload.resourceclaimtemplate import container_claims, pod_claims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.api.resource import Part
    from bailiwick.workload.naming import Manifest
    from bailiwick.workload.placing import Placing

USER = 65532
_NOWHERE = [{"key": "bailiwick.dev/nowhere", "operator": operator} for operator in ("Exists", "DoesNotExist")]


def pod_template(placing: Placing) -> Manifest:
    """Pods that meet Pod Security *restricted*.

    Nothing in it depends on the operator's version or on time: pods restart only when their model changes.
    """
    return {"metadata": {"labels": labels(placing.model)}, "spec": _pod(placing)}


def _pod(placing: Placing) -> Manifest:
    model, accelerator = placing.model, placing.need.accelerator.spec
    spec: Manifest = {
        "serviceAccountName": model.metadata.name,
        "automountServiceAccountToken": False,
        # A Service called vllm would set VLLM_PORT=tcp://…, and the engine would not start.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "nodeSelector": _node_selector(placing),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [
            seal(placing),
            *copying.containers(placing),
            *verification.containers(placing),
            gate(placing),
        ],
        "containers": [_engine(placing)],
        "volumes": [
            *sources.volumes(model),
            *copying.volumes(model),
            *guard.volumes(model),
            *verification.volumes(model),
            {"name": "scratch", "emptyDir": {}},
            *_shared_memory(placing),
        ],
    }
    optional = {
        "affinity": _affinity(placing),
        "resourceClaims": pod_claims(placing),
        "imagePullSecrets": sources.pull_secrets(model),
        "tolerations": _tolerations(placing),
        "schedulerName": accelerator.scheduler_name,
        "runtimeClassName": accelerator.runtime_class_name,
    }
    return spec | {key: value for key, value in optional.items() if value}


def _shared_memory(placing: Placing) -> list[Manifest]:
    if not placing.engine.MANNERS.shared_memory:
        return []
    size = f"{max(placing.need.devices, 1)}Gi"
    return [{"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}}]


def where(placing: Placing) -> Manifest:
    """What keeps a pod of the model's inside, and where its class wants it."""
    optional = {"affinity": _affinity(placing), "tolerations": _tolerations(placing)}
    return {"nodeSelector": _node_selector(placing), **{key: value for key, value in optional.items() if value}}


def _tolerations(placing: Placing) -> list[Manifest]:
    return [_written(each) for each in placing.need.accelerator.spec.tolerations]


def _node_selector(placing: Placing) -> Mapping[str, str]:
    """The labels of every territory, ANDed with whatever else; then those of the device."""
    device = placing.need.accelerator.spec.node_selector
    return {
        **({} if device is None else dict(device.match_labels)),
        **{label_of(policy): RESIDENT for policy in placing.policies},
    }


def _affinity(placing: Placing) -> Manifest | None:
    """What no label says: the device's further requirements, and the nodes that the model's own residency leaves."""
    device = placing.need.accelerator.spec.node_selector
    expressions = [_written(each) for each in device.match_expressions] if device else []
    names = [[]] if placing.only_nodes is None else [[_named(node)] for node in placing.only_nodes]
    # Terms are ORed and each can hold one name. No term at all would mean anywhere, so an impossible one says nowhere.
    terms = [
        {key: wanted for key, wanted in (("matchExpressions", expressions), ("matchFields", name)) if wanted}
        for name in names
    ] or [{"matchExpressions": _NOWHERE}]
    if terms == [{}]:
        return None
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _written(part: Part) -> Manifest:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _named(node: str) -> Manifest:
    return {"key": "metadata.name", "operator": "In", "values": [node]}


def _engine(placing: Placing) -> Manifest:
    """The engine on loopback; probes reach its health through the gate."""
    health: dict[str, Any] = {"httpGet": {"path": "/health", "port": PROBE_PORT}}
    engine = placing.engine
    command = list(engine.command(placing))
    attempts = placing.start.seconds // 2
    # Requests that are under way end before the signal where the engine would cut them, and after it where it waits.
    pause = PRE_STOP_SECONDS if engine.MANNERS.drains else PRE_STOP_SECONDS + DRAIN_SECONDS
    memory = [{"name": "shared-memory", "mountPath": "/dev/shm"}] if engine.MANNERS.shared_memory else []  # noqa: S108 - the pod's own
    return {
        "name": "engine",
        "image": placing.engine_image,
        **({"command": command} if command else {}),
        "args": list(engine.arguments(placing)),
        "env": list(engine.environment(placing)),
        **LOGS_TELL,
        "securityContext": RESTRICTED,
        "startupProbe": {**health, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": attempts},
        "readinessProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
        "livenessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": pause}}},
        "resources": _resources(placing),
        "volumeMounts": [
            *sources.mounts(placing.model),
            {"name": "scratch", "mountPath": SCRATCH_PATH},
            *memory,
        ],
    }


def _resources(placing: Placing) -> Manifest:
    """What the class says a replica takes. Memory is also the limit: an engine that takes more ends, not its node."""
    need = placing.need
    requests = dict(need.requests)
    limits = {"memory": requests["memory"]} if "memory" in requests else {}
    devices = {need.resource: str(need.devices)} if need.resource else {}
    wanted: Manifest = {
        "requests": requests | devices,
        "limits": limits | devices,
        "claims": container_claims(placing),
    }
    return {kind: amounts for kind, amounts in wanted.items() if amounts}
