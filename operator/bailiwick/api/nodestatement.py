"""NodeStatement: what somebody says about one machine."""

from typing import Annotated, ClassVar

from pydantic import Field

from bailiwick.api.codes import Place
from bailiwick.api.markers import Atomic, MapSet, Rule
from bailiwick.api.names import ObjectName
from bailiwick.api.resource import Column, Kind, Part, Resource
from bailiwick.api.timestamps import Timestamp


class Machine(Part):
    """Which machine is meant. Every identity that is given must match the node, or the statement does not count.

    A signature counts for more than Declared only with a machineID, systemUUID or providerID.
    """

    name: ObjectName = Field(description="Name of the node.")
    uid: str | None = Field(
        default=None, max_length=64, description="The node's metadata.uid: a node that registers anew gets another."
    )
    machine_id: str | None = Field(default=None, max_length=64, description="The node's status.nodeInfo.machineID.")
    system_uuid: str | None = Field(default=None, max_length=64, description="The node's status.nodeInfo.systemUUID.")
    provider_id: str | None = Field(default=None, max_length=512, description="The node's spec.providerID.")


class PlaceFact(Part):
    """Where the machine stands."""

    jurisdiction: Place = Field(description="Country or subdivision.")
    site: str | None = Field(default=None, max_length=253, description="Data centre, room or rack, for people.")


class ControlFact(Part):
    """Whose law reaches the party that operates the machine."""

    jurisdiction: Place = Field(description="Country whose law reaches the operator.")
    operator: str | None = Field(default=None, max_length=253, description="Legal name of the operating party.")


Countries = Annotated[tuple[Place, ...], MapSet, Field(max_length=8)]
"""Several countries; all of them must be inside. Empty: not known."""


class OriginFact(Part):
    """Where the hardware comes from: three different questions. An empty answer is not known."""

    brand: Countries = Field(default=(), description="Countries of the brand.")
    manufacture: Countries = Field(default=(), description="Countries where it was made.")
    design: Countries = Field(default=(), description="Countries where it was designed.")


class Signature(Part):
    """One signature of a DSSE envelope."""

    keyid: str = Field(default="", max_length=256, description="Hint which key signed.")
    sig: str = Field(min_length=1, max_length=4096, description="Signature, base64.")


class Envelope(Part):
    """A DSSE envelope around an in-toto statement that says the same as the spec."""

    payload_type: str = Field(max_length=128, description="Type of the payload: application/vnd.in-toto+json.")
    payload: str = Field(min_length=1, max_length=65536, description="The signed statement, base64.")
    signatures: Annotated[tuple[Signature, ...], Atomic] = Field(
        min_length=1, max_length=16, description="Signatures over payload and type."
    )


class StatementSpec(Part):
    """Facts about one thing, whatever it is, who vouches for them, and how long they hold."""

    place: PlaceFact | None = Field(default=None, description="Where it stands.")
    control: ControlFact | None = Field(default=None, description="Whose law reaches its operator.")
    origin: OriginFact | None = Field(default=None, description="Where its hardware comes from.")
    issued_at: Timestamp = Field(description="When the facts were established.")
    expires_at: Timestamp = Field(description="When they stop counting. Nothing holds for ever.")
    authority: ObjectName | None = Field(default=None, description="The Authority that vouches for the facts.")
    envelope: Envelope | None = Field(default=None, description="The signed form. Without it the facts are Declared.")
    rules = (
        Rule(
            "self.expiresAt > self.issuedAt",
            "expiresAt must be after issuedAt",
            holds=lambda self: self.expires_at > self.issued_at,
            path=".expiresAt",
        ),
        Rule(
            "has(self.place) || has(self.control) || has(self.origin)",
            "a statement must state place, control or origin",
            holds=lambda self: (self.place or self.control or self.origin) is not None,
        ),
        Rule(
            "has(self.authority) == has(self.envelope)",
            "authority and envelope belong together: give both or neither",
            holds=lambda self: (self.authority is None) == (self.envelope is None),
            path=".authority",
        ),
    )


class NodeStatementSpec(StatementSpec):
    """Facts about one node, and how long they hold."""

    node: Machine = Field(description="Which machine is meant.")


class NodeStatement(Resource):
    """What somebody says about one machine: where it stands, who controls it, where it comes from."""

    presents: ClassVar[Kind] = Kind(
        plural="nodestatements",
        singular="nodestatement",
        short_names=("nstmt",),
        selectable=(".spec.node.name",),
        columns=(
            Column("Node", ".spec.node.name"),
            Column("Place", ".spec.place.jurisdiction"),
            Column("Control", ".spec.control.jurisdiction"),
            Column("Authority", ".spec.authority"),
            Column("Expires", ".spec.expiresAt"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: NodeStatementSpec = Field(description="The facts.")
