"""Who violates, what is done about it now, and when to look again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as suppose
from hypothesis import strategies as st

from bailiwick.residency import quarantine
from bailiwick.residency.audit import Audited, Judge, Step, compliant, last_step, plan, read_pod, runs
from bailiwick.residency.verdict import Reason
from tests.unit.residency.given import FRANKFURT, NOW, VIRGINIA, facts, node, policy

Raw = dict[str, Any]
ACTIONS = ("Report", "Quarantine", "Evict", "Delete")


def ladder(action: str | None, after: str = "5m", *, name: str = "health", mode: str = "Enforce") -> Any:
    violation: Raw = {"violation": {"action": action, "after": after}} if action else {}
    return policy(name, mode=mode, **violation)


@pytest.mark.parametrize(
    ("action", "mode", "passed", "step", "wait"),
    [
        (None, "Enforce", 9999, Step.REPORT, None),
        ("Report", "Enforce", 9999, Step.REPORT, None),
        ("Quarantine", "Enforce", 0, Step.QUARANTINE, None),
        ("Evict", "Enforce", 0, Step.QUARANTINE, 300),
        ("Evict", "Enforce", 299, Step.QUARANTINE, 1),
        ("Evict", "Enforce", 300, Step.EVICT, None),
        ("Delete", "Enforce", 0, Step.EVICT, 300),
        ("Delete", "Enforce", 300, Step.DELETE, None),
        ("Delete", "Enforce", -50, Step.EVICT, 300),
        ("Delete", "Audit", 9999, Step.REPORT, None),
        ("Delete", "Warn", 9999, Step.REPORT, None),
    ],
)
def test_the_step_that_is_due(action: str | None, mode: str, passed: int, step: Step, wait: float | None) -> None:
    made = plan([ladder(action, mode=mode)], NOW - timedelta(seconds=passed), NOW)
    assert (made.step, made.policy, made.look_again_in) == (step, "health", wait)


def test_each_policy_has_its_own_deadline() -> None:
    slow, quick = ladder("Delete", "1h", name="slow"), ladder("Evict", "1m", name="quick")
    begun = plan([slow, quick], NOW, NOW)
    assert (begun.step, begun.policy, begun.look_again_in) == (Step.EVICT, "slow", 60)
    later = plan([slow, quick], NOW - timedelta(minutes=2), NOW)
    assert (later.step, later.policy, later.look_again_in) == (Step.EVICT, "quick", 3480)


POLICIES = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(["0s", "1m", "1h"]), st.sampled_from(["Audit", "Enforce"])),
    min_size=1,
    max_size=4,
)  # fmt: skip


@suppose(POLICIES, st.integers(-10, 10_000), st.randoms(use_true_random=False))
def test_no_step_goes_beyond_what_is_allowed_whatever_the_order(asked: Any, passed: int, random: Any) -> None:
    violated = [ladder(action, after, name=f"p{n}", mode=mode) for n, (action, after, mode) in enumerate(asked)]
    since = NOW - timedelta(seconds=passed)
    made = plan(violated, since, NOW)
    assert made.step <= max(last_step(each) for each in violated)
    assert made.step <= last_step(next(each for each in violated if each.name == made.policy))
    assert made.look_again_in is None or made.look_again_in > 0
    shuffled = list(violated)
    random.shuffle(shuffled)
    assert plan(shuffled, since, NOW) == made
    if made.look_again_in is not None:
        assert plan(violated, since, NOW + timedelta(seconds=made.look_again_in)).step >= made.step


def test_a_pod_violates_every_policy_whose_territory_its_node_is_not_in() -> None:
    known = {
        "in": facts(about=node("in", provider_id=FRANKFURT)),
        "out": facts(about=node("out", provider_id=VIRGINIA)),
    }
    judge = Judge(known, NOW)
    policies = [policy("b"), policy("a"), policy("world", place={"allow": ["WORLD"]})]
    assert judge.violations("in", policies) == ()
    assert [(each.policy.name, each.verdict.reason) for each in judge.violations("out", policies)] == [
        ("a", Reason.WRONG_PLACE),
        ("b", Reason.WRONG_PLACE),
    ]
    assert {each.verdict.reason for each in judge.violations("gone", policies)} == {Reason.PLACE_UNKNOWN}


def pod(*, spec: Raw | None = None, phase: str = "Running", **metadata: Any) -> Raw:
    head = {"name": "p", "namespace": "clinic", "uid": "u", **metadata}
    return {"metadata": head, "spec": {"nodeName": "n1"} if spec is None else spec, "status": {"phase": phase}}


def test_only_pods_on_a_node_that_are_not_finished_are_judged() -> None:
    assert runs(pod())
    assert runs(pod(phase="Pending"))
    assert runs(pod(deletionTimestamp="2026-11-21T00:00:00Z"))
    assert not runs(pod(spec={}))
    assert not runs(pod(phase="Succeeded"))
    assert not runs(pod(phase="Failed"))


@pytest.mark.parametrize("written", ["", "yesterday", "2026-11-21", "2026-11-21T00:00:00"])
def test_a_clock_that_nobody_can_read_says_nothing(written: str) -> None:
    assert read_pod(pod(annotations={quarantine.SINCE: written})).since is None


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (5, 5), (31_536_000, 30)])
def test_a_deleted_pod_gets_no_more_time_than_thirty_seconds(asked: int, given: int) -> None:
    read = read_pod(pod(spec={"nodeName": "n1", "terminationGracePeriodSeconds": asked}))
    assert read.grace_seconds == given
    long = pod(
        spec={"nodeName": "n1", "terminationGracePeriodSeconds": 3600},
        deletionTimestamp="2026-11-21T00:00:00Z", deletionGracePeriodSeconds=3600,
    )  # fmt: skip
    assert not read_pod(long).ends_in_time


def merged(metadata: Raw, patch: Raw) -> Raw:
    after = dict(metadata)
    for part, changes in patch.items():
        whole = {**after.get(part, {}), **changes}
        after[part] = {key: value for key, value in whole.items() if value is not None}
    return after


SELECTORS: list[Raw] = [{"matchLabels": {"app": "chat"}}, {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}]


def test_a_quarantine_takes_the_labels_by_which_the_pod_is_found_and_gives_them_back() -> None:
    before = pod(labels={"app": "chat", "tier": "web", "team": "a"})["metadata"]
    inside = merged(before, quarantine.enter(before, SELECTORS, NOW, "health"))
    assert inside["labels"] == {"team": "a", quarantine.QUARANTINED: "true"}
    assert read_pod({"metadata": inside}).labels == {**before["labels"], quarantine.QUARANTINED: "true"}
    assert read_pod({"metadata": inside}).since == NOW
    assert quarantine.enter(inside, SELECTORS, NOW, "health") == {}
    after = merged(inside, quarantine.leave(inside))
    assert after["labels"] == before["labels"]
    assert quarantine.leave(after) == {}
    assert not quarantine.marked(after)


def test_labels_that_do_not_select_stay() -> None:
    before = pod(labels={"app": "chat"})["metadata"]
    inside = merged(
        before, quarantine.enter(before, [{"matchLabels": {"app": "chat", "tier": "web"}}, {}], NOW, "health")
    )
    assert inside["labels"] == {"app": "chat", quarantine.QUARANTINED: "true"}


@pytest.mark.parametrize("written", ["no json", "[]", '{"a": 1}', '"x"'])
def test_nonsense_in_our_annotation_is_nothing(written: str) -> None:
    metadata = pod(annotations={quarantine.LABELS: written}, labels={"a": "b"})["metadata"]
    assert quarantine.labels_before(metadata) == {"a": "b"}
    assert merged(metadata, quarantine.leave(metadata))["labels"] == {"a": "b"}


def test_the_condition_tells_examples() -> None:
    assert (compliant(None).status, compliant(None).reason) == ("Unknown", "NotAudited")
    assert compliant(Audited(3, ())).status == "True"
    assert compliant(Audited(3, (), unseen="forbidden")).status == "Unknown"
    assert compliant(Audited(3, (), ("Service a/b",))).reason == "DataPaths"
    told = compliant(Audited(9, tuple(f"pod {n}" for n in range(7))))
    assert (told.status, told.reason) == ("False", "PodsOutside")
    assert told.message == "7 of 9 pods are outside; pod 0; pod 1; pod 2; pod 3; pod 4 (and 2 more)"
