"""ResidencyPolicy: where the workloads of the namespaces that it selects may be."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bailiwick.api.codes import JurisdictionName
from bailiwick.api.markers import Atomic, MapSet, Rule, list_map
from bailiwick.api.names import Cidr, HttpUrl, ObjectName, Prefix, whole
from bailiwick.api.resource import (
    Assurance,
    Column,
    Conditions,
    Count,
    Kind,
    LabelSelector,
    ObservedGeneration,
    Part,
    Resource,
)
from bailiwick.api.timestamps import Duration, Timestamp

_SOURCE = r"^((oci|pvc|hostpath|endpoint)://.*|(s3|hf)([+]http)?://[A-Za-z0-9.:\[\]-]+(/.*)?)$"
_LABEL_NAME = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_is_label_name = whole(_LABEL_NAME)

Jurisdictions = Annotated[tuple[JurisdictionName, ...], MapSet, Field(max_length=300)]


class Mode(StrEnum):
    """What happens to a request that a policy refuses."""

    AUDIT = "Audit"
    WARN = "Warn"
    ENFORCE = "Enforce"


class JurisdictionRule(Part):
    """Which jurisdictions are inside."""

    allow: Jurisdictions = Field(
        description="Countries, subdivisions or named jurisdictions that are inside. An empty list allows nothing. "
        'Quote "NO": YAML reads Norway as false.'
    )
    deny: Jurisdictions = Field(
        default=(), description="Exceptions from allow: what stands here is outside, whatever allow says."
    )


class PlaceRule(JurisdictionRule):
    """Where the machines must stand."""

    assurance: Assurance = Field(
        default=Assurance.ASSERTED,
        description="How well a node's place must be vouched for: Declared (somebody wrote it down), Asserted (the "
        "cloud provider says so), Verified (signed by an authority) or Attested (rooted in hardware).",
    )
    max_age: Duration | None = Field(
        default=None,
        description="Oldest acceptable statement, such as 720h. Absent: as long as the statement is valid.",
    )


class OriginRule(Part):
    """Where hardware comes from: three different questions. A question that is absent is not asked."""

    brand: JurisdictionRule | None = Field(default=None, description="Whose brand it carries.")
    manufacture: JurisdictionRule | None = Field(default=None, description="Where it was made.")
    design: JurisdictionRule | None = Field(default=None, description="Where it was designed.")


_SourcePrefix = Annotated[
    Prefix,
    Rule(
        f"self.matches(r'{_SOURCE}')",
        "must begin as oci://, s3://HOST, s3+http://HOST, hf://HOST, hf+http://HOST, pvc://, hostpath:// or endpoint://",
        holds=whole(_SOURCE),
    ),
]


class ModelRule(Part):
    """Which models may be served."""

    sources: Annotated[tuple[_SourcePrefix, ...], MapSet] = Field(
        default=(),
        max_length=128,
        description="Prefixes of allowed sources: oci://registry.example/models/, s3://storage.example/bucket/folder, "
        "hf://huggingface.co/organisation/ (s3+http://, hf+http://: without TLS), pvc://claim, hostpath:///srv/models, "
        "endpoint://statement. An empty list allows nothing.",
    )
    require_digest: bool = Field(default=True, description="A source must name its content by digest, not by a tag.")
    signed_by: Annotated[tuple[ObjectName, ...], MapSet] = Field(
        default=(), max_length=32, description="Authorities of which at least one must have signed the model."
    )
    licences: Annotated[tuple[Prefix, ...], MapSet] = Field(
        default=(), max_length=128, description="SPDX identifiers of acceptable licences; empty: not asked."
    )


class ImageRule(Part):
    """Which container images may run."""

    registries: Annotated[tuple[Prefix, ...], MapSet] = Field(
        max_length=128, description="Prefixes of allowed image names, such as registry.example/. Empty allows nothing."
    )
    require_digest: bool = Field(default=True, description="Images must be named by digest.")


class Port(Part):
    """One port, or a range of them."""

    port: int = Field(ge=1, le=65535, description="First port.")
    end_port: int | None = Field(default=None, ge=1, le=65535, description="Last port of a range.")
    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="Transport protocol.")
    rules = (
        Rule(
            "!has(self.endPort) || self.endPort >= self.port",
            "endPort must not be below port",
            holds=lambda self: self.end_port is None or self.end_port >= self.port,
            path=".endPort",
        ),
    )


class Egress(Part):
    """One destination that governed pods may reach."""

    cidr: Cidr = Field(description="Address range in CIDR notation, such as 10.20.0.0/16.")
    ports: Annotated[tuple[Port, ...], Atomic] = Field(
        default=(), max_length=32, description="Ports of the range; empty means every port."
    )
    description: str = Field(default="", max_length=256, description="What is there, for the auditor.")


class NetworkRule(Part):
    """What may cross the edge of a governed namespace."""

    egress: Annotated[tuple[Egress, ...], Atomic] = Field(
        default=(), max_length=64, description="Destinations outside the cluster. Empty: none."
    )
    services: Annotated[tuple[Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"], ...], MapSet] = Field(
        default=("ClusterIP",), max_length=4, description="Allowed types of Service."
    )
    ingress_classes: Annotated[tuple[ObjectName, ...], MapSet] = Field(
        default=(), max_length=32, description="Allowed IngressClasses. Empty: none."
    )
    gateway_classes: Annotated[tuple[ObjectName, ...], MapSet] = Field(
        default=(), max_length=32, description="Allowed GatewayClasses. Empty: none."
    )


class StorageRule(Part):
    """Where data may be stored."""

    classes: Annotated[tuple[ObjectName, ...], MapSet] = Field(
        max_length=64,
        description="Allowed StorageClasses, and CSI drivers whose volumes pods may name inline. "
        "An empty list allows nothing.",
    )


Permission = Literal["Allow", "Deny"]


class AccessRule(Part):
    """Which ways into a running pod are open: each of them can carry data to a laptop abroad."""

    exec: Permission = Field(default="Deny", description="Running a command in a container: kubectl exec.")
    attach: Permission = Field(
        default="Deny", description="Reading and writing a container's terminal: kubectl attach."
    )
    port_forward: Permission = Field(default="Deny", description="Tunnels into a pod: kubectl port-forward.")
    proxy: Permission = Field(
        default="Deny", description="The API server's proxy to pods and Services: kubectl get --raw …/proxy."
    )
    ephemeral_containers: Permission = Field(
        default="Deny", description="Containers that are added to a running pod: kubectl debug."
    )


class Violation(Part):
    """What is done about a pod that is found outside."""

    action: Literal["Report", "Quarantine", "Evict", "Delete"] = Field(
        default="Report", description="The last step of the ladder Report, Quarantine, Evict, Delete that may be taken."
    )
    after: Duration = Field(default="5m", description="Time from detection to the last step.")


class Waivers(Part):
    """Whether exceptions may be made, and how."""

    approvals: int = Field(default=2, ge=1, le=10, description="People who must approve, none of them the requester.")
    max_duration: Duration = Field(default="24h", description="Longest life of a waiver.")


class LegalBasis(Part):
    """The legal text that a policy implements. It carries no logic and is copied into evidence."""

    text: str = Field(min_length=1, max_length=1024, description="Name of the law, contract or decision, and article.")
    uri: HttpUrl | None = Field(default=None, description="Where to read it.")


class ResidencyPolicySpec(Part):
    """What is asked of every workload in the selected namespaces."""

    namespace_selector: LabelSelector = Field(
        description="Namespaces that the policy governs; {} is every namespace. Several policies on one all apply."
    )
    mode: Mode = Field(
        default=Mode.ENFORCE,
        description="Enforce refuses what is outside, Warn admits it with a warning, Audit only records it.",
    )
    place: PlaceRule = Field(description="Where the machines must stand.")
    control: JurisdictionRule | None = Field(
        default=None, description="Whose law may reach the party that operates the machines. Absent: not asked."
    )
    origin: OriginRule | None = Field(default=None, description="Where the hardware may come from. Absent: not asked.")
    models: ModelRule | None = Field(default=None, description="Which models may be served. Absent: any.")
    images: ImageRule | None = Field(default=None, description="Which container images may run. Absent: any.")
    network: NetworkRule | None = Field(default=None, description="What may cross the namespace's edge.")
    storage: StorageRule | None = Field(default=None, description="Where data may be stored. Absent: any class.")
    access: AccessRule | None = Field(default=None, description="Which ways into a running pod are open. Absent: all.")
    unknown: Literal["Deny", "Warn"] = Field(
        default="Deny",
        description="What to do where a fact other than place is not known. A node whose place nobody vouches for is "
        "always outside.",
    )
    violation: Violation | None = Field(default=None, description="What is done about a pod that is found outside.")
    waivers: Waivers | None = Field(default=None, description="How exceptions are made. Absent: none are possible.")
    basis: Annotated[tuple[LegalBasis, ...], Atomic] = Field(
        default=(), max_length=32, description="The legal texts behind the policy."
    )


class PolicyCounts(Part):
    """Numbers behind a policy's conditions."""

    namespaces: int = Field(default=0, ge=0, description="Namespaces that the policy governs.")
    nodes: int = Field(default=0, ge=0, description="Nodes inside its territory.")
    nodes_outside: int = Field(default=0, ge=0, description="Nodes outside it.")
    nodes_waived: int = Field(default=0, ge=0, description="Nodes inside it by a ResidencyWaiver.")
    waivers: int = Field(default=0, ge=0, description="Waivers in force: approved, begun and not expired.")
    pods: int = Field(default=0, ge=0, description="Pods that it governs.")
    violations: int = Field(default=0, ge=0, description="Pods among them that are outside.")


