"""The Deployment of a model whose replicas are one pod each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload import external
from bailiwick.workload.gateonly import gate_only_template
from bailiwick.workload.naming import Manifest, metadata, queueing, selector
from bailiwick.workload.pod import pod_template

if TYPE_CHECKING:
    from bailiwick.workload.placing import Placing


def deployment(placing: Placing) -> Manifest | None:
    """Never fewer replicas than run. None where a replica takes several pods."""
    if placing.need.nodes > 1:
        return None
    model = placing.model
    endpoint = placing.endpoint
    template = gate_only_template(placing, endpoint) if endpoint else pod_template(placing)
    known = metadata(model)
    known["labels"] = known["labels"] | external.labels(endpoint)
    for each in (template["metadata"], known):
        each["labels"] = each["labels"] | queueing(model)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": known,
        "spec": {
            "replicas": model.spec.replicas,
            "selector": {"matchLabels": selector(model)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            # Before an engine starts, its weights are pulled or verified: they are read once more.
            "progressDeadlineSeconds": placing.start.seconds + placing.start.reading + 600,
            "revisionHistoryLimit": 3,
            "template": template,
        },
    }
