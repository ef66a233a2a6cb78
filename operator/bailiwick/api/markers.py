"""What a CRD schema can say and JSON Schema cannot: list types, CEL rules, formats of Kubernetes.

Markers stand in ``Annotated[...]`` beside the field they describe, or in ``rules`` of a model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


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
    """A CEL rule with the sentence a user reads when it fails.

    ``cel`` sees the value as ``self`` (and ``oldSelf`` on updates). ``reason`` is one of the API's field reasons.
    """

    cel: str
    message: str
    path: str | None = None
    reason: str = "FieldValueInvalid"

    def as_validation(self) -> dict[str, str]:
        """The entry of ``x-kubernetes-validations``."""
        entry = {"rule": self.cel, "message": self.message, "reason": self.reason}
        return entry | ({"fieldPath": self.path} if self.path else {})

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = dict(handler(core))
        schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", []), self.as_validation()]
        return schema


def list_map(*keys: str) -> Extension:
    """A list whose items are told apart by ``keys``, so that server-side apply merges them."""
    return Extension((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", list(keys))))


MapSet = Extension((("x-kubernetes-list-type", "set"),))
"""A list of scalars without order or duplicates."""

Atomic = Extension((("x-kubernetes-list-type", "atomic"),))
"""A list that one manager owns whole."""

IntOrString = Extension((("x-kubernetes-int-or-string", True),))

Check = Callable[[str], str]
