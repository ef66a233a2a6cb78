"""The status of a SovereignModel: what was planned, where it runs, and why not elsewhere."""

from typing import Annotated

from pydantic import Field

from bailiwick.api.codes import Place
from bailiwick.api.markers import MapSet, list_map
from bailiwick.api.resource import Assurance, Conditions, Count, ObservedGeneration, Part
from bailiwick.api.timestamps import Timestamp

_Text = Annotated[str, Field(max_length=512)]


class Plan(Part):
    """What was decided for one replica."""

    engine: _Text = Field(description="Engine.")
    image: _Text = Field(description="Engine image.")
    accelerator_class: _Text = Field(description="AcceleratorClass that was chosen; none with the engine external.")
    variant: Annotated[str, Field(max_length=63)] | None = Field(
        default=None, description="Variant that was chosen. Absent: the model has none."
    )
    device: str | None = Field(
        default=None,
        max_length=317,
        description="Extended resource (with a slash) or DeviceClass by which devices are asked for. Absent: none.",
    )
    devices_per_replica: int = Field(ge=0, description="Devices per replica.")
    nodes_per_replica: int = Field(ge=1, description="Nodes per replica.")
    weight_bytes: int | None = Field(default=None, ge=0, description="Bytes of weights per replica. Absent: not known.")
    kv_cache_bytes: int | None = Field(
        default=None, ge=0, description="Bytes of KV cache per replica. Absent: not known."
    )
    tensor: int | None = Field(default=None, ge=1, description="Tensor parallelism. Absent: nothing was sized.")
    pipeline: int | None = Field(default=None, ge=1, description="Pipeline parallelism. Absent: nothing was sized.")
    expert: bool | None = Field(default=None, description="Whether experts are spread. Absent: nothing was sized.")
    max_length: int | None = Field(
        default=None, ge=1, description="Tokens of prompt and answer together that the plan was made for."
    )
    longest_length: int | None = Field(
        default=None, ge=1, description="Longest context in tokens that fits as often as context.maxSequences says."
    )
    max_sequences: int | None = Field(
        default=None, ge=0, description="Sequences of maxLength that fit at the same time."
    )
    why: str | None = Field(default=None, max_length=2048, description="Why this class and these devices.")
    profile: Annotated[str, Field(max_length=71)] | None = Field(
        default=None, description="SHA-256 of the profile that was sized by; of variants, of all of theirs."
    )
    basis: Annotated[str, Field(max_length=71)] | None = Field(
        default=None,
        description="SHA-256 of what the spec asked of sizing. While it and profile are the same, this plan stands.",
    )


class NodeCounts(Part):
    """Which nodes could run the model."""

    eligible: int = Field(default=0, ge=0, description="Nodes that satisfy every policy and have the accelerator.")
    ineligible: Annotated[tuple[Count, ...], list_map("reason")] = Field(
        default=(), max_length=32, description="The others, by reason."
    )


class Placement(Part):
    """Where one replica runs."""

    pod: str = Field(max_length=253, description="Name of the pod.")
    node: str = Field(max_length=253, description="Name of the node.")
    jurisdiction: Place | None = Field(
        default=None, description="Where the node stands. Absent: nobody vouches for it."
    )
    assurance: Assurance | None = Field(default=None, description="How well that is vouched for.")
    ready: bool = Field(description="Whether the replica answers.")
    since: Timestamp | None = Field(default=None, description="Start of the pod.")


class ImportProgress(Part):
    """How far the import of one source is, as it said last; it says so about ten times."""

    source: str = Field(max_length=128, description="The field of the spec: spec.model.source, or an adapter's.")
    bytes: int = Field(ge=0, description="Bytes that are there.")
    of_bytes: int = Field(ge=0, description="Bytes of all files.")
    bytes_per_second: int = Field(ge=0, description="Speed of the last part.")
    remaining_seconds: int | None = Field(
        default=None, ge=0, description="What the rest takes at that speed. Absent: not known."
    )


class SovereignModelStatus(Part):
    """What became of the model."""

    observed_generation: ObservedGeneration = 0
    conditions: Conditions = ()
    plan: Plan | None = Field(default=None, description="What was decided for one replica.")
    policies: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], MapSet] = Field(
        default=(), max_length=64, description="ResidencyPolicies that govern the model."
    )
    nodes: NodeCounts = Field(
        default_factory=NodeCounts, description="Which nodes could run it, and why not the others."
    )
    placements: Annotated[tuple[Placement, ...], list_map("pod")] = Field(
        default=(), max_length=1000, description="Where each replica runs."
    )
    jurisdictions: Annotated[tuple[Place, ...], MapSet] = Field(
        default=(),
        max_length=250,
        description="Jurisdictions where replicas run, and where the endpoint stands that gates lead to.",
    )
    endpoint: str | None = Field(
        default=None, max_length=2048, description="URL of the OpenAI-compatible API in the cluster."
    )
    imports: Annotated[tuple[ImportProgress, ...], list_map("source")] = Field(
        default=(), max_length=65, description="How far imports of weights are."
    )
    replicas: int = Field(default=0, ge=0, description="Pods that exist.")
    ready_replicas: int = Field(default=0, ge=0, description="Pods that answer.")
    selector: str = Field(default="", max_length=1024, description="Label selector of the pods, for autoscalers.")
