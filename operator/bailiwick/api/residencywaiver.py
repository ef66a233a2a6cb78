"""ResidencyWaiver and WaiverApproval: one machine inside one policy for a while, in spite of what the policy asks."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from bailiwick.api.codes import JurisdictionName
from bailiwick.api.markers import UNCHANGEABLE, MapSet, Rule
from bailiwick.api.names import ObjectName
from bailiwick.api.nodestatement import Machine
from bailiwick.api.resource import Column, Conditions, Kind, ObservedGeneration, Part, Resource
from bailiwick.api.timestamps import Timestamp

UserName = Annotated[str, Field(min_length=1, max_length=256)]
"""Somebody, as the API server knows them."""


class Waivable(StrEnum):
    """One thing that a policy asks of a machine, and that a waiver may lift."""

    PLACE = "place"
    ASSURANCE = "assurance"
    AGE = "age"
    CONTROL = "control"
    BRAND = "brand"
    MANUFACTURE = "manufacture"
    DESIGN = "design"


class ResidencyWaiverSpec(Part):
    """What is asked for, of whom, why, and for how long."""

    policy: ObjectName = Field(description="The one ResidencyPolicy that it is about. Others go on refusing.")
    requester: UserName = Field(description="Who asks: your own user name, as `kubectl auth whoami` tells it.")
    node: Machine = Field(
        description="The one machine. Give its machineID, systemUUID or providerID: a name can be taken over."
    )
    dimensions: Annotated[tuple[Waivable, ...], MapSet] = Field(
        min_length=1,
        max_length=7,
        description="What is lifted: the place (also one that nobody knows), assurance and age of what is said of it, "
        "control, and the parts of origin. Whatever is not listed is asked as ever.",
    )
    jurisdictions: Annotated[tuple[JurisdictionName, ...], MapSet] = Field(
        default=(),
        max_length=64,
        description="The only further answers that are accepted where place, control or origin are lifted; what nobody "
        'knows is then not accepted. Absent: any answer, or none. Quote "NO".',
    )
    reason: str = Field(min_length=1, max_length=1024, description="Why, for those who approve and for auditors.")
    ticket: str | None = Field(default=None, max_length=253, description="Where it was discussed.")
    not_before: Timestamp = Field(description="When it begins.")
    expires_at: Timestamp = Field(description="When it ends, at most maxDuration of the policy later.")
    rules = (
        Rule(
            "self.expiresAt > self.notBefore",
            "expiresAt must be after notBefore",
            holds=lambda self: self.expires_at > self.not_before,
            path=".expiresAt",
        ),
        Rule(
            "has(self.node.machineID) || has(self.node.systemUUID) || has(self.node.providerID)",
            "name the machine by its machineID, systemUUID or providerID: the name of a node can be taken over",
            holds=lambda self: (
                (self.node.machine_id, self.node.system_uuid, self.node.provider_id) != (None, None, None)
            ),
            path=".node",
        ),
        UNCHANGEABLE,
    )


class ResidencyWaiverStatus(Part):
    """What became of it."""

    observed_generation: ObservedGeneration = 0
    conditions: Conditions = ()
    approvers: Annotated[tuple[UserName, ...], MapSet] = Field(
        default=(), max_length=64, description="Those whose approvals count, in alphabetical order."
    )


class ResidencyWaiver(Resource):
    """One exact machine inside one policy for a limited time, in spite of listed dimensions.

    It counts when enough people approved of it, none of them the requester. Each waiver is judged alone: two of them
    never add up.
    """

    presents: ClassVar[Kind] = Kind(
        plural="residencywaivers",
        singular="residencywaiver",
        short_names=("rwaiver",),
        selectable=(".spec.policy", ".spec.node.name"),
        columns=(
            Column("Policy", ".spec.policy"),
            Column("Node", ".spec.node.name"),
            Column("Dimensions", ".spec.dimensions"),
            Column("Approved", ".status.conditions[?(@.type=='Approved')].status"),
            Column("Active", ".status.conditions[?(@.type=='Active')].status"),
            Column("Expires", ".spec.expiresAt"),
            Column("Requester", ".spec.requester", priority=1),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: ResidencyWaiverSpec = Field(description="What is asked for. It cannot be changed.")
    status: ResidencyWaiverStatus | None = Field(default=None, description="What became of it.")


class WaiverApprovalSpec(Part):
    """Who approves of what."""

    waiver: ObjectName = Field(description="Name of the ResidencyWaiver.")
    waiver_uid: str = Field(
        min_length=1,
        max_length=64,
        description="The waiver's metadata.uid, so that the approval does not count for another of that name.",
    )
    requester: UserName = Field(description="Who asked for the waiver, as its spec says.")
    approver: UserName = Field(description="Who approves: your own user name, as `kubectl auth whoami` tells it.")
    comment: str = Field(default="", max_length=1024, description="What was checked, for auditors.")
    rules = (UNCHANGEABLE,)


class WaiverApproval(Resource):
    """One person's approval of one waiver."""

    presents: ClassVar[Kind] = Kind(
        plural="waiverapprovals",
        singular="waiverapproval",
        short_names=("wapproval",),
        selectable=(".spec.waiver",),
        columns=(
            Column("Waiver", ".spec.waiver"),
            Column("Approver", ".spec.approver"),
            Column("Requester", ".spec.requester", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: WaiverApprovalSpec = Field(description="Who approves of what. It cannot be changed.")
