"""The API server, an independent judge (judge.py) and the policies asked offline say the same about all pods.

``BORDER_PODS=10000`` pods instead of 300; what came of them is printed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2e.client import ApiError, eventually
from tests.border.ground import territory
from tests.border.judge import Place, judge, may_run_on
from tests.border.offline import border, refusals
from tests.border.pod_attacks import STRICT
from tests.border.pod_shapes import pods

if TYPE_CHECKING:
    from bailiwick.preview.judging import Border
    from e2e.client import Manifest
    from tests.border.ground import Governed, Ground

PODS = int(os.environ.get("BORDER_PODS", "300"))
SCHEDULED = 20
ADMITTED = "admitted"
_DENIED = re.compile(
    r"'bailiwick-pods' with binding 'bailiwick-pods\.(?P<policy>\S+)' denied request: (?P<reason>\w+): "
)
POLICIES: dict[str, dict[str, Any]] = {
    "asks nothing": {},
    "asks everything": STRICT,
    "wants models by digest, images by any name": {
        "images": {"registries": ["registry.example", "localhost/team/"], "requireDigest": False},
        "models": {"sources": ["oci://models.example/llama/team", "hostpath:///srv/models/"], "requireDigest": True},
        "schedulers": ["default-scheduler", "mine"],
    },
    "allows no image": {"images": {"registries": [], "requireDigest": True}},
}


class Land(NamedTuple):
    """A policy in force, and the Territory that measures it."""

    governed: Governed
    spec: dict[str, Any]
    offline: Border


@pytest.fixture(scope="module")
def lands(ground: Ground) -> list[Land]:
    made = []
    for spec in POLICIES.values():
        governed = ground.govern(pin=False, **spec)
        made.append(Land(governed, territory(governed, **spec)["spec"], border(governed, pins=False, **spec)))
    return made


def shown(tried: Counter[str]) -> str:
    total = sum(tried.values())
    lines = [f"{reason:22}{count:7}{count / total:7.1%}" for reason, count in tried.most_common()]
    return "\n".join([f"\n{total} pods, first reason each:", *lines])


def places(land: Land) -> list[Place]:
    """The node inside; nodes abroad whose labels nobody or somebody else wrote."""
    inside, abroad = land.governed.inside, land.governed.abroad
    return [
        Place(inside, {land.governed.label: "resident", "kubernetes.io/hostname": inside}),
        Place(abroad, {"kubernetes.io/hostname": abroad}),
        Place("forged", {land.governed.label: "foreign", f"{land.governed.label}x": "resident", "disk": "resident"}),
    ]


def asked(ground: Ground, governed: Governed, pod: Manifest) -> str:
    """What the API server says: admitted, or the reason of the policy's refusal."""
    try:
        ground.admin.create(pod, dry_run=True)
    except ApiError as error:
        denied = _DENIED.search(error.message)
        if denied is None or denied["policy"] != governed.policy:
            raise  # a pod that is not even valid
        return denied["reason"]
    return ADMITTED


def test_the_api_server_and_the_judge_agree(
    ground: Ground, lands: list[Land], capsys: pytest.CaptureFixture[str]
) -> None:
    tried: Counter[str] = Counter()
    to_schedule: list[Manifest] = []

    @settings(max_examples=PODS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), land=st.sampled_from(lands))
    def agree(data: st.DataObject, land: Land) -> None:
        governed = land.governed
        pod = data.draw(pods(governed.namespace, governed.label, governed.inside, governed.abroad))
        reasons = judge(pod, land.spec)
        answer = asked(ground, governed, pod)
        tried[answer] += 1
        assert (refusals(land.offline.judge(pod)) or [ADMITTED])[0] == answer, "offline the first refusal is another"
        if answer != ADMITTED:
            assert answer in reasons, f"the judge sees {sorted(reasons)}"
            return
        assert not reasons
        reached = {place.name for place in places(land) if may_run_on(pod["spec"], place)}
        assert reached <= {governed.inside}
        if "nodeName" not in pod["spec"] and "affinity" in pod["spec"] and len(to_schedule) < SCHEDULED:
            to_schedule.append(pod)

    agree()
    with capsys.disabled():
        print(shown(tried))  # noqa: T201 - it is what the run is for
    assert tried[ADMITTED] > PODS / 10, "hardly anything was admitted, so nothing was compared"
    assert len(tried) > 8, "some rules were never met"
    for number, pod in enumerate(to_schedule):
        _settles_inside(ground, pod, f"judged-{number}")


def _settles_inside(ground: Ground, pod: Manifest, name: str) -> None:
    """The real scheduler puts it inside, or nowhere."""
    made = {**pod, "metadata": {**pod["metadata"], "name": name}}
    made["spec"] = {**pod["spec"], "schedulerName": "default-scheduler"}
    ground.admin.create(made)
    settled = eventually(partial(_settled, ground, made), what=f"{name} is scheduled, or found not to fit")
    assert settled in {ground.inside, "nowhere"}


def _settled(ground: Ground, pod: Manifest) -> str | None:
    seen = ground.admin.get("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
    if "nodeName" in seen["spec"]:
        return str(seen["spec"]["nodeName"])
    conditions = seen["status"].get("conditions", ())
    return "nowhere" if any(each.get("reason") == "Unschedulable" for each in conditions) else None
