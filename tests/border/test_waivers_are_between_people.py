"""Waivers are asked for and approved by people, each in their own name (charts/bailiwick/policies/waivers.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.resource import API_VERSION
from tests.border.ground import OPERATOR, Ground, refused

if TYPE_CHECKING:
    from e2e.client import Client, Manifest

WAIVERS = "bailiwick-waivers"
ALMIGHTY = ["system:masters"]
PROGRAMS = {
    "a service account": "system:serviceaccount:ci:bot",
    "the operator": OPERATOR,
    "a kubelet": "system:node:worker",
    "a shared certificate": "system:admin",
}


def waiver(**spec: Any) -> Manifest:
    whole = {
        "policy": "health",
        "requester": "anna",
        "node": {"name": "worker", "machineID": "m1"},
        "dimensions": ["place"],
        "reason": "a test",
        "notBefore": "2026-11-21T12:00:00Z",
        "expiresAt": "2026-11-21T18:00:00Z",
        **spec,
    }
    return {"apiVersion": API_VERSION, "kind": "ResidencyWaiver", "metadata": {"name": "failover"}, "spec": whole}


def approval(**spec: Any) -> Manifest:
    whole = {"waiver": "failover", "waiverUID": "u", "requester": "anna", "approver": "bert", **spec}
    return {"apiVersion": API_VERSION, "kind": "WaiverApproval", "metadata": {"name": "by-bert"}, "spec": whole}


@pytest.fixture
def anna(ground: Ground) -> Client:
    return ground.person("anna", ALMIGHTY)


@pytest.fixture
def bert(ground: Ground) -> Client:
    return ground.person("bert", ALMIGHTY)


def test_people_ask_and_approve_in_their_own_name(anna: Client, bert: Client) -> None:
    anna.create(waiver(), dry_run=True)
    bert.create(approval(), dry_run=True)


def test_nobody_asks_in_anothers_name(ground: Ground, anna: Client, bert: Client) -> None:
    for person in (bert, ground.admin):
        with refused(WAIVERS, "ForgedName") as refusal:
            person.create(waiver(), dry_run=True)
    assert "spec.requester must be the name of whoever asks, " in refusal.message
    assert ", but it is anna; write your own" in refusal.message
    with refused(WAIVERS, "ForgedName"):
        bert.apply(waiver())  # an apply that makes the object


def test_nobody_approves_in_anothers_name(ground: Ground, anna: Client) -> None:
    for person in (anna, ground.admin):
        with refused(WAIVERS, "ForgedName") as refusal:
            person.create(approval(), dry_run=True)
    assert "spec.approver must be the name of whoever approves, " in refusal.message
    assert ", but it is bert; write your own" in refusal.message


def test_nobody_approves_of_their_own(anna: Client) -> None:
    with refused(WAIVERS, "SelfApproval") as refusal:
        anna.create(approval(approver="anna"), dry_run=True)
    assert "but anna asked for failover and approves of it; let somebody else look at it" in refusal.message


@pytest.mark.parametrize("name", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_neither_ask_nor_approve(ground: Ground, name: str) -> None:
    program = ground.person(name, ALMIGHTY)
    with refused(WAIVERS, "NotAPerson"):
        program.create(waiver(requester=name), dry_run=True)
    with refused(WAIVERS, "NotAPerson"):
        program.create(approval(approver=name), dry_run=True)


def test_what_became_of_a_waiver_is_said_by_the_operator(ground: Ground, anna: Client) -> None:
    name = anna.create(waiver())["metadata"]["name"]
    ground.made.append((API_VERSION, "ResidencyWaiver", name))
    status = {"status": {"observedGeneration": 1, "approvers": ["bert", "cleo"]}}
    for person in (anna, ground.lite):
        with refused("bailiwick-objects", "OperatorOnly"):
            person.patch(API_VERSION, "ResidencyWaiver", name, status, subresource="status", how="merge", dry_run=True)
    ground.operator.patch(API_VERSION, "ResidencyWaiver", name, status, subresource="status", how="merge", dry_run=True)
