"""The gate and the seal: what stands between an engine and everybody else, inside its pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload import guard
from bailiwick.workload.containers import LOGS_TELL, RESTRICTED
from bailiwick.workload.layout import CLIENT_PORT, PROBE_PORT

if TYPE_CHECKING:
    from bailiwick.workload.naming import Manifest
    from bailiwick.workload.placing import Manners, Placing


def seal(placing: Placing) -> Manifest:
    """The engine starts only when a connection to the outside is refused: a new pod's first packets would leave."""
    return {
        "name": "seal",
        "image": placing.gate_image,
        "command": ["/usr/local/bin/wait-until-sealed"],
        **LOGS_TELL,
        "securityContext": RESTRICTED,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    }


def gate(placing: Placing) -> Manifest:
    """A sidecar that starts before the engine and ends after it."""
    health = {"httpGet": {"path": "/gate/health", "port": PROBE_PORT}}
    environment = [*_about(placing.engine.MANNERS), *guard.environment(placing.model)]
    mounts = guard.mounts(placing.model)
    return {
        "name": "gate",
        "image": placing.gate_image,
        "restartPolicy": "Always",
        **LOGS_TELL,
        "ports": [{"name": "http", "containerPort": CLIENT_PORT}, {"name": "probes", "containerPort": PROBE_PORT}],
        **({"env": environment} if environment else {}),
        **({"volumeMounts": mounts} if mounts else {}),
        "securityContext": RESTRICTED,
        "startupProbe": {**health, "periodSeconds": 1, "failureThreshold": 60},
        "livenessProbe": {**health, "periodSeconds": 10},
        # Hooks of all containers run at once, when the pod is to end: the engine goes on for a while, and meanwhile
        # every client is sent to open a connection elsewhere.
        "lifecycle": {"preStop": {"httpGet": {"path": "/gate/drain", "port": PROBE_PORT}}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": f"{_mebibytes(placing)}Mi"}},
    }


def _mebibytes(placing: Placing) -> int:
    """What the gate may take: clients that read nothing of what they get must not end it for everybody.

    Each has HAProxy hold three buffers of 64 KiB: 352 MB were measured with 1990 of them, 208 MB with 1000.
    """
    limits = placing.model.spec.serving.limits
    # 256 KiB for each connection above those that are usual.
    needed = 256 + -(-max((limits.connections if limits else 0) - _USUAL_CONNECTIONS, 0) // 4)
    # When keys of tokens or certificates rotate, a new HAProxy stands beside the one before for a while.
    return needed * 2 if guard.mounts(placing.model) else needed


_USUAL_CONNECTIONS = 1024


def _about(manners: Manners) -> list[Manifest]:
    """What the gate's configuration cannot know of the engine behind it; what is usual is its default."""
    known = {
        "ENGINE_HEALTH": "" if manners.health == "/health" else manners.health,
        "ENGINE_KEEPS_CONNECTIONS": "true" if manners.keeps_connections else "",
    }
    return [{"name": name, "value": value} for name, value in known.items() if value]
