"""What names of jurisdictions stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.api.codes import COUNTRIES
from bailiwick.residency.jurisdictions import OWN_CODE, Atlas, contains, touching
from bailiwick.residency.verdict import Reason
from tests.unit.residency.given import ATLAS, jurisdiction

if TYPE_CHECKING:
    from bailiwick.api.jurisdiction import Jurisdiction


def places(*names: str, atlas: Atlas = ATLAS) -> set[str]:
    return set(atlas.expand(names).places)


def reasons(*names: str, atlas: Atlas) -> list[tuple[Reason, str]]:
    return [(problem.reason, problem.message) for problem in atlas.expand(names).problems]


def test_a_country_and_a_subdivision_stand_for_themselves() -> None:
    assert places("DE", "DE-BY", "US-CA") == {"DE", "DE-BY", "US-CA"}


def test_a_group_stands_for_its_members() -> None:
    assert places("EU") == {"DE", "FR", "IE"}


def test_groups_nest() -> None:
    assert places("EEA", "GB") == {"DE", "FR", "IE", "NO", "IS", "GB"}


def test_a_name_that_nobody_knows_stands_for_nothing_and_is_reported() -> None:
    assert places("EU", "ATLANTIS") == {"DE", "FR", "IE"}
    ((reason, message),) = reasons("ATLANTIS", atlas=ATLAS)
    assert reason is Reason.UNKNOWN_JURISDICTION
    assert message.startswith(
        "ATLANTIS is neither an ISO 3166 code nor a Jurisdiction of this cluster; correct the name"
    )


@pytest.mark.parametrize("name", ["UK", "EU", "XX", "de", "D", "", "DE-", "DE-BAYERN", "\uff24\uff25", "DE\n"])
def test_what_is_no_code_is_not_taken_for_one(name: str) -> None:
    assert places(name, atlas=Atlas()) == set()
    assert not Atlas().expand([name]).whole


def test_an_unknown_member_is_reported_with_the_group_that_names_it() -> None:
    atlas = Atlas([jurisdiction("INNER", "DE", "ATLANTIS"), jurisdiction("OUTER", "INNER", "FR")])
    assert places("OUTER", atlas=atlas) == {"DE", "FR"}
    ((reason, message),) = reasons("OUTER", atlas=atlas)
    assert reason is Reason.UNKNOWN_JURISDICTION
    assert "jurisdiction INNER names ATLANTIS" in message


def test_a_cycle_is_reported_and_adds_nothing() -> None:
    atlas = Atlas(
        [jurisdiction("AAA", "DE", "BBB"), jurisdiction("BBB", "FR", "AAA"), jurisdiction("CCC", "IE", "AAA")]
    )
    assert places("AAA", atlas=atlas) == places("BBB", atlas=atlas) == {"DE", "FR"}
    assert places("CCC", atlas=atlas) == {"DE", "FR", "IE"}
    assert [reason for reason, _ in reasons("CCC", atlas=atlas)] == [Reason.CYCLIC_JURISDICTION] * 2
    assert "jurisdiction AAA contains itself" in reasons("CCC", atlas=atlas)[0][1]


def test_a_group_beside_a_cycle_is_whole() -> None:
    atlas = Atlas([jurisdiction("AAA", "DE", "AAB"), jurisdiction("AAB", "AAA"), jurisdiction("EU", "FR")])
    assert atlas.expand(["EU"]).whole
    assert not atlas.expand(["AAA"]).whole


def test_two_ways_to_one_group_are_no_cycle() -> None:
    atlas = Atlas(
        [
            jurisdiction("TOP", "ONE", "TWO"),
            jurisdiction("ONE", "EU"),
            jurisdiction("TWO", "EU"),
            jurisdiction("EU", "DE"),
        ]
    )
    assert atlas.expand(["TOP"]).whole


def test_an_object_cannot_redefine_a_country() -> None:
    impostor = jurisdiction("EU", "US").model_copy(
        update={"metadata": jurisdiction("EU", "US").metadata.model_copy(update={"name": "de"})}
    )
    assert places("DE", atlas=Atlas([impostor])) == {"DE"}


def test_known_names_are_in_the_atlas() -> None:
    assert "EU" in ATLAS
    assert "DE-BY" in ATLAS
    assert "ATLANTIS" not in ATLAS


@pytest.mark.parametrize(
    ("inside", "place", "is_inside"),
    [
        ({"DE"}, "DE", True),
        ({"DE"}, "DE-BY", True),
        ({"DE-BY"}, "DE", False),
        ({"DE-BY"}, "DE-BE", False),
        ({"DE-BY"}, "DE-BY", True),
        ({"CN"}, "HK", False),
        ({"HK"}, "CN-HK", False),
        (set(), "DE", False),
    ],
)
def test_a_part_is_inside_its_whole_and_not_the_reverse(inside: set[str], place: str, *, is_inside: bool) -> None:
    assert contains(frozenset(inside), place) is is_inside


@pytest.mark.parametrize(
    ("denied", "near", "far"),
    [
        ("DE-BY", {"DE", "DE-BY"}, {"DE-BE", "FR"}),
        ("HK", {"HK", "CN-HK"}, {"CN", "MO"}),
        ("CN-HK", {"CN-HK", "HK", "CN"}, {"MO"}),
        ("CN", {"CN"}, {"TW", "HK", "MO"}),
        ("TW", {"TW", "CN-TW"}, {"CN"}),
    ],
)
def test_what_could_be_a_denied_place_touches_it(denied: str, near: set[str], far: set[str]) -> None:
    touched = touching(frozenset({denied}))
    assert near <= touched
    assert not far & touched


def test_parts_with_a_country_code_of_their_own_are_as_in_iso_3166() -> None:
    subdivisions = {subdivision.code for subdivision in pycountry.subdivisions}
    assert set(OWN_CODE) <= subdivisions
    assert set(OWN_CODE.values()) <= COUNTRIES


NAMES = st.sampled_from(["DE", "FR", "US", "DE-BY", "ONE", "TWO", "THREE", "ATLANTIS"])
ATLASES = st.lists(
    st.builds(
        lambda name, members: jurisdiction(name, *sorted(members - {name})),
        st.sampled_from(["ONE", "TWO", "THREE"]),
        st.sets(NAMES, min_size=2),
    ),
    unique_by=lambda group: group.name,
    max_size=3,
)


@given(ATLASES, st.lists(NAMES), st.lists(NAMES))
def test_names_together_stand_for_what_they_stand_for_alone(
    groups: list[Jurisdiction], one: list[str], other: list[str]
) -> None:
    atlas = Atlas(groups)
    assert atlas.expand([*one, *other]).places == atlas.expand(one).places | atlas.expand(other).places


@given(ATLASES, st.lists(NAMES))
def test_the_order_of_names_and_groups_never_matters(groups: list[Jurisdiction], names: list[str]) -> None:
    assert Atlas(groups).expand(names) == Atlas(groups[::-1]).expand(names[::-1])


@given(ATLASES, st.lists(NAMES))
def test_taking_a_group_away_never_widens(groups: list[Jurisdiction], names: list[str]) -> None:
    assert Atlas(groups[1:]).expand(names).places <= Atlas(groups).expand(names).places


@given(st.lists(st.text(max_size=8)))
def test_any_text_can_be_expanded(names: list[str]) -> None:
    ATLAS.expand(names)
