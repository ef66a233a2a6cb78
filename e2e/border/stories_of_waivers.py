"""Exceptions: who makes them, how they add up, and how they end."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from e2e.border.attempts import NAMESPACE, refused
from e2e.border.stage import Story
from e2e.border.stories_of_nodes import WAITS, comes_inside, is_refused, node
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2e.border.attempts import Manifest
    from e2e.border.stage import Stage

ASKS, APPROVERS = "anna", ("bert", "cleo")
MACHINE = "bare://rack-1/7"
VISITOR = "visitor"
"""A node of which nobody knows where it stands: place and assurance must both be lifted."""
PROGRAM = f"system:serviceaccount:{NAMESPACE}:default"
"""A program that somebody gave the right to approve."""
GROUP = "bailiwick.dev/v1alpha1"


def waivers() -> Iterable[Story]:
    """Row 40."""
    yield Story(40, "exceptions that widen each other", _exceptions)


def _exceptions(stage: Stage) -> None:
    """One's own approval, another's name, two that would add up, and one that ends."""
    with stage.there(node(VISITOR, provider_id=MACHINE), WAITS):
        half, other = (_asked(stage, f"half-{lifts}", 600, lifts) for lifts in ("place", "assurance"))
        try:
            approval = _approval(half, ASKS)
            by = "bailiwick-waivers"
            stage.refused(
                refused("one's own approval", approval, by, "SelfApproval", who=ASKS),
                refused("in another's name", _approval(half, "cleo"), by, "ForgedName", who="bert"),
                refused("by a program", _approval(half, PROGRAM), by, "NotAPerson", who=PROGRAM),
                refused("asked for by nobody", _waiver("x", 60, "place"), "is forbidden", "cannot create", who="bert"),
            )
            for waiver in (half, other):
                _approve(stage, waiver)
            wait_until(lambda: _says(stage, half) and _says(stage, other), what="both halves are in force")
            is_refused(stage, VISITOR, since=time.monotonic())
            whole = _asked(stage, "whole", 40, "place", "assurance")
            ends = datetime.fromisoformat(whole["spec"]["expiresAt"])
            _approve(stage, whole)
            comes_inside(stage, VISITOR)
            since = time.monotonic() + (ends - datetime.now(UTC)).total_seconds()
            is_refused(stage, VISITOR, since=since)
        finally:
            stage.kubectl.must("delete", "waiverapproval,residencywaiver", "-l", "border.example/row=40")


def _says(stage: Stage, waiver: Manifest) -> bool:
    seen = stage.kubectl.get("residencywaiver", waiver["metadata"]["name"]).get("status", {}).get("conditions", [])
    return any(each["type"] == "Active" and each["status"] == "True" for each in seen)


def _asked(stage: Stage, name: str, seconds: int, *lifts: str) -> Manifest:
    made = stage.as_(ASKS, "create", "-f", "-", manifest=json.dumps(_waiver(name, seconds, *lifts)))
    assert made.accepted, made.text
    return stage.kubectl.get("residencywaiver", name)


def _approve(stage: Stage, waiver: Manifest) -> None:
    for who in APPROVERS:
        made = stage.as_(who, "create", "-f", "-", manifest=json.dumps(_approval(waiver, who)))
        assert made.accepted, made.text


def _waiver(name: str, seconds: int, *lifts: str) -> Manifest:
    now = datetime.now(UTC)
    spec = {
        "policy": NAMESPACE, "requester": ASKS, "node": {"name": VISITOR, "providerID": MACHINE},
        "dimensions": list(lifts), "reason": "a test",
        "notBefore": f"{now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
        "expiresAt": f"{now + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip
    metadata = {"name": name, "labels": {"border.example/row": "40"}}
    return {"apiVersion": GROUP, "kind": "ResidencyWaiver", "metadata": metadata, "spec": spec}


def _approval(waiver: Manifest, who: str) -> Manifest:
    of = waiver["metadata"]
    spec = {"waiver": of["name"], "waiverUID": of["uid"], "requester": ASKS, "approver": who}
    metadata = {"name": f"{of['name']}-{who.rpartition(':')[2]}", "labels": {"border.example/row": "40"}}
    return {"apiVersion": GROUP, "kind": "WaiverApproval", "metadata": metadata, "spec": spec}
