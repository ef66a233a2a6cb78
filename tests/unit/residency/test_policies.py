"""Policies with their names resolved, and the namespaces that they govern."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bailiwick.api.residencypolicy import Mode
from bailiwick.api.resource import Assurance
from bailiwick.api.sovereignmodel import Residency
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.policies import CompiledPolicy, compile_residency, exempt_namespaces, governing
from bailiwick.residency.verdict import Reason
from tests.unit.residency.given import ATLAS, EXEMPT, policy


def objection(place: str, **rule: list[str]) -> str | None:
    bounds = policy(place=rule).bounds(Dimension.PLACE)
    assert bounds
    return bounds.objection(place)


@pytest.mark.parametrize(
    ("place", "allow", "deny", "expected"),
    [
        ("DE", ["EU"], [], None),
        ("DE-BY", ["EU"], [], None),
        ("US", ["EU", "GB"], [], "allows EU, GB"),
        ("DE", [], [], "allows nothing"),
        ("DE", ["EU"], ["DE"], "denies DE"),
        ("DE-BY", ["EU"], ["DE"], "denies DE"),
        ("DE", ["EU"], ["EU"], "denies EU"),
        ("DE", ["DE"], ["WORLD"], "denies WORLD"),
        ("DE", ["EU"], ["DE-BY"], "denies DE-BY, which DE does not rule out"),
        ("DE-BE", ["EU"], ["DE-BY"], None),
        ("DE", ["DE-BY"], [], "allows DE-BY"),
        ("CN-HK", ["CN"], ["HK"], "denies HK, which CN-HK does not rule out"),
        ("TW", ["TW"], ["CN"], None),
        ("FR", ["EU"], ["DE-BY"], None),
    ],
)
def test_deny_wins_and_a_code_that_may_mean_a_denied_place_is_denied(
    place: str, allow: list[str], deny: list[str], expected: str | None
) -> None:
    assert objection(place, allow=allow, deny=deny) == expected


def test_an_unknown_name_in_allow_adds_nothing_and_is_reported() -> None:
    compiled = policy(place={"allow": ["EU", "ATLANTIS"]})
    bounds = compiled.bounds(Dimension.PLACE)
    assert bounds
    assert bounds.objection("DE") is None
    assert not bounds.unresolved
    assert [problem.reason for problem in compiled.problems] == [Reason.UNKNOWN_JURISDICTION]


def test_an_unknown_name_in_deny_is_reported_and_may_mean_anything() -> None:
    compiled = policy(place={"allow": ["EU"], "deny": ["ATLANTIS"]}, control={"allow": ["EU"], "deny": ["ATLANTIS"]})
    bounds = compiled.bounds(Dimension.CONTROL)
    assert bounds
    assert bounds.unresolved.startswith("ATLANTIS is neither")
    assert len(compiled.problems) == 1, "told once"


def test_everything_that_is_asked_is_compiled() -> None:
    rule = {"allow": ["EU"], "deny": ["FR"]}
    compiled = policy(
        mode="Warn",
        unknown="Warn",
        place={**rule, "assurance": "Verified", "maxAge": "36h"},
        control=rule,
        origin={"brand": rule, "manufacture": rule, "design": rule},
    )
    assert compiled.place
    assert compiled.place.assurance is Assurance.VERIFIED
    assert compiled.place.max_age == timedelta(hours=36)
    assert all(compiled.bounds(dimension) == compiled.place.bounds for dimension in Dimension)
    assert (compiled.name, compiled.by, compiled.path) == ("health", "policy health", "spec")
    assert (compiled.mode, compiled.tolerates_unknown) == (Mode.WARN, True)


def test_what_is_not_asked_is_not_compiled() -> None:
    compiled = policy(origin={"brand": {"allow": ["EU"]}})
    asked = {dimension for dimension in Dimension if compiled.bounds(dimension)}
    assert asked == {Dimension.PLACE, Dimension.BRAND}
    assert not compiled.tolerates_unknown


def test_a_model_asks_in_the_same_words_and_tolerates_nothing() -> None:
    residency = Residency.model_validate(
        {"place": {"allow": ["DE"], "maxAge": "1h"}, "control": {"allow": ["NOWHERE"]}}
    )
    limits = compile_residency(residency, ATLAS, by="model clinic/assistant")
    assert limits.place
    assert limits.place.max_age == timedelta(hours=1)
    assert (limits.by, limits.path, limits.tolerates_unknown) == ("model clinic/assistant", "spec.residency", False)
    assert [problem.reason for problem in limits.problems] == [Reason.UNKNOWN_JURISDICTION]


def test_a_model_that_asks_nothing_has_no_limits() -> None:
    limits = compile_residency(Residency(), ATLAS, by="model clinic/assistant")
    assert not any(limits.bounds(dimension) for dimension in Dimension)


class TestGoverning:
    HEALTH = policy("health")
    ALL = policy("all", namespaceSelector={})

    def test_a_policy_governs_what_its_selector_matches(self) -> None:
        assert self.HEALTH.governs("clinic", {"data": "health"}, exempt=EXEMPT)
        assert not self.HEALTH.governs("clinic", {"data": "other"}, exempt=EXEMPT)
        assert not self.HEALTH.governs("clinic", {}, exempt=EXEMPT)

    def test_an_empty_selector_governs_every_namespace(self) -> None:
        assert self.ALL.governs("any", {}, exempt=EXEMPT)

    @pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease", "bailiwick-system"])
    def test_no_policy_governs_the_system(self, namespace: str) -> None:
        assert namespace in exempt_namespaces("bailiwick-system")
        assert not self.ALL.governs(namespace, {"data": "health"}, exempt=EXEMPT)

    def test_a_namespace_has_its_own_name_whatever_its_labels_say(self) -> None:
        named = policy(namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "clinic"}})
        assert named.governs("clinic", {}, exempt=EXEMPT)
        assert named.governs("clinic", {"kubernetes.io/metadata.name": "x"}, exempt=EXEMPT)
        assert not named.governs("lab", {"kubernetes.io/metadata.name": "clinic"}, exempt=EXEMPT)

    def test_all_that_apply_govern_in_one_order(self) -> None:
        def names(*policies: CompiledPolicy) -> list[str]:
            return [each.name for each in governing(policies, "clinic", {"data": "health"}, exempt=EXEMPT)]

        assert names(self.HEALTH, self.ALL) == names(self.ALL, self.HEALTH) == ["all", "health"]
        assert not governing([self.HEALTH], "clinic", {}, exempt=EXEMPT)
