"""Every bound of every field is real: the complete object is changed in one place after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from bailiwick.api.schema import INT_OR_STRING, KINDS, open_api_schema
from e2e.client import ApiError, Client, Manifest
from tests.unit.api.objects import ABSENT, COMPLETE, changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.api.resource import Resource
    from bailiwick.api.schema import Schema

pytestmark = pytest.mark.apiserver

BAD_REQUEST, UNPROCESSABLE = 400, 422
FEWEST = {
    "AcceleratorClass": 130,
    "Authority": 30,
    "EndpointStatement": 70,
    "Jurisdiction": 15,
    "NodeStatement": 70,
    "ResidencyPolicy": 240,
    "ResidencyWaiver": 60,
    "SovereignModel": 310,
    "Territory": 50,
    "WaiverApproval": 15,
}
"""Rows below which the table itself is broken."""


def out_of_bounds(node: Schema, value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """What is wrong, where, and the value: one for each bound of a node and of all below it."""
    for why, wrong in wrong_values(node, value):
        yield why, path, wrong
    for name in node.get("required", ()):
        yield "left out", f"{path}.{name}", ABSENT
    for name, field in node.get("properties", {}).items():
        if name in value:
            yield from out_of_bounds(field, value[name], f"{path}.{name}")
    if "items" in node and value:
        yield from out_of_bounds(node["items"], value[0], f"{path}.0")
    if "additionalProperties" in node and value:
        key = next(iter(value))
        yield from out_of_bounds(node["additionalProperties"], value[key], f"{path}.{key.replace('.', chr(92) + '.')}")


def wrong_values(node: Schema, value: Any) -> Iterator[tuple[str, Any]]:
    if node.get(INT_OR_STRING):
        yield "a list for a number or string", [1]
        return
    yield "another type", ["x"] if node["type"] != "array" else {"x": "y"}
    if "enum" in node:
        yield "no choice", "Nonsense"
    if "minimum" in node:
        yield "too small", node["minimum"] - 1
    if "maximum" in node:
        yield "too large", node["maximum"] + 1
    if node.get("minLength") or "format" in node:
        yield "empty", ""
    if "maxLength" in node:
        yield "too long", "x" * (node["maxLength"] + 1)
    if node.get("minItems"):
        yield "no items", []
    if "maxItems" in node:
        yield "too many items", [value[0] if value else "DE"] * (node["maxItems"] + 1)
    if "maxProperties" in node:
        yield "too many entries", {f"key-{n}": next(iter(value.values())) for n in range(node["maxProperties"] + 1)}


def is_accepted(client: Client, manifest: Manifest, existing: Manifest, part: str) -> bool:
    try:
        if part == "status":
            client.replace({**existing, "status": manifest["status"]}, subresource="status", dry_run=True)
        else:
            client.create(manifest, namespace=existing["metadata"].get("namespace"), dry_run=True)
    except ApiError as refused:
        return refused.code not in (BAD_REQUEST, UNPROCESSABLE)
    return True


def is_read(kind: type[Resource], manifest: Manifest, part: str) -> bool:
    try:
        return getattr(kind.read(manifest), part) is not None  # of a status that is wrong nothing is read, and no more
    except ValidationError:
        return False


@pytest.fixture
def existing(client: Client, kind: type[Resource]) -> Iterator[Manifest]:
    namespace = "default" if kind.presents.namespaced else None
    created = client.create(COMPLETE[kind.__name__], namespace=namespace)
    yield created
    client.delete(created["apiVersion"], created["kind"], created["metadata"]["name"], namespace)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_bound_is_kept_by_the_server_and_by_the_models(
    client: Client, kind: type[Resource], existing: Manifest
) -> None:
    schema, whole = open_api_schema(kind), COMPLETE[kind.__name__]
    rows = [
        (part, why, path, wrong)
        for part in ("spec", "status")
        if part in whole
        for why, path, wrong in out_of_bounds(schema["properties"][part], whole[part], part)
    ]
    accepted, read = [], []
    for part, why, path, wrong in rows:
        manifest = changed(kind.__name__, {path: wrong})
        if is_accepted(client, manifest, existing, part):
            accepted.append(f"{path}: {why}")
        if is_read(kind, manifest, part):
            read.append(f"{path}: {why}")
    assert (accepted, read) == ([], [])
    assert len(rows) >= FEWEST[kind.__name__]
