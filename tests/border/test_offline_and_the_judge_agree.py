"""The chart's own expressions, asked without an API server, say what the independent judge (judge.py) says.

With an API server, test_pods_and_the_judge_agree.py compares all three. ``BORDER_PODS=10000`` pods instead of 300.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bailiwick.preview.defaults import pinned
from tests.border.ground import Governed, pod, territory
from tests.border.judge import judge
from tests.border.offline import border, refusals
from tests.border.pod_attacks import ROWS, STRICT, Row
from tests.border.pod_shapes import pods
from tests.border.test_pods_and_the_judge_agree import POLICIES
from tests.border.test_workloads_of_others_pass import BUILT, CORPUS, named, pod_of, template_of

PODS = int(os.environ.get("BORDER_PODS", "300"))
GOVERNED = Governed("health", "clinic", "inside", "abroad")


def test_offline_and_the_judge_agree() -> None:
    tried: Counter[str] = Counter()
    lands = [(border(GOVERNED, **spec), territory(GOVERNED, **spec)["spec"]) for spec in POLICIES.values()]

    @settings(max_examples=PODS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), land=st.sampled_from(lands))
    def agree(data: st.DataObject, land: Any) -> None:
        known, spec = land
        manifest = data.draw(pods(GOVERNED.namespace, GOVERNED.label, GOVERNED.inside, GOVERNED.abroad))
        stored = pinned(manifest, GOVERNED.selector)
        said, reasons = set(refusals(list(known.judge(manifest)))), judge(stored, spec)
        tried.update(said or {"admitted"})
        assert said == reasons

    agree()
    assert tried["admitted"] > PODS / 20, "hardly anything was admitted, so nothing was compared"
    assert len(tried) > 8, "some rules were never met"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_attack_is_found_with_its_reason_and_what_is_fine_is_not(row: Row) -> None:
    strict = border(GOVERNED, **STRICT)
    assert str(row.reason) in refusals(list(strict.judge(pod(GOVERNED.namespace, **row.attack))))
    assert not refusals(list(strict.judge(pod(GOVERNED.namespace, **row.control))))


@pytest.mark.parametrize("workload", CORPUS, ids=named)
def test_nothing_is_found_in_what_people_run(workload: dict[str, Any]) -> None:
    """No alarm, neither by the workload as its chart has it nor by the pod that its controller would make."""
    asks_nothing = border(GOVERNED, models={"sources": [], "requireDigest": True})
    there = {**workload, "metadata": {**workload["metadata"], "namespace": GOVERNED.namespace}}
    assert not list(asks_nothing.judge(there))
    assert not list(asks_nothing.judge(pod_of(workload, GOVERNED.namespace)))


@pytest.mark.parametrize("deployment", BUILT, ids=named)
def test_nothing_is_found_in_what_we_build(deployment: dict[str, Any]) -> None:
    schedulers = sorted(
        {"default-scheduler", template_of(deployment)["spec"].get("schedulerName", "default-scheduler")}
    )
    ours = border(
        GOVERNED, models={"sources": ["hostpath:///srv/models/"], "requireDigest": True}, schedulers=schedulers
    )
    assert not refusals(list(ours.judge(pod_of(deployment, GOVERNED.namespace))))


def test_whoever_names_a_node_is_told_where_nodes_are_known() -> None:
    elsewhere = pod(GOVERNED.namespace, nodeName="laptop")
    assert refusals(list(border(GOVERNED).judge(elsewhere))) == ["WrongPlace"]
    unknown = list(border(GOVERNED, nodes_known=False).judge(elsewhere))
    assert not refusals(unknown)
    assert [each.message for each in unknown if each.doubt] == ["which nodes are inside (give the policy's Territory)"]
