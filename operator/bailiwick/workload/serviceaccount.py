"""The ServiceAccount of a model's pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bailiwick.workload.naming import Manifest, metadata

if TYPE_CHECKING:
    from bailiwick.workload.placing import Placing


def service_account(placing: Placing) -> Manifest:
    """An identity without rights and without a token: an engine has nothing to ask the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(placing.model),
        "automountServiceAccountToken": False,
    }
