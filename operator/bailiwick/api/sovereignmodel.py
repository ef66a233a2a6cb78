"""SovereignModel: what to serve."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bailiwick.api import external
from bailiwick.api.acceleratorclass import EngineName
from bailiwick.api.arguments import Argument
from bailiwick.api.markers import Atomic, IntOrString, MapSet, Rule, list_map
from bailiwick.api.modelsource import Adapter, ImageReference, Model, Weights
from bailiwick.api.modelstatus import SovereignModelStatus
from bailiwick.api.names import ObjectName, named, whole
from bailiwick.api.residencypolicy import JurisdictionRule, OriginRule, PlaceRule
from bailiwick.api.resource import Column, Kind, Part, Resource, Scale

_HostName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    named(
        "^([*][.])?[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", "must be a host name such as models.example or *.models.example"
    ),
]
_EngineWord = Annotated[
    str,
    Field(min_length=1, max_length=64),
    named("^[A-Za-z0-9][-A-Za-z0-9_.]*$", "must be one word of the engine's, such as fp8"),
]
_NAME = "^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$"
_is_name = whole(_NAME)
_MOST_DEVICES = 1024


class Engine(Part):
    """The program that serves the model."""

    name: EngineName = Field(default=EngineName.VLLM, description="Which engine.")
    image: ImageReference | None = Field(
        default=None, description="Its image. Absent: the one of the AcceleratorClass."
    )
    arguments: Annotated[tuple[Argument, ...], Atomic] = Field(
        default=(),
        max_length=64,
        description="Further arguments that tune the engine. Others belong to the AcceleratorClass.",
    )


class Accelerators(Part):
    """What the model is served on."""

    classes: Annotated[tuple[ObjectName, ...], Atomic] = Field(
        default=("cpu",), min_length=1, max_length=16, description="AcceleratorClasses in order of preference."
    )
    per_replica: Annotated[
        int | str,
        IntOrString,
        Rule(
            f"type(self) == int ? self >= 0 && self <= {_MOST_DEVICES} : self == 'auto'",
            f"must be auto, or a number from 0 to {_MOST_DEVICES}",
            holds=lambda devices: devices == "auto" if isinstance(devices, str) else 0 <= devices <= _MOST_DEVICES,
        ),
    ] = Field(default="auto", description="Devices per replica: auto, or a number.")


class Context(Part):
    """How much text the model keeps in view."""

    max_length: int | None = Field(
        default=None,
        ge=1,
        le=16_777_216,
        description="Longest prompt and answer together, in tokens. Absent: the model's own.",
    )
    max_sequences: int | None = Field(
        default=None, ge=1, le=65536, description="Requests served at the same time by one replica."
    )
    kv_cache_type: _EngineWord | None = Field(
        default=None, description="Number format of the KV cache, in the engine's words. Absent: automatic."
    )
    quantization: _EngineWord | None = Field(
        default=None, description="Quantization method, in the engine's words. Absent: read from the model."
    )


class Parallelism(Part):
    """How one replica is spread over devices. Planned when absent."""

    tensor: int = Field(default=1, ge=1, le=1024, description="Tensor parallelism.")
    pipeline: int = Field(default=1, ge=1, le=1024, description="Pipeline parallelism.")
    data: int = Field(default=1, ge=1, le=1024, description="Data parallelism (mixture of experts).")
    expert: bool = Field(default=False, description="Spread experts over devices.")


class Scaler(StrEnum):
    """Who changes the number of replicas."""

    HORIZONTAL_POD_AUTOSCALER = "HorizontalPodAutoscaler"
    KEDA = "KEDA"


class Autoscaling(Part):
    """How the number of replicas follows the load."""

    min_replicas: int = Field(default=1, ge=0, le=10000, description="Fewest replicas; 0 needs KEDA.")
    max_replicas: int = Field(ge=1, le=10000, description="Most replicas.")
    waiting_requests: int = Field(default=4, ge=1, le=100000, description="Requests waiting per replica to aim for.")
    scaler: Scaler | None = Field(
        default=None, description="Who scales. Absent: KEDA when minReplicas is 0, else a HorizontalPodAutoscaler."
    )
    rules = (
        Rule(
            "self.maxReplicas >= self.minReplicas",
            "maxReplicas must not be below minReplicas",
            holds=lambda self: self.max_replicas >= self.min_replicas,
            path=".maxReplicas",
        ),
    )


class Residency(Part):
    """Further limits for this model. They can only tighten what the policies of its namespace say."""

    place: PlaceRule | None = Field(default=None, description="Where the machines must stand.")
    control: JurisdictionRule | None = Field(default=None, description="Whose law may reach their operator.")
    origin: OriginRule | None = Field(default=None, description="Where the hardware may come from.")


class TokenIssuer(Part):
    """Who issues the tokens that callers show (JWT)."""

    issuer: str = Field(min_length=1, max_length=2048, description="Expected iss claim.")
    audiences: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=253)], ...], MapSet] = Field(
        min_length=1, max_length=16, description="Accepted aud claims."
    )
    keys_secret: ObjectName = Field(
        description="Secret whose values are the issuer's public keys (JWKS), so that tokens are checked offline."
    )


class Authentication(Part):
    """Who may ask."""

    api_keys_secret: ObjectName | None = Field(
        default=None,
        description="Secret whose keys are names of callers and whose values are their API keys, of 20 to 512 visible "
        "ASCII characters.",
    )
    token_issuer: TokenIssuer | None = Field(default=None, description="Issuer of accepted tokens.")
    rules = (
        Rule(
            "has(self.apiKeysSecret) || has(self.tokenIssuer)",
            "give apiKeysSecret, tokenIssuer or both; leave authentication out to let in whoever the network lets",
            holds=lambda self: (self.api_keys_secret or self.token_issuer) is not None,
        ),
    )


class Tls(Part):
    """Encryption of the endpoint."""

    secret: ObjectName = Field(description="Secret of type kubernetes.io/tls.")
    client_ca_secret: ObjectName | None = Field(
        default=None, description="Secret whose ca.crt is the CA of client certificates. Clients must then show one."
    )


class Limits(Part):
    """What one request, and one caller, may take of one replica: each replica counts for itself."""

    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Requests of one caller within a minute. Absent: no limit. A caller is the owner of an API key, "
        "the subject of a token or of a client certificate, else a source address.",
    )
    concurrent: int | None = Field(
        default=None, ge=1, le=100_000, description="Requests of one caller at the same time. Absent: no limit."
    )
    connections: int = Field(
        default=1024, ge=1, le=2000, description="Connections of all clients; more wait to be accepted."
    )
    max_body_bytes: int = Field(
        default=33_554_432, ge=1024, le=1_073_741_824, description="Largest body of a request, in bytes."
    )
    max_header_bytes: int = Field(
        default=16_384, ge=1024, le=49_152, description="Largest headers of a request, in bytes."
    )
    request_seconds: int = Field(
        default=10, ge=1, le=600, description="Time for a request's headers, and again for its body, to arrive."
    )
    idle_seconds: int = Field(
        default=60, ge=1, le=3600, description="Time after which a client that does not read its answer is let go."
    )
    answer_seconds: int = Field(
        default=3600, ge=1, le=86_400, description="Time after which an engine that says nothing is given up."
    )


class EndpointPicker(Part):
    """Who picks the replica for each request, of the Gateway API's inference extension."""

    service: ObjectName = Field(description="Its Service, in the model's namespace.")
    port: int = Field(default=9002, ge=1, le=65535, description="Port of that Service.")


