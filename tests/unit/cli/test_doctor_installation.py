"""What `bailiwick doctor` says of an installation of Bailiwick."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.admission.identity import make_pair
from bailiwick.cli.live.fitness.judge import judge
from bailiwick.cli.live.fitness.seen import Answer
from bailiwick.cli.live.fitness.server import KIND_NAMES
from tests.unit.cli.patients import BAD, BARE, DOUBTFUL, GOOD, HIDDEN, UNSEEN, kinds, one, proved, told
from tests.unit.residency.given import NOW

if TYPE_CHECKING:
    from bailiwick.cli.live.fitness.findings import Severity

CHART = Path(__file__).parents[3] / "charts/bailiwick"


def deployment(ready: int) -> dict[str, Any]:
    return {"spec": {"replicas": 2}, "status": {"readyReplicas": ready}}


def lease(age: float) -> dict[str, Any]:
    renewed = NOW - timedelta(seconds=age)
    return {"spec": {"holderIdentity": "op-1", "renewTime": f"{renewed:%Y-%m-%dT%H:%M:%S.%fZ}"}}


def webhook(days: int = 60, policy: str = "Fail") -> dict[str, Any]:
    made = make_pair(["x.svc"], now=NOW - timedelta(days=90), lifetime=timedelta(days=90 + days))
    bundle = base64.b64encode(made.certificate).decode()
    return {"webhooks": [{"name": "w", "failurePolicy": policy, "clientConfig": {"caBundle": bundle}}]}


def chart() -> dict[str, Any]:
    data = {each.name: each.read_text() for each in (CHART / "policies").glob("*.yaml")}
    return {"metadata": {"name": "bailiwick-border", "resourceVersion": "1"}, "data": data}


def in_force() -> dict[str, Any]:
    documents = [
        each for file in (CHART / "policies").glob("*.yaml") for each in yaml.safe_load_all(file.read_text()) if each
    ]
    return {
        "in_tree": tuple(each for each in documents if each["kind"] == "ValidatingAdmissionPolicy"),
        "bindings": tuple(each for each in documents if each["kind"] == "ValidatingAdmissionPolicyBinding"),
    }


THERE: dict[str, Any] = {
    "kinds": kinds(), "deployments": {"bailiwick-operator": deployment(2), "bailiwick-admission": deployment(2)},
    "lease": lease(2), "webhook": webhook(), "asked": Answer(accepted=True), "border": chart(),
    "policies": (proved("True", "Proved"),), **in_force(),
}  # fmt: skip


def test_an_installation_that_works_is_good() -> None:
    fitness = judge(replace(BARE, **THERE))
    assert [each for each in fitness.findings if each.severity is not GOOD] == []
    assert {"Leader", "Webhook", "In-tree policies", "Policies"} <= {each.check for each in fitness.findings}


@pytest.mark.parametrize(
    ("seen", "check", "severity", "said"),
    [
        ({"deployments": {"bailiwick-operator": deployment(0)}}, "Deployment", BAD, "0 of 2"),
        ({"deployments": {"bailiwick-operator": deployment(1)}}, "Deployment", DOUBTFUL, "1 of 2"),
        ({"deployments": {"bailiwick-operator": None}}, "Deployment", DOUBTFUL, "not there"),
        ({"deployments": {"bailiwick-operator": None}, "lease": None}, "Deployment", BAD, "not there"),
        ({"lease": lease(600)}, "Leader", BAD, "nobody leads"),
        ({"lease": None}, "Leader", BAD, "ever"),
        ({"border": None}, "In-tree", BAD, "no ConfigMap"),
        ({"in_tree": in_force()["in_tree"][1:]}, "In-tree", BAD, "is gone"),
        ({"in_tree": HIDDEN}, "In-tree", UNSEEN, "may not look"),
        ({"policies": ()}, "Policies", DOUBTFUL, "no ResidencyPolicy"),
        ({"policies": (proved("False", "NotEnforced"),)}, "Policy health", BAD, "NotEnforced"),
        ({"policies": (proved("True", "Proved", timedelta(hours=1)),)}, "Policy health", DOUBTFUL, "ProofTooOld"),
        ({"webhook": None}, "Webhook", BAD, "is not there"),
        ({"webhook": webhook(days=-1)}, "Webhook", BAD, "ended"),
        ({"webhook": webhook(days=3)}, "Webhook", DOUBTFUL, "should have been renewed"),
        ({"webhook": webhook(policy="Ignore")}, "Webhook", BAD, "fail closed: w"),
        ({"webhook": {"webhooks": [{"name": "w", "clientConfig": {}}]}}, "Webhook", BAD, "no certificate"),
        (
            {"asked": Answer(accepted=False, status=500, message='failed calling webhook "w"')},
            "Webhook", BAD, "is not reached",
        ),
        ({"asked": Answer(accepted=False, status=403, message="forbidden")}, "Webhook", UNSEEN, "you may not create"),
    ],
)  # fmt: skip
def test_what_an_installation_lacks_is_told(seen: dict[str, Any], check: str, severity: Severity, said: str) -> None:
    found = [(each.severity, each.seen) for each in told(check, **{**THERE, **seen}) if each.severity is not GOOD]
    assert found[0][0] is severity, found
    assert said in found[0][1], found


def test_where_nothing_may_be_seen_nobody_says_that_it_is_not_installed() -> None:
    assert one("Bailiwick", kinds=dict.fromkeys(KIND_NAMES, HIDDEN))[0] is UNSEEN
