"""Codes of countries, as ISO publishes them."""

from __future__ import annotations

import pycountry
import pytest

from bailiwick.api.codes import COUNTRIES, country_of, is_place


def test_countries_are_those_of_iso_3166() -> None:
    assert {country.alpha_2 for country in pycountry.countries} == COUNTRIES


def test_every_subdivision_of_iso_3166_is_a_place() -> None:
    assert [division.code for division in pycountry.subdivisions if not is_place(division.code)] == []


@pytest.mark.parametrize(
    "code", ["UK", "EU", "de", "DEU", "", "D", "DE-", "-BY", "DE-by", "DE-BAYERN", "DE\n", " DE", "\uff24\uff25"]
)
def test_what_is_no_place(code: str) -> None:
    assert not is_place(code)


def test_the_country_of_a_subdivision() -> None:
    assert [country_of(place) for place in ("DE", "DE-BY", "GB-SCT")] == ["DE", "DE", "GB"]