class GatewayReference(Part):
    """The Gateway by which clients outside the cluster come in."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: ObjectName | None = Field(default=None, description="Its namespace. Absent: the model's own.")
    hostnames: Annotated[tuple[_HostName, ...], MapSet] = Field(
        default=(), max_length=16, description="Host names to serve."
    )
    endpoint_picker: EndpointPicker | None = Field(
        default=None, description="Who picks a replica, by an InferencePool. Absent: the Service does."
    )


class Serving(Part):
    """How clients reach the model."""

    authentication: Authentication | None = Field(
        default=None, description="Who may ask. Absent: whoever the network lets."
    )
    tls: Tls | None = Field(default=None, description="Encryption. Absent: plain HTTP inside the cluster.")
    limits: Limits | None = Field(default=None, description="What callers may take. Absent: sizes and times as usual.")
    gateway: GatewayReference | None = Field(default=None, description="Way in from outside. Absent: none.")


class SovereignModelSpec(Part):
    """What to serve, on what, for whom."""

    model: Model = Field(description="The model and where its weights come from.")
    engine: Engine = Field(default_factory=Engine, description="The program that serves it.")
    accelerators: Accelerators = Field(default_factory=Accelerators, description="What it is served on.")
    context: Context = Field(default_factory=Context, description="How much text it keeps in view.")
    parallelism: Parallelism | None = Field(default=None, description="How a replica is spread. Planned when absent.")
    replicas: int = Field(default=1, ge=0, le=10000, description="Copies that serve side by side.")
    autoscaling: Autoscaling | None = Field(default=None, description="How replicas follow the load.")
    residency: Residency | None = Field(default=None, description="Further limits; they can only tighten.")
    adapters: Annotated[tuple[Adapter, ...], list_map("name")] = Field(
        default=(), max_length=64, description="LoRA adapters that are loaded at start."
    )
    serving: Serving = Field(default_factory=Serving, description="How clients reach it.")
    objective: Literal["Balanced", "Energy", "Latency"] = Field(
        default="Balanced", description="What the planner prefers when several ways fit."
    )
    rules = external.RULES

    @property
    def weights(self) -> tuple[Weights, ...]:
        """All that is loaded: what the model may be served from, in order of preference, then each adapter."""
        adapters = (
            Weights(
                where=f"spec.adapters[{each.name}]", adapter=number, source=each.source, file=each.file,
                digest=each.digest, signature=each.signature,
            )
            for number, each in enumerate(self.adapters)
        )  # fmt: skip
        return (*self.model.every, *adapters)


class SovereignModel(Resource):
    """A model that is served inside the border."""

    presents: ClassVar[Kind] = Kind(
        plural="sovereignmodels",
        singular="sovereignmodel",
        short_names=("smodel",),
        namespaced=True,
        columns=(
            Column("Model", ".spec.model.name"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
            Column("Replicas", ".status.replicas", "integer"),
            Column("Jurisdiction", ".status.jurisdictions"),
            Column("Endpoint", ".status.endpoint", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
    )

    spec: SovereignModelSpec = Field(description="What to serve.")
    status: SovereignModelStatus | None = Field(default=None, description="What became of it.")
    rules = (
        Rule(
            f"self.metadata.name.matches('{_NAME}')",
            "the name becomes a Service: at most 52 lower-case letters, digits and dashes, beginning with a letter",
            path=".metadata.name",
            holds=lambda self: not self.metadata.name or _is_name(self.metadata.name),
        ),
    )
