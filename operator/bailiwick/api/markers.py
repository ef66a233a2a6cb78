"""What a CRD schema can say and JSON Schema cannot: list types, CEL rules, values that are integer or string.

Markers stand in ``Annotated[...]`` beside the field they describe, after its bounds; rules over several fields stand in
``rules`` of their class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Extension:
    """Adds keys to the schema of the field that carries it."""

    keys: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = dict(handler(core))
        schema.update(self.keys)
        return schema


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in two languages, with the sentence that a user reads when it is broken.

    The API server evaluates ``cel``, where the value is called ``self``. ``holds`` says the same in Python, because
    reconcile validates again what it reads: an object may be older than the rule. A contract test breaks every rule in
    both. ``path`` names the field that is to blame when the rule stands on its parent; without one, the server's answer
    quotes the value.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    path: str | None = None

    def check(self, value: Any) -> Any:
        """The value itself; raises PydanticCustomError when it breaks the rule."""
        if not self.holds(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message})
        return value

    def as_validation(self) -> dict[str, str]:
        """The entry of ``x-kubernetes-validations``."""
        entry = {"rule": self.cel, "message": self.message, "reason": "FieldValueInvalid"}
        return entry | ({"fieldPath": self.path} if self.path else {})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = dict(handler(core))
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, ()), self.as_validation()]
        return schema


def list_map(*keys: str) -> Extension:
    """A list whose items are told apart by ``keys``, so that server-side apply merges them."""
    return Extension((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", list(keys))))


UNCHANGEABLE = Rule(
    "self == oldSelf",
    "cannot be changed once it is made; delete the object and make a new one",
    holds=lambda _: True,  # nothing to see in one object: the API server compares two
)

MapSet = Extension((("x-kubernetes-list-type", "set"),))
"""A list of scalars without order or duplicates."""

Atomic = Extension((("x-kubernetes-list-type", "atomic"),))
"""A list that one manager owns whole."""

AtomicMap = Extension((("x-kubernetes-map-type", "atomic"),))
"""A map that one manager owns whole."""

IntOrString = Extension((("x-kubernetes-int-or-string", True),))
"""A value that may be written as a number or as a string."""
