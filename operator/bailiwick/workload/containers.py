"""What every container of a model's pods has: Pod Security *restricted*, and a word about why it ended."""

from __future__ import annotations

from typing import Any

LOGS_TELL: dict[str, Any] = {"terminationMessagePolicy": "FallbackToLogsOnError"}
"""Why a container ended stands in its status then, from where the model's status takes it."""
RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
