"""The status of a waiver, and the metric that is made of it, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.residencywaiver import ResidencyWaiver
from bailiwick.cluster import resources, trim
from bailiwick.cluster.store import Store
from bailiwick.control.metrics import Metrics
from bailiwick.control.status import turned
from bailiwick.control.waiver_status import Seen, summarise
from bailiwick.residency.waivers import compile_waiver, with_waivers
from tests.unit.residency.given import ATLAS, FRANKFURT, NOW, day, policy
from tests.unit.residency.test_waivers import TERMS, approval, machine, waiver

if TYPE_CHECKING:
    from datetime import datetime

MANIFEST = {"metadata": {"name": "w1", "generation": 1}}
POLICY = policy(waivers=TERMS)


def seen(*lifts: str, by: tuple[str, ...] = ("bert", "cleo"), **spec: Any) -> Seen:
    one = waiver("w1", *lifts, **spec)
    approvals = [approval(each) for each in by]
    asked = with_waivers(POLICY, [one], approvals, ATLAS)
    return Seen(one, approvals, asked, compile_waiver(asked, one, ATLAS), machine())


def conditions(given: Seen, now: datetime = NOW) -> dict[str, tuple[str, str]]:
    status = summarise(MANIFEST, given, now=now)
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


APPROVED, IN_FORCE = ("True", "Approved"), ("True", "InForce")
TOO_FEW = (("False", "ApprovalsMissing"), ("False", "NotApproved"), ("False", "NotApproved"))


@pytest.mark.parametrize(
    ("given", "approved", "active", "ready"),
    [
        (seen(), APPROVED, IN_FORCE, ("True", "NodeInside")),
        (seen(by=("bert",)), *TOO_FEW),
        (seen(by=("bert", "anna")), *TOO_FEW),
        (seen(begins=21, ends=22), APPROVED, ("False", "NotYet"), ("False", "NotYet")),
        (seen(ends=20), APPROVED, ("False", "Expired"), ("False", "Expired")),
        (seen(ends=20, by=()), ("False", "ApprovalsMissing"), ("False", "Expired"), ("False", "Expired")),
        (seen(ends=22), ("False", "WaiverTooLong"), ("False", "NotApproved"), ("False", "NotApproved")),
        (
            replace(seen(), policy=None, compiled=None),
            ("False", "PolicyUnknown"),
            ("False", "NotApproved"),
            ("False", "NotApproved"),
        ),
        (replace(seen(), facts=None), APPROVED, IN_FORCE, ("False", "NodeUnknown")),
        (replace(seen(), facts=machine(machine_id="m2")), APPROVED, IN_FORCE, ("False", "IdentityMismatch")),
        (seen("control"), APPROVED, IN_FORCE, ("False", "WrongPlace")),
        (
            replace(seen(), facts=machine(provider_id=FRANKFURT)),
            APPROVED,
            IN_FORCE,
            ("True", "NotNeeded"),
        ),
    ],
)
def test_the_status_says_what_a_waiver_is_worth_and_why(given: Seen, approved: Any, active: Any, ready: Any) -> None:
    said = conditions(given)
    said.pop("Stalled", None)
    assert said == {"Approved": approved, "Active": active, "Ready": ready}


def test_those_who_count_are_named() -> None:
    status = summarise(MANIFEST, seen(by=("cleo", "anna", "bert")), now=NOW)
    assert status["approvers"] == ["bert", "cleo"]
    assert status["observedGeneration"] == 1
    ResidencyWaiver.read({**MANIFEST, "spec": seen().waiver.spec.model_dump(), "status": status})


def test_nothing_is_written_while_nothing_turns_and_the_end_is_told_once() -> None:
    first = summarise(MANIFEST, seen(), now=NOW)
    told = {**MANIFEST, "status": first}
    assert summarise(told, seen(), now=day(20.5)) == first
    after = summarise(told, seen(), now=day(21))
    assert [(each["type"], each["status"]) for each in turned(first, after)] == [
        ("Active", "False"),
        ("Ready", "False"),
    ]
    assert list(turned(after, summarise({**MANIFEST, "status": after}, seen(), now=day(22)))) == []


def test_waivers_are_counted_by_policy_and_state() -> None:
    store, metrics = Store(resources.RESIDENCY_WAIVERS, trim=trim.whole), Metrics()
    states = {"a": seen(), "b": seen(), "c": seen(begins=21, ends=22), "d": seen(ends=20), "e": seen(by=())}
    for name, given in states.items():
        metadata = {"name": name, "uid": name, "resourceVersion": "1"}
        status = summarise({"metadata": metadata}, given, now=NOW)
        store.apply_event("ADDED", {"metadata": metadata, "spec": {"policy": "health"}, "status": status})
    untold = {"metadata": {"name": "f", "uid": "f", "resourceVersion": "1"}, "spec": {"policy": "tax"}}
    store.apply_event("ADDED", untold)
    metrics.watch_waivers(store)
    found = {
        (policy, state): metrics.registry.get_sample_value("bailiwick_waivers", {"policy": policy, "state": state})
        for policy in ("health", "tax")
        for state in ("unapproved", "waiting", "active", "expired")
    }
    assert {key: value for key, value in found.items() if value} == {
        ("health", "active"): 2, ("health", "waiting"): 1, ("health", "expired"): 1, ("health", "unapproved"): 1,
        ("tax", "unapproved"): 1,
    }  # fmt: skip
