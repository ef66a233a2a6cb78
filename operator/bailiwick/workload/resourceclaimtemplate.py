"""The ResourceClaimTemplate of a model whose devices are claimed (dynamic resource allocation), and who uses it.

Source: Kubernetes API `resource.k8s.io/v1`. The in-tree policy `claims.yaml` sees to it that what the scheduler
allocates stands on a node inside.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bailiwick.workload.naming import Manifest, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.workload.placing import Placing

_DEVICES = "devices"
"""What the claim is called in the pod, and the request in the claim."""


def resource_claim_template(placing: Placing) -> Manifest | None:
    """A claim for each pod, of all devices of a replica; None where devices are an extended resource, or none.

    Its content can never change, so its name tells what it asks for. One that is not used any more goes with the model.
    """
    need = placing.need
    if need.device_class is None:
        return None
    exactly = {"deviceClassName": need.device_class, "allocationMode": "ExactCount", "count": need.devices}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": metadata(placing.model) | {"name": _name(placing)},
        "spec": {"spec": {"devices": {"requests": [{"name": _DEVICES, "exactly": exactly}]}}},
    }


def pod_claims(placing: Placing) -> Sequence[Manifest]:
    """``resourceClaims`` of the pod."""
    if placing.need.device_class is None:
        return []
    return [{"name": _DEVICES, "resourceClaimTemplateName": _name(placing)}]


def container_claims(placing: Placing) -> Sequence[Manifest]:
    """``resources.claims`` of the engine: no other container sees the devices."""
    return [{"name": each["name"]} for each in pod_claims(placing)]


def _name(placing: Placing) -> str:
    need = placing.need
    asked = hashlib.sha256(f"{need.devices} {need.device_class}".encode()).hexdigest()[:8]
    return f"{placing.model.metadata.name}-devices-{asked}"
