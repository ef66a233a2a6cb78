"""AcceleratorClass: a kind of device, what Kubernetes calls it, where it comes from, and what serves on it."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bailiwick.api.codes import Place
from bailiwick.api.markers import Atomic, MapSet, Rule, list_map
from bailiwick.api.names import LABEL_KEYS, LabelKey, LabelValue, ObjectName, named
from bailiwick.api.quantities import PositiveNumber, Quantity
from bailiwick.api.resource import Column, Kind, LabelSelector, Part, Resource

_ExtendedResource = Annotated[
    str,
    Field(max_length=317),
    named(
        "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
        "an extended resource is named vendor.example/device",
    ),
]


class EngineName(StrEnum):
    """The programs that serve models."""

    VLLM = "vllm"
    LLAMA_CPP = "llama.cpp"
    FURIOSA_LLM = "furiosa-llm"
    HAILO = "hailo"
    EXTERNAL = "external"


Confidence = Literal["Verified", "Documented", "Reported", "Unchecked"]
"""How far to trust a figure: checked by us, the vendor's word, others' word, or nobody's."""


class FigureSource(Part):
    """Where some of the class's figures come from."""

    figure: Literal[
        "Resources", "NodeSelector", "DeviceClasses", "Memory", "Bandwidth", "ThermalDesignPower", "DevicesPerNode",
        "Engines", "PowerMetric",
    ] = Field(description="The field that it speaks of.")  # fmt: skip
    source: str = Field(min_length=1, max_length=2048, description="Who says so: a document or URI.")
    confidence: Confidence = Field(
        description="How far to trust it: Verified by us, Documented by the vendor, Reported by others, or Unchecked."
    )


class Origin(Part):
    """Countries, and how we know."""

    jurisdictions: Annotated[tuple[Place, ...], MapSet] = Field(
        min_length=1, max_length=8, description="Countries; when there are several, all of them must be inside."
    )
    source: str = Field(min_length=1, max_length=2048, description="Who says so: a document or URI.")
    confidence: Confidence = Field(
        description="How far to trust it: Verified by us, Documented by the vendor, Reported by others, or Unchecked."
    )


class Provenance(Part):
    """Where the device comes from: three different questions. An absent answer is not known, and so foreign."""

    brand: Origin | None = Field(default=None, description="Country of the brand.")
    manufacture: Origin | None = Field(default=None, description="Country where chips are made.")
    design: Origin | None = Field(default=None, description="Country where it is designed.")


class EnvVar(Part):
    """One environment variable."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=256),
        named("^[A-Za-z_][A-Za-z0-9_]*$", "must be the name of an environment variable: letters, digits, underscores"),
    ] = Field(description="Name of the variable.")
    value: str = Field(default="", max_length=4096, description="Value of the variable.")


class ServingEngine(Part):
    """How one engine serves on this device."""

    name: EngineName = Field(description="The engine.")
    image: str = Field(min_length=1, max_length=512, description="Image that serves here; by digest in production.")
    arguments: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Atomic] = Field(
        default=(), max_length=64, description="Arguments that this device needs."
    )
    environment: Annotated[tuple[EnvVar, ...], list_map("name")] = Field(
        default=(), max_length=64, description="Environment that this device needs."
    )
    requests: Annotated[Mapping[str, Quantity], Field(max_length=8), LABEL_KEYS] = Field(
        default_factory=dict,
        description="What a replica asks of its node beside the devices: cpu, memory; memory is also its limit.",
    )


class Toleration(Part):
    """A taint that pods on this device bear."""

    key: LabelKey = Field(description="Key of the taint. A toleration of everything is refused.")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="How the value is compared.")
    value: LabelValue | None = Field(default=None, description="Value for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. Absent: every effect."
    )
    rules = (
        Rule(
            "self.operator == 'Equal' || !has(self.value)",
            "Exists takes no value",
            holds=lambda self: self.operator == "Equal" or self.value is None,
            path=".value",
        ),
    )


class PowerMetric(Part):
    """The Prometheus metric that tells the device's power or energy."""

    name: str = Field(min_length=1, max_length=256, description="Name of the metric.")
    kind: Literal["EnergyCounter", "PowerGauge"] = Field(description="Joules that add up, or watts right now.")
    scale: Annotated[
        str,
        Field(max_length=32),
        named("^[0-9]{1,15}([.][0-9]{1,15})?$", "must be a decimal number such as 1, 0.001 or 1000"),
    ] = Field(default="1", description="Factor to joules or watts, as a decimal number.")


