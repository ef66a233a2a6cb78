"""The health that Flux, Argo CD and everybody with kstatus see in each status that we write."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bailiwick.api.conditions import Stated, false, settle, true
from bailiwick.api.resource import API_VERSION
from bailiwick.api.schema import KINDS, crd
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.control.policy_status import summarise_unreadable as summarise_unreadable_policy
from bailiwick.control.waiver_status import summarise as summarise_waiver
from bailiwick.residency.proofs import Outcome, Proof
from bailiwick.residency.stalled import WAITS, with_stalled
from bailiwick.workload.status import Seen, summarise_unreadable
from bailiwick.workload.status import summarise as summarise_model
from tests.unit.control import test_policy_status as policies
from tests.unit.control import test_waiver_status as waivers
from tests.unit.gitops.judges import argo, health_checks, kstatus
from tests.unit.gitops.reasons import reasons
from tests.unit.residency.test_waivers import machine
from tests.unit.workload import test_status as models
from tests.unit.workload.given import NOW
from tests.unit.workload.golden import CASES, given, planned

CURRENT, ON_ITS_WAY, FAILED = "Current", "InProgress", "Failed"
REASONS = yaml.safe_load((Path(__file__).parents[2] / "golden/health.yaml").read_text())
ARGO = {CURRENT: "Healthy", ON_ITS_WAY: "Progressing", FAILED: "Degraded"}


def an_object(kind: str, status: Any, generation: int | None = None) -> dict[str, Any]:
    """As an API server returns it, and of the generation that the status is about unless another is given."""
    told = generation or status.get("observedGeneration", 1)
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "x", "generation": told}, "status": status}


MODELS: dict[str, str] = {
    "all is well": CURRENT,
    "all is well with the place": CURRENT,
    "none are wanted": CURRENT,
    "refused": ON_ITS_WAY,  # nobody governs the namespace yet: the policy may be of the same push
    "refused, so nobody says what is inside": ON_ITS_WAY,
    "a policy cannot be read": FAILED,
    "a pod is outside": FAILED,
    "a pod that ends is outside": FAILED,
    "a pod that is over is not": CURRENT,
    "a node that nobody knows": CURRENT,
    "no node": ON_ITS_WAY,
    "no room": ON_ITS_WAY,
    "a pod that ends needs no node": CURRENT,
    "not written": ON_ITS_WAY,
    "never written": ON_ITS_WAY,
    "no deployment": ON_ITS_WAY,
    "starting": ON_ITS_WAY,
    "for too long": FAILED,
    "crashing": FAILED,
    "an old generation": ON_ITS_WAY,
    "a rollout": ON_ITS_WAY,
    "a rollout that fails": FAILED,
    "the weights were changed": FAILED,
    "the weights were changed, and older replicas answer": FAILED,
    "refused, and outside": ON_ITS_WAY,
    "outside, and not written": FAILED,
}
"""By the rows of the model's status."""


def late(**seen: Any) -> dict[str, Any]:
    """The status of a model whose Deployment gave up waiting."""
    return models.told(deployment=models.STUCK, **seen)


def proved(outcome: Outcome) -> Any:
    """A policy's status after the canary tried."""
    proof = Proof(generation=7, at=policies.NOW, outcome=outcome, reason="NotEnforced", message="it was admitted")
    return policies.told(policies.FRANKFURT, proof=proof)


def waiver(given: Any) -> Any:
    return summarise_waiver(waivers.MANIFEST, given, now=NOW)


