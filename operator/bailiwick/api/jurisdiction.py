"""Jurisdiction: a dated group of countries, subdivisions and other jurisdictions."""

from typing import Annotated, ClassVar

from pydantic import Field

from bailiwick.api.codes import JurisdictionName
from bailiwick.api.markers import MapSet, Rule
from bailiwick.api.names import whole
from bailiwick.api.resource import Column, Kind, Part, Resource
from bailiwick.api.timestamps import Day

_GROUP = "^(eu|[a-z][a-z0-9]{2,}(-[a-z0-9]+)*)$"
_is_group = whole(_GROUP)
_LONGEST = 63


class JurisdictionSpec(Part):
    """Who belongs to the group, since when, and who says so."""

    description: str = Field(default="", max_length=256, description="What the group is.")
    members: Annotated[tuple[JurisdictionName, ...], MapSet] = Field(
        min_length=1, max_length=300, description="Countries, subdivisions or other named jurisdictions."
    )
    as_of: Day = Field(description="The day on which the list was right.")
    source: str = Field(
        min_length=1, max_length=2048, description="Where the list can be checked: a legal text or URI."
    )


class Jurisdiction(Resource):
    """A dated group of countries. A policy names it in upper case: the object gdpr-adequate is GDPR-ADEQUATE."""

    presents: ClassVar[Kind] = Kind(
        plural="jurisdictions",
        singular="jurisdiction",
        short_names=("juris",),
        columns=(
            Column("As of", ".spec.asOf"),
            Column("Description", ".spec.description"),
            Column("Members", ".spec.members", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: JurisdictionSpec = Field(description="Who belongs to the group.")
    rules = (
        Rule(
            f"self.metadata.name.matches('{_GROUP}')",
            "two letters, or two letters and a dash, are ISO codes: name a group eu, eea, gdpr-adequate or alike",
            path=".metadata.name",
            holds=lambda self: not self.metadata.name or _is_group(self.metadata.name),
        ),
        Rule(
            "size(self.metadata.name) <= 63",
            "the name may have at most 63 characters",
            path=".metadata.name",
            holds=lambda self: len(self.metadata.name) <= _LONGEST,
        ),
        Rule(
            "!self.spec.members.exists(m, m.lowerAscii() == self.metadata.name)",
            "a jurisdiction cannot be a member of itself",
            holds=lambda self: self.name not in self.spec.members,
            path=".spec.members",
        ),
    )

    @property
    def name(self) -> str:
        """The name that policies use."""
        return self.metadata.name.upper()
