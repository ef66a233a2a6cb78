"""Names of jurisdictions: ISO 3166-1 countries, ISO 3166-2 subdivisions, and dated groups of them."""

from typing import Annotated

from pydantic import Field

from bailiwick.api.names import named, whole

COUNTRIES = frozenset(  # one code per word, so that a change is one word in a diff
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()  # noqa: SIM905
)
"""ISO 3166-1 alpha-2, as of 2026; a test compares it with pycountry."""


def _alternatives() -> str:
    """All countries as one short expression: AD, AE, AF becomes A[DEF]."""
    by_first: dict[str, list[str]] = {}
    for code in sorted(COUNTRIES):
        by_first.setdefault(code[0], []).append(code[1])
    return "|".join(first + (f"[{''.join(last)}]" if len(last) > 1 else last[0]) for first, last in by_first.items())


_COUNTRY = f"({_alternatives()})"
_TERRITORY = rf"{_COUNTRY}(-[A-Z0-9]{{1,3}})?"
_GROUP = r"(EU|[A-Z][A-Z0-9]{2,}(-[A-Z0-9]+)*)"

PLACE_PATTERN = f"^{_TERRITORY}$"
JURISDICTION_PATTERN = f"^({_TERRITORY}|{_GROUP})$"

_CODES = (
    "a country such as DE or GB (the United Kingdom is GB, not UK), a subdivision such as DE-BY, "
    "in the upper-case codes of ISO 3166"
)
PLACE_MESSAGE = f"must be {_CODES}; EU is a group of countries, not one of them"
JURISDICTION_MESSAGE = f"must be {_CODES}, or the name of a Jurisdiction object such as EU or GDPR-ADEQUATE"


is_place = whole(PLACE_PATTERN)
"""Whether a name is one country or subdivision: where one thing can stand."""


def country_of(place: str) -> str:
    """The country of a place: DE for DE-BY, and for DE itself."""
    return place.partition("-")[0]


Place = Annotated[
    str,
    Field(min_length=1, max_length=24),  # long enough for a country's name, so that it gets the rule's answer
    named(PLACE_PATTERN, PLACE_MESSAGE),
]
"""One country or subdivision."""

JurisdictionName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    named(JURISDICTION_PATTERN, JURISDICTION_MESSAGE),
]
"""A country, a subdivision, or a named group of them."""