class FoundOutside(Part):
    """A pod that was found outside, and what is done about it."""

    pod: str = Field(min_length=1, max_length=317, description="Its namespace and name: namespace/name.")
    node: str = Field(max_length=253, description="The node that it runs on.")
    reason: str = Field(max_length=64, description="Why it is outside.")
    step: Literal["Report", "Quarantine", "Evict", "Delete"] = Field(description="The last step taken.")
    since: Timestamp = Field(description="When it was found outside.")


class ResidencyPolicyStatus(Part):
    """What Bailiwick made of the policy."""

    observed_generation: ObservedGeneration = 0
    conditions: Conditions = ()
    counts: PolicyCounts = Field(default_factory=PolicyCounts, description="Numbers behind the conditions.")
    outside: Annotated[tuple[Count, ...], list_map("reason")] = Field(
        default=(), max_length=32, description="Why nodes are outside, by reason."
    )
    violations: Annotated[tuple[FoundOutside, ...], list_map("pod")] = Field(
        default=(), max_length=20, description="Pods found outside, the first by name; counts has their number."
    )
    digest: str = Field(default="", max_length=71, description="SHA-256 of the territory that is in force.")
    enforced_since: Timestamp | None = Field(default=None, description="Since when the canary has proved enforcement.")
    last_proof: Timestamp | None = Field(default=None, description="When the canary last proved it.")
    evidence_head: str | None = Field(default=None, max_length=128, description="Head of the policy's evidence chain.")


class ResidencyPolicy(Resource):
    """Where workloads of the selected namespaces may run, on what hardware, under whose law, by which data paths."""

    presents: ClassVar[Kind] = Kind(
        plural="residencypolicies",
        singular="residencypolicy",
        short_names=("respol",),
        columns=(
            Column("Mode", ".spec.mode"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Enforced", ".status.conditions[?(@.type=='Enforced')].status"),
            Column("Nodes", ".status.counts.nodes", "integer"),
            Column("Outside", ".status.counts.nodesOutside", "integer"),
            Column("Namespaces", ".status.counts.namespaces", "integer"),
            Column("Allow", ".spec.place.allow", priority=1),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: ResidencyPolicySpec = Field(description="What is asked.")
    status: ResidencyPolicyStatus | None = Field(default=None, description="What Bailiwick made of it.")
    rules = (
        Rule(
            f"self.metadata.name.matches('{_LABEL_NAME}')",
            "the name becomes a node label: at most 63 lower-case letters, digits and dashes, without dots",
            path=".metadata.name",
            holds=lambda self: not self.metadata.name or _is_label_name(self.metadata.name),
        ),
    )
