"""What a change of a policy lets in, read from the policy; and that nothing comes inside of which nothing is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.rules import judge
from bailiwick.residency.widening import widenings
from tests.unit.residency.given import NOW, facts, policy, statement

NETWORK = {"egress": [{"cidr": "10.0.0.0/8", "ports": [{"port": 443}]}], "services": ["ClusterIP"]}
CLOSED = dict.fromkeys(("exec", "attach", "portForward", "proxy", "ephemeralContainers"), "Deny")
EVICT = {"action": "Evict", "after": "5m"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param({}, {}, [], id="the same policy widens nothing"),
        pytest.param(
            {}, {"place": {"allow": ["EU", "US"]}}, ["spec.place: US comes inside"], id="one more jurisdiction"
        ),
        pytest.param({}, {"place": {"allow": ["DE"]}}, [], id="fewer jurisdictions widen nothing"),
        pytest.param(
            {"place": {"deny": ["DE-BY"]}}, {}, ["spec.place: DE comes inside"], id="a part that is not denied any more"
        ),
        pytest.param(
            {"place": {"allow": ["FR"], "deny": ["DE-BY"]}}, {"place": {"allow": ["FR", "DE"], "deny": ["DE-BY"]}},
            ["spec.place: DE (where no part is denied) comes inside"], id="a country of which a part stays denied",
        ),
        pytest.param(
            {"place": {"assurance": "Verified", "maxAge": "24h"}}, {"place": {"assurance": "Asserted"}},
            [
                "spec.place.assurance: Asserted is enough, Verified was asked",
                "spec.place.maxAge: any age will do, 24h was asked",
            ],
            id="less is asked of who says where nodes stand",
        ),
        pytest.param(
            {"control": {"allow": ["EU"]}}, {},
            ["spec.control: is not asked any more, so any answer will do"], id="control is not asked any more",
        ),
        pytest.param(
            {"origin": {"brand": {"allow": ["EU"]}}}, {"origin": {"brand": {"allow": ["EU", "CN"]}}},
            ["spec.origin.brand: CN comes inside"], id="brands of one more country",
        ),
        pytest.param(
            {}, {"unknown": "Warn"},
            ["spec.unknown: Deny becomes Warn: a node of whose control or origin nobody said anything is inside"],
            id="what nobody knows is tolerated",
        ),
        pytest.param(
            {}, {"mode": "Audit"},
            ["spec.mode: Audit refuses nothing, Enforce refused what is outside"], id="it enforces no more",
        ),
        pytest.param({"mode": "Audit"}, {"mode": "Enforce"}, [], id="to enforce widens nothing"),
        pytest.param(
            {"images": {"registries": ["a.example/x"]}},
            {"images": {"registries": ["a.example/x/y", "b.example/"], "requireDigest": False}},
            [
                "spec.images.registries: b.example/ is allowed",
                "spec.images.requireDigest: a name without a digest will do",
            ],
            id="one more registry, and tags; a folder of an old one is nothing new",
        ),
        pytest.param(
            {"images": {"registries": ["a.example/x"]}}, {"images": {"registries": ["a.example/xy"]}},
            ["spec.images.registries: a.example/xy is allowed"], id="a prefix ends where a name ends",
        ),
        pytest.param(
            {"images": {"registries": []}}, {},
            ["spec.images: is not asked any more, so any image will do"], id="any image",
        ),
        pytest.param(
            {"models": {"sources": ["oci://a.example/m/"], "signedBy": ["lab"], "licences": ["MIT"]}},
            {"models": {"sources": ["oci://a.example/m"], "signedBy": [], "licences": ["MIT", "GPL"]}},
            [
                "spec.models.sources: oci://a.example/m is allowed",
                "spec.models.signedBy: is not asked any more",
                "spec.models.licences: GPL is allowed",
            ],
            id="sources, signatures and licences of models",
        ),
        pytest.param(
            {"network": NETWORK},
            {"network": {"egress": [{"cidr": "10.1.0.0/16", "ports": [{"port": 443}, {"port": 80}]}],
                         "services": ["ClusterIP", "LoadBalancer"], "ingressClasses": ["open"]}},
            [
                "spec.network.egress: 10.1.0.0/16 (TCP 80) is allowed",
                "spec.network.services: LoadBalancer is allowed",
                "spec.network.ingressClasses: open is allowed",
            ],
            id="one more port, type and class; a part of an old range is nothing new",
        ),
        pytest.param(
            {"storage": {"classes": ["a"]}}, {"storage": {"classes": ["a", "b"]}},
            ["spec.storage.classes: b is allowed"], id="one more class of storage",
        ),
        pytest.param(
            {"access": CLOSED}, {"access": {**CLOSED, "exec": "Allow"}},
            ["spec.access.exec: is allowed"], id="exec is open",
        ),
        pytest.param(
            {}, {"waivers": {"approvals": 2, "maxDuration": "24h"}},
            ["spec.waivers: exceptions become possible: 2 approvals, at most 24h"], id="waivers become possible",
        ),
        pytest.param(
            {"waivers": {"approvals": 2, "maxDuration": "24h"}}, {"waivers": {"approvals": 1, "maxDuration": "48h"}},
            [
                "spec.waivers.approvals: 1 are enough, 2 were asked",
                "spec.waivers.maxDuration: a waiver may last 48h, 24h was the longest",
            ],
            id="waivers become easier and longer",
        ),
        pytest.param(
            {"violation": EVICT}, {"violation": {**EVICT, "after": "1h"}},
            ["spec.violation.after: the last step comes after 1h, not after 5m"], id="pods outside may stay longer",
        ),
        pytest.param(
            {"violation": EVICT}, {},
            ["spec.violation: Evict becomes Report for pods that are outside"], id="pods outside are only reported",
        ),
    ],
)  # fmt: skip
def test_a_change_lets_in(before: dict[str, Any], after: dict[str, Any], told: list[str]) -> None:
    assert [f"{each.field}: {each.told}" for each in widenings(policy(**before), policy(**after))] == told


def test_a_new_policy_lets_nothing_in_and_one_that_goes_takes_all_that_it_asks_with_it() -> None:
    assert widenings(None, policy()) == ()
    (told,) = widenings(policy(), None)
    assert str(told) == "policy health, spec: goes, and with it everything that the policy asks"


CODES = ["DE", "DE-BY", "DE-HH", "FR", "FR-75", "US", "US-CA", "CN", "CN-HK", "HK"]
RULES = st.fixed_dictionaries(
    {"allow": st.lists(st.sampled_from(CODES), unique=True, max_size=4)},
    optional={"deny": st.lists(st.sampled_from(CODES), unique=True, max_size=3)},
)
PLACES = st.tuples(RULES, st.sampled_from(["Declared", "Asserted"])).map(lambda each: {**each[0], "assurance": each[1]})
SPECS = st.fixed_dictionaries(
    {"place": PLACES}, optional={"control": RULES, "unknown": st.sampled_from(["Deny", "Warn"])}
)


@given(before=SPECS, after=SPECS, place=st.sampled_from(CODES), control=st.sampled_from([None, *CODES]))
def test_where_nothing_is_told_no_node_comes_inside(
    before: dict[str, Any], after: dict[str, Any], place: str, control: str | None
) -> None:
    was, becomes = (policy(atlas=Atlas(), **each) for each in (before, after))
    about = facts(statement(place=place, control=control))
    if not widenings(was, becomes):
        assert judge(was, about, NOW).allowed or not judge(becomes, about, NOW).allowed
    assert widenings(was, was) == ()
