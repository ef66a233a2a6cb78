"""JSON schemas for kubeconform, made from what an API server says of every kind that it serves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.client import Client

_REFERENCE = "#/components/schemas/"
_OPEN = "x-kubernetes-preserve-unknown-fields"
LOCATION = "{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json"
"""How kubeconform finds the file of a kind. The core group is called by its version there."""


def write_schemas(server: Client, folder: Path) -> str:
    """A file for each kind, in which no unknown field is let in; where kubeconform finds them."""
    for path in server.request("GET", "/openapi/v3").json()["paths"]:
        schemas = server.request("GET", f"/openapi/v3/{path}").json().get("components", {}).get("schemas", {})
        definitions = {name: _strict(schema) for name, schema in schemas.items()}
        for name, schema in schemas.items():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                file = f"{kind['group'] or kind['version']}_{kind['version']}_{kind['kind'].lower()}.json"
                whole = {"$ref": f"#/definitions/{name}", "definitions": definitions}
                if "apiVersion" in schema.get("properties", {}):
                    (folder / file).write_text(json.dumps(whole))
    return f"{folder}/{LOCATION}"


def _strict(schema: Any) -> Any:
    """In the words of JSON Schema, and closed: what OpenAPI leaves open is only what says so."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace(_REFERENCE, "#/definitions/")
    if isinstance(made.get("properties"), dict) and "type" in made and not made.get(_OPEN):
        made.setdefault("additionalProperties", False)
    return made
