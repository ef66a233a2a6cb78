"""Jurisdictions: what a name such as EU stands for, and whether a place is inside."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bailiwick.api.codes import country_of, is_place
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.residency.verdict import Problem, Reason

# Parts of a country that have a country code of their own as well. Source: ISO 3166-2, the remarks "own country code".
OWN_CODE: Mapping[str, str] = MappingProxyType({
    "CN-HK": "HK", "CN-MO": "MO", "CN-TW": "TW", "FI-01": "AX",
    "FR-971": "GP", "FR-972": "MQ", "FR-973": "GF", "FR-974": "RE", "FR-976": "YT",
    "FR-BL": "BL", "FR-MF": "MF", "FR-NC": "NC", "FR-PF": "PF", "FR-PM": "PM", "FR-TF": "TF", "FR-WF": "WF",
    "NL-AW": "AW", "NL-CW": "CW", "NL-SX": "SX", "NL-BQ1": "BQ", "NL-BQ2": "BQ", "NL-BQ3": "BQ",
    "NO-21": "SJ", "NO-22": "SJ",
    "US-AS": "AS", "US-GU": "GU", "US-MP": "MP", "US-PR": "PR", "US-UM": "UM", "US-VI": "VI",
})  # fmt: skip


def contains(places: frozenset[str], place: str) -> bool:
    """Whether a place is surely one of these or part of one: DE-BY is in DE, DE is not in DE-BY."""
    return place in places or country_of(place) in places


def touching(places: frozenset[str]) -> frozenset[str]:
    """These places, and every code of which a part is one of them: DE for DE-BY, CN-HK for HK and the reverse.

    Who is told only DE cannot exclude DE-BY. The countries of two codes for one part do not touch: TW and CN.
    """
    countries = {country_of(place) for place in places}
    own_codes = {OWN_CODE[place] for place in places if place in OWN_CODE}
    parts = {part for part, own_code in OWN_CODE.items() if own_code in places}
    return places | countries | own_codes | parts


@dataclass(frozen=True, slots=True)
class Expansion:
    """What names stand for: countries and subdivisions, and what is wrong with the names.

    ``whole`` is false when something could not be resolved, so that more may be meant than ``places`` says.
    """

    places: frozenset[str]
    problems: tuple[Problem, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every name could be resolved."""
        return not self.problems


class Atlas:
    """The named jurisdictions of a cluster. A name that it does not know stands for no place."""

    def __init__(self, jurisdictions: Iterable[Jurisdiction] = ()) -> None:
        self._members: dict[str, tuple[str, ...]] = {
            jurisdiction.name: tuple(sorted(jurisdiction.spec.members)) for jurisdiction in jurisdictions
        }
        self._expanded: dict[str, Expansion] = {}

    def __contains__(self, name: str) -> bool:
        return is_place(name) or name in self._members

    def expand(self, names: Iterable[str]) -> Expansion:
        """The places that names stand for, with groups and groups of groups resolved.

        A group that contains itself by some detour, and a name that nobody knows, add nothing and are reported. The
        result does not depend on the order of names.
        """
        parts = [self._expand(name) for name in sorted(set(names))]
        places: frozenset[str] = frozenset().union(*(part.places for part in parts))
        problems = dict.fromkeys(problem for part in parts for problem in part.problems)
        return Expansion(places, tuple(problems))

    def _expand(self, name: str) -> Expansion:
        if name not in self._expanded:
            self._expanded[name] = self._resolve(name)
        return self._expanded[name]

    def _resolve(self, name: str) -> Expansion:
        if is_place(name):  # before the groups: an object that happens to be called DE cannot redefine a country
            return Expansion(frozenset({name}))
        if name not in self._members:
            return Expansion(frozenset(), (_unknown(name, named_by=None),))
        places: set[str] = set()
        problems: dict[Problem, None] = {}
        reached = {name}
        waiting = [name]
        while waiting:
            group = waiting.pop()
            for member in self._members[group]:
                if is_place(member):
                    places.add(member)
                elif member not in self._members:
                    problems[_unknown(member, named_by=group)] = None
                elif member not in reached:
                    reached.add(member)
                    waiting.append(member)
        for group in sorted(reached):
            if self._is_cyclic(group):
                problems[_cyclic(group)] = None
        return Expansion(frozenset(places), tuple(sorted(problems, key=str)))

    def _is_cyclic(self, group: str) -> bool:
        """Whether a group contains itself by some detour."""
        reached: set[str] = set()
        waiting = [group]
        while waiting:
            for member in self._members.get(waiting.pop(), ()):
                if member == group:
                    return True
                if member not in reached:
                    reached.add(member)
                    waiting.append(member)
        return False


def _unknown(name: str, *, named_by: str | None) -> Problem:
    where = f"jurisdiction {named_by} names {name}, which is" if named_by else f"{name} is"
    return Problem(
        Reason.UNKNOWN_JURISDICTION,
        f"{where} neither an ISO 3166 code nor a Jurisdiction of this cluster; correct the name, or create the "
        f"Jurisdiction {name.lower()}",
    )


def _cyclic(name: str) -> Problem:
    return Problem(
        Reason.CYCLIC_JURISDICTION,
        f"jurisdiction {name} contains itself by way of its members; remove it from one of them",
    )