W = waivers.seen
ROWS: dict[str, tuple[dict[str, Any], str]] = {
    **{f"a model: {row}": (an_object("SovereignModel", models.ROWS[row][0]), MODELS[row]) for row in MODELS},
    "a model that no node could take for longer than loading should take": (
        an_object("SovereignModel", late(plan=models.NOWHERE, pods=[models.pod(node=None)])), FAILED,
    ),
    "a model whose pods have no room for so long": (
        an_object("SovereignModel", late(pods=[models.pod(node=None)])), FAILED,
    ),
    "a model that this release cannot read": (
        an_object("SovereignModel", summarise_unreadable(models.MANIFEST, "spec.x: wrong", now=NOW)), FAILED,
    ),
    "a model that is served and was changed just now": (an_object("SovereignModel", models.told(), 4), ON_ITS_WAY),
    "a model that failed and was corrected just now": (an_object("SovereignModel", late(), 4), ON_ITS_WAY),
    "a model that failed and recovered": (an_object("SovereignModel", models.told(before=late())), CURRENT),
    "a policy in force": (an_object("ResidencyPolicy", policies.told(policies.FRANKFURT)), CURRENT),
    "a policy that the canary proved": (an_object("ResidencyPolicy", proved(Outcome.HELD)), CURRENT),
    "a policy that nobody could prove": (an_object("ResidencyPolicy", proved(Outcome.UNCLEAR)), CURRENT),
    "a policy whose border is open": (an_object("ResidencyPolicy", proved(Outcome.BREACHED)), FAILED),
    "a policy with no node inside": (an_object("ResidencyPolicy", policies.told(policies.VIRGINIA)), ON_ITS_WAY),
    "a policy with a name that is not there": (
        an_object("ResidencyPolicy", policies.told(policies.FRANKFURT, allow="NOWHERE")), ON_ITS_WAY,
    ),
    "a policy that this release cannot read": (
        an_object("ResidencyPolicy", summarise_unreadable_policy(policies.MANIFEST, "spec.x: wrong", now=NOW)), FAILED,
    ),
    "a policy that could not be written": (
        an_object("ResidencyPolicy", policies.told(policies.FRANKFURT, failure=policies.REFUSED)), ON_ITS_WAY,
    ),
    "a waiver that lets its node in": (an_object("ResidencyWaiver", waiver(W())), CURRENT),
    "a waiver that lacks approvals": (an_object("ResidencyWaiver", waiver(W(by=("bert",)))), ON_ITS_WAY),
    "a waiver that begins later": (an_object("ResidencyWaiver", waiver(W(begins=21, ends=22))), ON_ITS_WAY),
    "a waiver that ended": (an_object("ResidencyWaiver", waiver(W(ends=20))), FAILED),
    "a waiver for longer than its policy allows": (an_object("ResidencyWaiver", waiver(W(ends=22))), FAILED),
    "a waiver of a policy that is not there": (
        an_object("ResidencyWaiver", waiver(replace(W(), policy=None, compiled=None))), ON_ITS_WAY,
    ),
    "a waiver for a machine that is not there": (
        an_object("ResidencyWaiver", waiver(replace(W(), facts=None))), ON_ITS_WAY,
    ),
    "a waiver for another machine": (
        an_object("ResidencyWaiver", waiver(replace(W(), facts=machine(machine_id="m2")))), FAILED,
    ),
    "a waiver that lifts too little": (an_object("ResidencyWaiver", waiver(W("control"))), FAILED),
    **{
        f"a new {kind.__name__} that nobody has looked at": (
            an_object(kind.__name__, schema["default"], generation=1), ON_ITS_WAY,
        )
        for kind in KINDS
        if (schema := crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].get("status"))
    },
}  # fmt: skip


def test_every_row_of_the_model_has_a_health() -> None:
    assert MODELS.keys() == models.ROWS.keys()


@pytest.fixture(scope="module")
def judged() -> dict[str, str]:
    return dict(zip(ROWS, kstatus([each for each, _ in ROWS.values()]), strict=True))


@pytest.mark.parametrize("row", ROWS)
def test_kstatus_sees(row: str, judged: dict[str, str]) -> None:
    assert judged[row] == ROWS[row][1]


