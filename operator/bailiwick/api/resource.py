"""What all kinds share: the shape of spec and status, conditions, selectors, and how a kind presents itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bailiwick.api.markers import VALIDATIONS, Atomic, MapSet, Rule, list_map
from bailiwick.api.names import LABEL_KEYS, LabelKey, LabelValue
from bailiwick.api.timestamps import Timestamp

GROUP = "bailiwick.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


def field_name(attribute: str) -> str:
    """The name in YAML: ``provider_id`` is ``providerID``, because Kubernetes writes initialisms in capitals."""
    return re.sub("(Id|Uid|Uuid|Ca)(?=[A-Z]|$)", lambda initialism: initialism[0].upper(), to_camel(attribute))


class Part(BaseModel):
    """A part of an object. Unknown fields are ignored when reading, so that a newer CRD never breaks an older pod."""

    model_config = ConfigDict(
        alias_generator=field_name, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=False
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """What must hold between the fields."""

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        for rule in self.rules:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core)
        if cls.rules:
            handler.resolve_ref_schema(reference)[VALIDATIONS] = [rule.as_validation() for rule in cls.rules]
        return reference


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``kubectl get``."""

    name: str
    path: str
    type: Literal["string", "integer", "date", "boolean"] = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Paths of the scale subresource."""

    spec_replicas: str
    status_replicas: str
    label_selector: str


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind presents itself in the API."""

    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = False
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    """Paths of fields that ``kubectl get --field-selector`` may ask for."""
    scale: Scale | None = None


class ObjectMeta(Part):
    """The metadata that Bailiwick reads. The API server's own schema validates it."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    deletion_timestamp: Timestamp | None = None


class Resource(Part):
    """One custom resource. Subclasses set ``kind`` and declare ``spec`` and, where they have one, ``status``."""

    presents: ClassVar[Kind]

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)

    @field_validator("status", mode="wrap", check_fields=False)
    @classmethod
    def _read_status(cls, status: Any, read: ValidatorFunctionWrapHandler) -> Any:
        """A status that cannot be read is none: another release wrote it, and it is written anew."""
        try:
            return read(status)
        except ValidationError:
            return None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """The object as the API server returned it; raises ``pydantic.ValidationError``."""
        return cls.model_validate(raw)


def first_problem(error: ValidationError) -> str:
    """Why an object cannot be read: where, and what is wrong there. Of many problems the first: a status has limits."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(map(str, problems[0]["loc"]))
    return f"{where}: {problems[0]['msg']}" + (f" (and {more} more)" if (more := len(problems) - 1) else "")


class ConditionStatus(StrEnum):
    """True, False, or not known."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Part):
    """One aspect of the object's state (metav1.Condition). True is good; Stalled alone is bad, and absent otherwise."""

    type: str = Field(max_length=316, description="Name of the aspect, in CamelCase.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: int = Field(default=0, ge=0, description="Generation of the object that this was judged from.")
    last_transition_time: Timestamp = Field(description="When the status last changed.")
    reason: str = Field(min_length=1, max_length=1024, description="Why, as one CamelCase word for programs.")
    message: str = Field(max_length=32768, description="Why, as a sentence for people.")


ObservedGeneration = Annotated[
    int, Field(default=0, ge=-1, description="Generation that was judged; -1 while nobody has looked at the object.")
]
Conditions = Annotated[
    tuple[Condition, ...],
    list_map("type"),
    Field(
        default=(),
        max_length=16,
        description="The state of the object, aspect by aspect; Ready is the summary, Stalled a call for somebody.",
    ),
]


class SelectorRequirement(Part):
    """One requirement of a label selector."""

    key: LabelKey = Field(description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How the label is compared.")
    values: Annotated[tuple[LabelValue, ...], Atomic] = Field(
        default=(), max_length=64, description="Values for In and NotIn; empty for Exists and DoesNotExist."
    )
    rules = (
        Rule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 "
            ": !has(self.values) || size(self.values) == 0",
            "In and NotIn need values; Exists and DoesNotExist take none",
            holds=lambda self: (self.operator in ("In", "NotIn")) == bool(self.values),
            path=".values",
        ),
    )


class LabelSelector(Part):
    """Chooses objects by their labels; all requirements must hold (metav1.LabelSelector)."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    match_labels: Annotated[Mapping[str, LabelValue], Field(max_length=32), LABEL_KEYS] = Field(
        default_factory=dict, description="Labels that must be there with exactly these values."
    )
    match_expressions: Annotated[tuple[SelectorRequirement, ...], Atomic] = Field(
        default=(), max_length=32, description="Further requirements."
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet every requirement, with the API server's meaning of the four operators."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _meets(requirement, labels) for requirement in self.match_expressions
        )

    def keys(self) -> frozenset[str]:
        """The label keys that the selector reads."""
        return frozenset(self.match_labels) | {requirement.key for requirement in self.match_expressions}


def _meets(requirement: SelectorRequirement, labels: Mapping[str, str]) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case "In":
            return present and labels[requirement.key] in requirement.values
        case "NotIn":
            return not present or labels[requirement.key] not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present


class Assurance(StrEnum):
    """How well a fact is vouched for, weakest first."""

    DECLARED = "Declared"
    ASSERTED = "Asserted"
    VERIFIED = "Verified"
    ATTESTED = "Attested"

    @property
    def rank(self) -> int:
        """Position from weakest (0); never compare the names, they do not sort."""
        return list(Assurance).index(self)


class Count(Part):
    """How many, for one reason, with a few examples."""

    reason: str = Field(max_length=128, description="Why, as one CamelCase word.")
    count: int = Field(ge=0, description="How many nodes.")
    message: str = Field(default="", max_length=1024, description="The refusal of the first of them, as a sentence.")
    examples: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], MapSet] = Field(
        default=(), max_length=5, description="Names of a few of them, in alphabetical order."
    )
