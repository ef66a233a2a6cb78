"""From the models to CustomResourceDefinitions: structural OpenAPI v3 schemas as apiextensions.k8s.io/v1 wants them.

Pure: `crd` returns what a file of crds/ holds. The rules are those of KEP-1693 (structural schemas) and KEP-2876 (CEL);
ADR 3 says why this is ours.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.authority import Authority
from bailiwick.api.endpointstatement import EndpointStatement
from bailiwick.api.jurisdiction import Jurisdiction
from bailiwick.api.markers import VALIDATIONS
from bailiwick.api.nodestatement import NodeStatement
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.residencywaiver import ResidencyWaiver, WaiverApproval
from bailiwick.api.resource import API_VERSION, GROUP, VERSION, Column, Kind, Part, Resource
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.api.territory import Territory

Schema = dict[str, Any]

KINDS: tuple[type[Resource], ...] = (
    AcceleratorClass,
    Authority,
    EndpointStatement,
    Jurisdiction,
    NodeStatement,
    ResidencyPolicy,
    ResidencyWaiver,
    SovereignModel,
    Territory,
    WaiverApproval,
)
CATEGORY = "bailiwick"
UNSEEN: Mapping[str, int] = {"observedGeneration": -1}
"""The status of an object that nobody has looked at. Without it, kstatus takes a new object for one that is ready."""
INT_OR_STRING = "x-kubernetes-int-or-string"

_TYPE_META: Mapping[str, Schema] = {
    "apiVersion": {
        "description": f"Group and version of this representation: {API_VERSION}.",
        "type": "string",
    },
    "kind": {
        "description": "The kind of object, in CamelCase.",
        "type": "string",
    },
    # The API server knows the rest, and refuses to be told; the name is there for rules to point to.
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
}

# Keys of a node in the order in which a reader wants them; any other key follows in alphabetical order.
_ORDER = (
    "description", "type", INT_OR_STRING, "format", "default", "enum",
    "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "minProperties", "maxProperties",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
    "items", "additionalProperties", "required", "properties", VALIDATIONS,
)  # fmt: skip


def crd(resource: type[Resource]) -> Schema:
    """The CustomResourceDefinition of a kind."""
    kind, presents = resource.__name__, resource.presents
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{presents.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": _names(kind, presents),
            "scope": "Namespaced" if presents.namespaced else "Cluster",
            "versions": [_version(resource)],
        },
    }


def open_api_schema(resource: type[Resource]) -> Schema:
    """The structural schema of a kind, from its root."""
    raw = resource.model_json_schema(schema_generator=_Generator)
    root = _structural(raw, raw.get("$defs", {}))
    fields = {name: schema for name, schema in root["properties"].items() if name != "metadata"}
    if "status" in fields:
        # The status is what its writer says, nothing that a server adds; a default there would read as a statement.
        # That nobody has looked yet is the one thing that only the server can say.
        _drop_defaults(fields["status"])
        fields["status"]["default"] = dict(UNSEEN)
    root["properties"] = {**_TYPE_META, **fields}
    root["required"] = [name for name in root["required"] if name in fields]
    return root


def _names(kind: str, presents: Kind) -> Schema:
    return {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": presents.plural,
        "singular": presents.singular,
        "shortNames": list(presents.short_names),
        "categories": [CATEGORY],
    }


def _version(resource: type[Resource]) -> Schema:
    schema, presents = open_api_schema(resource), resource.presents
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in presents.columns],
        "subresources": _subresources(presents, has_status="status" in schema["properties"]),
        "selectableFields": [{"jsonPath": path} for path in presents.selectable],
        "schema": {"openAPIV3Schema": schema},
    }
    return {key: value for key, value in version.items() if value not in ({}, [])}


def _column(column: Column) -> Schema:
    entry: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        entry["description"] = column.description
    if column.priority:
        entry["priority"] = column.priority
    return entry


def _subresources(presents: Kind, *, has_status: bool) -> Schema:
    found: Schema = {"status": {}} if has_status else {}
    if presents.scale:
        found["scale"] = {
            "specReplicasPath": presents.scale.spec_replicas,
            "statusReplicasPath": presents.scale.status_replicas,
            "labelSelectorPath": presents.scale.label_selector,
        }
    return found


class _Generator(GenerateJsonSchema):
    """pydantic's generator, where Kubernetes differs from JSON Schema."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """``X | None`` is an optional X: absent and null are the same to an API server."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A part that is made when it is absent must be made by the server too, or its own defaults never appear."""
        found = super().default_schema(schema)
        factory = schema.get("default_factory")
        makes_part = isinstance(factory, type) and issubclass(factory, Part)
        return {**found, "default": {}} if makes_part else found


def _structural(raw: JsonSchemaValue, definitions: Mapping[str, JsonSchemaValue]) -> Schema:
    """One node with all below it: references inlined, names of Python removed, defaults that say nothing dropped."""
    node = dict(raw)
    if reference := node.pop("$ref", None):
        node = {**definitions[reference.rpartition("/")[2]], **node}
    for noise in ("title", "$defs"):
        node.pop(noise, None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get(INT_OR_STRING):
        for restriction in ("type", "anyOf"):
            node.pop(restriction, None)
    for below in ("items", "additionalProperties"):
        if isinstance(node.get(below), dict):
            node[below] = _structural(node[below], definitions)
    if "properties" in node:
        node["properties"] = {name: _structural(field, definitions) for name, field in node["properties"].items()}
    if "default" in node and _says_nothing(node):
        del node["default"]
    return {key: node[key] for key in sorted(node, key=_position)}


def _says_nothing(node: Schema) -> bool:
    """An empty default means what absence means, unless it makes room for defaults inside."""
    if node["default"] == {}:
        return not any("default" in field for field in node.get("properties", {}).values())
    return node["default"] in (None, "", [])


def _position(key: str) -> tuple[int, str]:
    return (_ORDER.index(key) if key in _ORDER else len(_ORDER), key)


def _drop_defaults(node: Schema) -> None:
    node.pop("default", None)
    for below in children(node):
        _drop_defaults(below)


def children(node: Schema) -> Iterator[Schema]:
    """The nodes directly below one: its fields, the items of its list, the values of its map."""
    yield from node.get("properties", {}).values()
    yield from (node[below] for below in ("items", "additionalProperties") if below in node)
