"""Names, labels and owner of everything that a model is turned into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bailiwick.api.resource import API_VERSION

if TYPE_CHECKING:
    from bailiwick.api.sovereignmodel import SovereignModel

Manifest = dict[str, Any]

MODEL_LABEL = "bailiwick.dev/model"


def selector(model: SovereignModel) -> dict[str, str]:
    """Labels that choose the model's pods, and nothing else in its namespace. They can never change."""
    return {MODEL_LABEL: model.metadata.name}


def labels(model: SovereignModel) -> dict[str, str]:
    """Labels of every child."""
    return {
        "app.kubernetes.io/managed-by": "bailiwick",
        "app.kubernetes.io/name": str(model.spec.engine.name),
        "app.kubernetes.io/instance": model.metadata.name,
        **selector(model),
    }


QUEUEING = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class")
"""Labels by which somebody lets Kueue decide when pods may be scheduled. No others of Kueue are a user's to write."""


def queueing(model: SovereignModel) -> dict[str, str]:
    """Those that the model has: its workload has them, too. None of ours depends on them."""
    return {label: model.metadata.labels[label] for label in QUEUEING if label in model.metadata.labels}


def metadata(model: SovereignModel) -> Manifest:
    """Metadata of a child: named like its model, and gone with it."""
    return {
        "name": model.metadata.name,
        "namespace": model.metadata.namespace,
        "labels": labels(model),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "SovereignModel",
                "name": model.metadata.name,
                "uid": model.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
