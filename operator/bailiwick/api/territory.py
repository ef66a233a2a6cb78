"""Territory: the compiled form of one policy, and the parameter of the in-tree policies."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from bailiwick.api.markers import Atomic, AtomicMap, Rule
from bailiwick.api.names import LABEL_KEYS, NODE_NAMES, LabelValue, named
from bailiwick.api.residencypolicy import Permission
from bailiwick.api.resource import Column, Kind, Part, Resource

# The operator has judged these places. The full rule, for each of 20000 nodes, would exceed the API server's budget.
_NodePlace = Annotated[
    str, Field(min_length=2, max_length=6), named("^[A-Z]{2}(-[A-Z0-9]{1,3})?$", "must be a place such as DE or DE-BY")
]
# Owned as a whole: a server-side apply that takes the last item out of a list or map with separately owned items leaves
# null, which the schema refuses, so the last node could never leave. It also spares one line of bookkeeping per node.
_Names = Annotated[tuple[Annotated[str, Field(max_length=317)], ...], Atomic]
_Waived = Annotated[Mapping[str, Annotated[str, Field(max_length=253)]], AtomicMap, Field(max_length=20000), NODE_NAMES]
_Nodes = Annotated[Mapping[str, _NodePlace], AtomicMap, Field(max_length=20000), NODE_NAMES]


class TerritoryModels(Part):
    """Which models the policy allows."""

    sources: _Names = Field(max_length=128, description="Prefixes of allowed sources.")
    require_digest: bool = Field(description="Whether sources must name their content by digest.")
    signed_by: _Names = Field(
        default=(), max_length=32, description="Authorities of which one must have signed. Empty: not asked."
    )
    licences: _Names = Field(default=(), max_length=128, description="Allowed licences. Empty: not asked.")


class TerritoryImages(Part):
    """Which images the policy allows."""

    registries: _Names = Field(max_length=128, description="Prefixes of allowed image names.")
    require_digest: bool = Field(description="Whether images must be named by digest.")


class TerritoryStorage(Part):
    """Where the policy lets data be stored."""

    classes: _Names = Field(max_length=64, description="Allowed StorageClasses and CSI drivers.")


class TerritoryPorts(Part):
    """A range of ports of one protocol."""

    protocol: str = Field(max_length=4, description="Transport protocol.")
    port: int = Field(ge=1, le=65535, description="First port.")
    end_port: int = Field(ge=1, le=65535, description="Last port.")


class TerritoryEgress(Part):
    """One destination outside the cluster."""

    cidr: str = Field(max_length=49, description="Address range.")
    ports: Annotated[tuple[TerritoryPorts, ...], Atomic] = Field(max_length=32, description="Empty: every port.")


class TerritoryNetwork(Part):
    """What the policy lets cross the edge of its namespaces."""

    egress: Annotated[tuple[TerritoryEgress, ...], Atomic] = Field(
        max_length=64, description="Destinations outside the cluster."
    )
    services: _Names = Field(max_length=4, description="Allowed Service types.")
    ingress_classes: _Names = Field(max_length=32, description="Allowed IngressClasses.")
    gateway_classes: _Names = Field(max_length=32, description="Allowed GatewayClasses.")


class TerritoryAccess(Part):
    """Which ways into a running pod the policy opens."""

    exec: Permission = Field(description="Running a command in a container.")
    attach: Permission = Field(description="Reading and writing a container's terminal.")
    port_forward: Permission = Field(description="Tunnels into a pod.")
    proxy: Permission = Field(description="The API server's proxy to pods and Services.")
    ephemeral_containers: Permission = Field(description="Containers that are added to a running pod.")


class TerritorySpec(Part):
    """Every list that the API server needs to check a request by itself; an empty one is written, never left out."""

    policy: str = Field(min_length=1, max_length=63, description="The ResidencyPolicy that this was compiled from.")
    digest: str = Field(max_length=71, description="SHA-256 over everything else in this spec.")
    nodes: _Nodes = Field(
        description="Nodes inside, each with the jurisdiction where it stands; ZZ where nobody knows it and a waiver "
        "lifts that. Empty: nothing can run."
    )
    waived: _Waived | None = Field(
        default=None,
        description="Nodes among them that are inside by a ResidencyWaiver, each with its name. Absent: none.",
    )
    node_selector: Annotated[Mapping[str, LabelValue], Field(max_length=8), LABEL_KEYS] = Field(
        description="Labels that every governed pod must select its node by."
    )
    namespace_labels: _Names = Field(
        max_length=64, description="Namespace labels that decide whether the policy applies."
    )
    schedulers: _Names = Field(max_length=64, description="Schedulers that may place pods.")
    models: TerritoryModels | None = Field(default=None, description="Allowed models. Absent: any.")
    images: TerritoryImages | None = Field(default=None, description="Allowed images. Absent: any.")
    storage: TerritoryStorage | None = Field(default=None, description="Allowed StorageClasses. Absent: any.")
    network: TerritoryNetwork | None = Field(default=None, description="Allowed data paths. Absent: any.")
    access: TerritoryAccess | None = Field(default=None, description="Open ways into pods. Absent: all.")


class Territory(Resource):
    """The compiled form of one ResidencyPolicy: which nodes are inside. Written by the operator alone."""

    presents: ClassVar[Kind] = Kind(
        plural="territories",
        singular="territory",
        short_names=("terr",),
        columns=(
            Column("Policy", ".spec.policy"),
            Column("Digest", ".spec.digest", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: TerritorySpec = Field(description="Every list that the API server needs.")
    rules = (
        Rule(
            "self.spec.policy == self.metadata.name",
            "a territory carries the name of its policy",
            holds=lambda self: not self.metadata.name or self.spec.policy == self.metadata.name,
            path=".spec.policy",
        ),
    )