class Measurement(Part):
    """What one model took on this device, by your own meter."""

    model: str = Field(
        min_length=1,
        max_length=317,
        description="The model, as spec.model.name of a SovereignModel. Of a variant: that, a colon, and its name.",
    )
    joules_per_token: PositiveNumber = Field(
        description="Energy of all devices of a replica per generated token, under your load."
    )
    source: str = Field(min_length=1, max_length=2048, description="Who measured it, when, and how.")


class AcceleratorClassSpec(Part):
    """A kind of device. All figures are per device, nominal, and yours to correct."""

    description: str = Field(default="", max_length=256, description="What it is.")
    resources: Annotated[tuple[_ExtendedResource, ...], MapSet] = Field(
        default=(),
        max_length=16,
        description="Extended resources that stand for it, first choice first; vendors rename them. Empty: plain CPU.",
    )
    node_selector: LabelSelector | None = Field(default=None, description="Labels of the nodes that have it.")
    device_classes: Annotated[tuple[ObjectName, ...], MapSet] = Field(
        default=(), max_length=16, description="DeviceClasses by which a ResourceClaim can ask for it."
    )
    request_by: Annotated[tuple[Literal["Resource", "Claim"], ...], Atomic] = Field(
        default=(),
        max_length=2,
        description="How a replica asks for devices, first choice first: by an extended resource that nodes offer, "
        "or by a claim of the first DeviceClass. Empty: Resource where resources are given, else Claim.",
    )
    memory: Quantity | None = Field(default=None, description="Memory per device, such as 80Gi.")
    bandwidth: Quantity | None = Field(default=None, description="Memory bandwidth per device in bytes per second.")
    thermal_design_power: int | None = Field(default=None, ge=0, le=100000, description="Watts per device.")
    devices_per_node: int | None = Field(
        default=None, ge=1, le=1024, description="Devices of one node that work on one replica together."
    )
    sources: Annotated[tuple[FigureSource, ...], list_map("figure")] = Field(
        default=(),
        max_length=16,
        description="Where the figures come from. One that is not listed is yours, and nobody checked it.",
    )
    provenance: Provenance = Field(default_factory=Provenance, description="Where it comes from.")
    engines: Annotated[tuple[ServingEngine, ...], list_map("name")] = Field(
        default=(), max_length=8, description="Engines that serve on it."
    )
    tolerations: Annotated[tuple[Toleration, ...], Atomic] = Field(
        default=(), max_length=16, description="Taints of nodes with this device."
    )
    scheduler_name: ObjectName | None = Field(default=None, description="Scheduler that the vendor requires.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass that it requires.")
    power_metric: PowerMetric | None = Field(default=None, description="How its power is measured.")
    measurements: Annotated[tuple[Measurement, ...], list_map("model")] = Field(
        default=(), max_length=256, description="Measured energy by model, for models whose objective is Energy."
    )
    rules = (
        Rule(
            "!has(self.requestBy) || !('Resource' in self.requestBy) || "
            "(has(self.resources) && size(self.resources) > 0)",
            "Resource needs the name of one in resources",
            holds=lambda self: "Resource" not in self.request_by or bool(self.resources),
            path=".requestBy",
        ),
        Rule(
            "!has(self.requestBy) || !('Claim' in self.requestBy) || "
            "(has(self.deviceClasses) && size(self.deviceClasses) > 0)",
            "Claim needs the name of a DeviceClass in deviceClasses",
            holds=lambda self: "Claim" not in self.request_by or bool(self.device_classes),
            path=".requestBy",
        ),
    )

    @property
    def ways(self) -> Sequence[str]:
        """How a replica asks for devices, first choice first; empty for a plain CPU."""
        if self.request_by:
            return self.request_by
        return ("Resource",) if self.resources else ("Claim",) if self.device_classes else ()


class AcceleratorClass(Resource):
    """A kind of device that models are served on."""

    presents: ClassVar[Kind] = Kind(
        plural="acceleratorclasses",
        singular="acceleratorclass",
        short_names=("accel",),
        columns=(
            Column("Resources", ".spec.resources"),
            Column("Memory", ".spec.memory"),
            Column("TDP", ".spec.thermalDesignPower", "integer"),
            Column("Engines", ".spec.engines[*].name"),
            Column("Brand", ".spec.provenance.brand.jurisdictions"),
            Column("Made in", ".spec.provenance.manufacture.jurisdictions", priority=1),
            Column("Designed in", ".spec.provenance.design.jurisdictions", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: AcceleratorClassSpec = Field(description="The device.")
