"""The status of a policy, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.cluster.errors import Terminal
from bailiwick.control.policy_status import summarise, summarise_unreadable
from bailiwick.control.status import turned
from bailiwick.residency.audit import Audited
from bailiwick.residency.facts import gather_all
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.nodes import read_node
from bailiwick.residency.policies import compile_policy
from bailiwick.residency.proofs import Outcome, Proof
from bailiwick.residency.territories import compile_territory

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
MANIFEST = {
    "metadata": {"name": "health", "generation": 7},
    "spec": {"namespaceSelector": {}, "place": {"allow": ["DE"]}, "mode": "Enforce"},
}
REFUSED = Terminal("apply territories health", status=422, reason="Invalid", message="no")


def told(
    *providers: str,
    allow: str = "DE",
    failure: Terminal | None = None,
    before: Any = None,
    audited: Audited | None = None,
    proof: Proof | None = None,
    now: datetime = NOW,
    mode: str = "Enforce",
    pinned: bool = True,
) -> dict[str, Any]:
    manifest = {
        "metadata": {"name": "health", "generation": 7},
        "spec": {"namespaceSelector": {}, "place": {"allow": [allow]}, "mode": mode},
        **({"status": before} if before else {}),
    }
    nodes = [
        read_node({"metadata": {"name": f"n{number}"}, "spec": {"providerID": provider}})
        for number, provider in enumerate(providers)
    ]
    policy = compile_policy(ResidencyPolicy.read(manifest), Atlas(()))
    territory = compile_territory(policy, gather_all(nodes, (), now), now)
    return dict(
        summarise(
            manifest,
            policy,
            territory,
            namespaces=3,
            failure=failure,
            proof=proof,
            audited=audited,
            now=now,
            pinned=pinned,
        )
    )


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


@pytest.mark.parametrize(
    ("status", "accepted", "ready"),
    [
        (told(FRANKFURT), ("True", "Accepted"), ("True", "InForce")),
        (told(VIRGINIA), ("True", "Accepted"), ("False", "NoNodeInside")),
        (told(), ("True", "Accepted"), ("False", "NoNodeInside")),
        (told(FRANKFURT, allow="NOWHERE"), ("False", "UnknownJurisdiction"), ("False", "UnknownJurisdiction")),
        (told(FRANKFURT, failure=REFUSED), ("True", "Accepted"), ("False", "NotWritten")),
        (told(allow="NOWHERE", failure=REFUSED), ("False", "UnknownJurisdiction"), ("False", "NotWritten")),
    ],
    ids=["in force", "nobody inside", "no nodes", "not accepted", "not written", "a failure before all else"],
)
def test_ready_is_the_first_thing_that_is_wrong(status: Any, accepted: Any, ready: Any) -> None:
    assert conditions(status)["Accepted"] == accepted
    assert conditions(status)["Ready"] == ready


@pytest.mark.parametrize(
    ("mode", "pinned", "by_themselves"),
    [("Enforce", True, False), ("Enforce", False, True), ("Warn", False, False), ("Audit", False, False)],
)
def test_ready_says_where_pods_must_pin_themselves(mode: str, *, pinned: bool, by_themselves: bool) -> None:
    ready = next(each for each in told(FRANKFURT, mode=mode, pinned=pinned)["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "True"
    assert ("pods must bring the nodeSelector themselves" in ready["message"]) is by_themselves


def test_nobody_claims_what_nobody_proved() -> None:
    found = conditions(told(FRANKFURT))
    assert found["Enforced"] == ("Unknown", "NotProved")
    assert found["Compliant"] == ("Unknown", "NotAudited")


def test_a_policy_that_cannot_be_read_claims_nothing_that_was_found_before() -> None:
    proof = Proof(outcome=Outcome.HELD, reason="Proved", message="held", at=NOW, generation=7)
    before = told(FRANKFURT, proof=proof, audited=Audited(pods=3, outside=()))
    assert conditions(before) | {"Ready": ("True", "InForce"), "Enforced": ("True", "Proved")} == conditions(before)
    status = dict(summarise_unreadable({**MANIFEST, "status": before}, "spec.x: wrong", now=LATER))
    assert conditions(status) == {
        "Accepted": ("False", "InvalidPolicy"),
        "Enforced": ("Unknown", "NotProved"),
        "Compliant": ("Unknown", "NotAudited"),
        "Ready": ("False", "InvalidPolicy"),
        "Stalled": ("True", "InvalidPolicy"),
    }
    assert all("spec.x: wrong" in each["message"] for each in status["conditions"] if each["reason"] == "InvalidPolicy")
    assert "enforcedSince" in before
    assert "enforcedSince" not in status
    assert (status["lastProof"], status["counts"]) == (before["lastProof"], before["counts"])
    assert summarise_unreadable({**MANIFEST, "status": status}, "spec.x: wrong", now=LATER) == status


def test_the_status_counts_and_names_the_digest() -> None:
    status = told(FRANKFURT, VIRGINIA, VIRGINIA)
    assert status["counts"] == {"namespaces": 3, "nodes": 1, "nodesOutside": 2}
    assert [(each["reason"], each["count"], each["examples"]) for each in status["outside"]] == [
        ("WrongPlace", 2, ["n1", "n2"])
    ]
    assert status["digest"].startswith("sha256:")
    assert status["observedGeneration"] == 7
    assert {each["observedGeneration"] for each in status["conditions"]} == {7}


def test_the_time_of_a_condition_moves_only_when_its_status_does() -> None:
    first = told(VIRGINIA)
    same = told(before=first, now=LATER)  # another message
    assert {each["lastTransitionTime"] for each in same["conditions"]} == {"2026-11-21T00:00:00Z"}
    turned_good = told(FRANKFURT, before=first, now=LATER)
    times = {each["type"]: each["lastTransitionTime"] for each in turned_good["conditions"]}
    assert times["Ready"] == "2026-11-21T01:00:00Z"
    assert times["Accepted"] == "2026-11-21T00:00:00Z"


def test_the_same_world_gives_the_same_status() -> None:
    status = told(FRANKFURT, VIRGINIA)
    assert told(FRANKFURT, VIRGINIA, before=status, now=LATER) == status


def test_an_operator_that_has_not_looked_yet_repeats_what_the_audit_found_before_it() -> None:
    found = told(FRANKFURT, audited=Audited(pods=2, outside=("pod clinic/chat is outside",)))
    assert conditions(found)["Compliant"] == ("False", "PodsOutside")
    assert told(FRANKFURT, before=found, now=LATER) == found
    found["conditions"] = [{**each, "observedGeneration": 6} for each in found["conditions"]]
    assert conditions(told(FRANKFURT, before=found))["Compliant"] == ("Unknown", "NotAudited"), "of an older policy"


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (None, "True", True),
        (None, "False", False),
        (None, "Unknown", False),
        ("Unknown", "True", True),
        ("Unknown", "False", True),
        ("True", "False", True),
        ("False", "True", True),
        ("True", "Unknown", False),
        ("True", "True", False),
        ("False", "False", False),
    ],
)
def test_an_event_is_posted_for_what_turned(before: str | None, after: str, news: bool) -> None:
    was = {"conditions": [{"type": "Ready", "status": before}]} if before else {}
    assert bool(list(turned(was, {"conditions": [{"type": "Ready", "status": after}]}))) is news


def test_that_something_is_stalled_is_no_news_beside_ready() -> None:
    assert [each["type"] for each in turned({}, told(FRANKFURT))] == ["Accepted", "Ready"]
    refused = told(FRANKFURT, failure=Terminal("apply territories health", status=422, reason="Invalid", message="no"))
    stalled = {"type": "Stalled", "status": "True"}
    assert [each["type"] for each in turned({}, {"conditions": [*refused["conditions"], stalled]})] == ["Accepted"]
