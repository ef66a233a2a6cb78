"""The gate and the seal: what stands between an engine and everybody else, inside its pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    about_engine = _about(placing.engine.MANNERS)
    return {
        "name": "gate",
        "image": placing.gate_image,
        "restartPolicy": "Always",
        **({"env": about_engine} if about_engine else {}),
        **LOGS_TELL,
        "ports": [{"name": "http", "containerPort": CLIENT_PORT}, {"name": "probes", "containerPort": PROBE_PORT}],
        "securityContext": RESTRICTED,
        "startupProbe": {**health, "periodSeconds": 1, "failureThreshold": 60},
        "livenessProbe": {**health, "periodSeconds": 10},
        # Hooks of all containers run at once, when the pod is to end: the engine goes on for a while, and meanwhile
        # every client is sent to open a connection elsewhere.
        "lifecycle": {"preStop": {"httpGet": {"path": "/gate/drain", "port": PROBE_PORT}}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }


def _about(manners: Manners) -> list[Manifest]:
    """What the gate's configuration cannot know of the engine behind it; what is usual is its default."""
    return [] if manners.health == "/health" else [{"name": "ENGINE_HEALTH", "value": manners.health}]