@pytest.mark.parametrize("kind", ["ResidencyPolicy", "ResidencyWaiver", "SovereignModel"])
def test_argo_cd_sees_the_same_by_the_health_check_that_we_ship(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "health.lua"
    script.write_text(health_checks()[f"bailiwick.dev_{kind}"])
    rows = [(judged, health) for judged, health in ROWS.values() if judged["kind"] == kind]
    told = argo([each for each, _ in rows], script)
    assert [each["status"] for each in told] == [ARGO[health] for _, health in rows]
    for (judged, _), each in zip(rows, told, strict=True):
        ready = [one for one in judged["status"].get("conditions", ()) if one["type"] == "Ready"]
        if ready and judged["status"]["observedGeneration"] == judged["metadata"]["generation"]:
            assert each["message"] == ready[0]["message"]


def test_argo_cd_has_a_health_check_for_every_kind_with_a_status_and_for_no_other() -> None:
    with_status = {f"bailiwick.dev_{kind.__name__}" for kind in KINDS if "status" in kind.model_fields}
    assert health_checks().keys() == {*with_status, "argoproj.io_Application"}


def test_a_wave_of_argo_cd_waits_for_the_application_before(tmp_path: Path) -> None:
    script = tmp_path / "health.lua"
    script.write_text(health_checks()["argoproj.io_Application"])
    told = [{}, {"status": {}}, {"status": {"health": {"status": "Degraded", "message": "no"}}}]
    assert [(each["status"], each["message"]) for each in argo(told, script)] == [
        ("Progressing", ""), ("Progressing", ""), ("Degraded", "no"),
    ]  # fmt: skip


def test_what_is_only_data_is_current_at_once() -> None:
    data = [kind.__name__ for kind in KINDS if "status" not in kind.model_fields]
    assert len(data) == 7
    objects = [{"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "x", "generation": 1}} for kind in data]
    assert set(kstatus(objects)) == {CURRENT}


@pytest.mark.parametrize("case", CASES)
def test_a_planned_model_without_pods_is_on_its_way_and_one_that_cannot_be_planned_failed(case: str) -> None:
    (manifest,) = given(case)["SovereignModel"]
    manifest["metadata"]["generation"] = 1
    plan = planned(case)
    seen = Seen(manifest=manifest, deployment=None, pods=(), facts={}, outside={}, failure=None)
    status = summarise_model(SovereignModel.read(manifest), plan, seen, now=NOW)
    waits = plan.verdict.allowed or plan.verdict.reason in REASONS["InProgress"]
    assert kstatus([an_object("SovereignModel", status)]) == [ON_ITS_WAY if waits else FAILED]


def test_every_reason_in_the_code_has_a_health() -> None:
    """A new reason: say in tests/golden/health.yaml whether it passes by itself, and if so in WAITS, too."""
    assert sorted([*REASONS[ON_ITS_WAY], *REASONS[FAILED]]) == sorted(reasons())
    assert set(REASONS[ON_ITS_WAY]) == WAITS


def test_every_reason_has_the_health_that_is_written_down() -> None:
    wanted = [(reason, health) for health, listed in REASONS.items() for reason in listed]
    found = kstatus([an_object("SovereignModel", _not_ready(reason)) for reason, _ in wanted])
    assert [(reason, health) for (reason, _), health in zip(wanted, found, strict=True)] == wanted


def test_whatever_waits_for_too_long_failed() -> None:
    found = kstatus([an_object("SovereignModel", _not_ready(reason, overdue=True)) for reason in sorted(WAITS)])
    assert set(found) == {FAILED}


def test_a_reason_that_nobody_knows_failed() -> None:
    assert kstatus([an_object("SovereignModel", _not_ready("SaidByAContainer"))]) == [FAILED]


def test_what_is_ready_is_never_stalled() -> None:
    assert with_stalled(true("Ready", "Serving"), overdue=True) == (true("Ready", "Serving"),)


def test_stalled_says_what_ready_says_and_keeps_its_time() -> None:
    first = models.told(deployment=models.STUCK)
    second = models.told(deployment=models.STUCK, before=first, now=NOW + timedelta(hours=1))
    assert second == first
    said = models.conditions(first)
    stalled, ready = ([said[kind][key] for key in ("reason", "message")] for kind in ("Stalled", "Ready"))
    assert stalled == ready


def _not_ready(reason: str, *, overdue: bool = False) -> dict[str, Any]:
    stated: tuple[Stated, ...] = with_stalled(false("Ready", reason, "why"), overdue=overdue)
    return {"observedGeneration": 1, "conditions": settle((), stated, generation=1, now=NOW)}
