"""The named jurisdictions that the chart ships are data that can be checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from bailiwick.api.codes import COUNTRIES
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.residency.jurisdictions import Atlas
from e2e.client import documents

FILES = sorted((Path(__file__).parents[2] / "charts/bailiwick/jurisdictions").glob("*.yaml"))
SHIPPED = {file.stem: Jurisdiction.read(next(documents(file))) for file in FILES}
ATLAS = Atlas(SHIPPED.values())


def places(name: str) -> frozenset[str]:
    expansion = ATLAS.expand([name])
    assert expansion.whole, expansion.problems
    return expansion.places


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_file_holds_the_jurisdiction_it_is_named_for_and_every_member_is_known(file: Path) -> None:
    (document,) = documents(file)
    assert document["metadata"] == {"name": file.stem}
    assert all(isinstance(member, str) for member in document["spec"]["members"]), "YAML takes a bare NO for false"
    assert places(SHIPPED[file.stem].name) <= COUNTRIES
    assert document["spec"]["members"] == sorted(document["spec"]["members"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_says_when_it_was_right_and_who_says_so(file: Path) -> None:
    spec = SHIPPED[file.stem].spec
    assert spec.as_of.year == 2026
    assert len(spec.source) > 10
    assert spec.description.endswith(".")


@pytest.mark.parametrize(
    ("name", "size", "inside", "outside"),
    [
        ("EU", 27, "DE HR CY", "GB CH NO IS"),
        ("EEA", 30, "DE NO IS LI", "CH GB"),
        ("EFTA", 4, "CH NO IS LI", "DE"),
        ("GDPR-ADEQUATE", 13, "CH GB KR BR NZ", "US CA JP CN DE"),
        ("GDPR-ADEQUATE-PARTIAL", 3, "US CA JP", "GB"),
        ("NORDICS", 5, "NO SE", "EE"),
        ("BENELUX", 3, "NL", "DE"),
        ("DACH", 3, "DE AT CH", "LI"),
        ("FIVE-EYES", 5, "GB AU", "FR"),
        ("NATO", 32, "FI SE TR", "AT IE CH"),
        ("GCC", 6, "SA AE", "YE"),
        ("ASEAN", 11, "TL SG", "PG"),
        ("WORLD", len(COUNTRIES), "DE US TW", "EU UK"),
    ],
)
def test_membership(name: str, size: int, inside: str, outside: str) -> None:
    members = places(name)
    assert len(members) == size
    assert set(inside.split()) <= members
    assert not set(outside.split()) & members


def test_nothing_is_shipped_unchecked() -> None:
    assert len(SHIPPED) == 13


def test_adequacy_and_the_european_economic_area_do_not_overlap() -> None:
    """No decision is needed inside; a policy names both."""
    assert not places("EEA") & (places("GDPR-ADEQUATE") | places("GDPR-ADEQUATE-PARTIAL"))
    assert not places("GDPR-ADEQUATE") & places("GDPR-ADEQUATE-PARTIAL")


def test_the_world_is_every_country() -> None:
    assert places("WORLD") == COUNTRIES
