"""Every generated schema keeps the rules of structural schemas, and says what Kubernetes needs beyond JSON Schema."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.markers import VALIDATIONS
from bailiwick.api.schema import INT_OR_STRING, KINDS, UNSEEN, children, crd, open_api_schema
from tests.unit.api.objects import COMPLETE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bailiwick.api.resource import Resource
    from bailiwick.api.schema import Schema

ALLOWED = {
    "description", "type", "format", "default", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems", "minProperties", "maxProperties", "items", "properties", "additionalProperties", "required",
    INT_OR_STRING, VALIDATIONS, "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
}  # fmt: skip
BOUNDED_FORMATS = {"date", "date-time"}
ROOT = {"apiVersion", "kind", "metadata"}

by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def nodes(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """A node and all below it, each with its path."""
    yield path, node
    for name, field in node.get("properties", {}).items():
        if path or name not in ROOT:
            yield from nodes(field, f"{path}.{name}")
    for below, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if below in node:
            yield from nodes(node[below], f"{path}{mark}")


def offenders(kind: type[Resource], wrong: Any) -> list[str]:
    return [path for path, node in nodes(open_api_schema(kind)) if wrong(node)]


@by_kind
def test_a_node_has_only_keys_that_a_structural_schema_may_have(kind: type[Resource]) -> None:
    """No $ref, $defs, anyOf, const, prefixItems, title, exclusiveMinimum, nullable."""
    assert offenders(kind, lambda node: set(node) - ALLOWED) == []


@by_kind
def test_every_node_has_a_type_unless_it_is_integer_or_string(kind: type[Resource]) -> None:
    assert offenders(kind, lambda node: ("type" in node) == bool(node.get(INT_OR_STRING))) == []


@by_kind
def test_every_list_says_how_it_merges(kind: type[Resource]) -> None:
    assert offenders(kind, lambda n: n.get("type") == "array" and "x-kubernetes-list-type" not in n) == []


@by_kind
def test_keys_of_list_maps_are_required_scalars(kind: type[Resource]) -> None:
    for path, node in nodes(open_api_schema(kind)):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            item = node["items"]
            assert key in item["required"], path
            assert item["properties"][key]["type"] == "string", path


@by_kind
def test_sets_hold_scalars(kind: type[Resource]) -> None:
    is_set = {"x-kubernetes-list-type": "set"}.items()
    assert offenders(kind, lambda n: is_set <= n.items() and n["items"]["type"] not in ("string", "integer")) == []


@by_kind
def test_every_string_list_and_map_is_bounded(kind: type[Resource]) -> None:
    """Otherwise the cost of a rule is estimated from the largest request that the server takes."""

    def unbounded(node: Schema) -> bool:
        match node.get("type"):
            case "string":
                return not ("maxLength" in node or "enum" in node or node.get("format") in BOUNDED_FORMATS)
            case "array":
                return "maxItems" not in node
            case "object":
                return "additionalProperties" in node and "maxProperties" not in node
            case None:
                return "maxLength" not in node and "maximum" not in node and VALIDATIONS not in node
        return False

    assert offenders(kind, unbounded) == []


@by_kind
def test_keys_of_maps_are_bounded_by_a_rule(kind: type[Resource]) -> None:
    """OpenAPI v3 cannot bound the keys of a map."""
    assert (
        offenders(kind, lambda node: "additionalProperties" in node and "size(" not in str(node.get(VALIDATIONS))) == []
    )


@by_kind
def test_every_field_is_described_in_sentences(kind: type[Resource]) -> None:
    for path, node in nodes(open_api_schema(kind)):
        if path and not path.endswith(("[]", "{}")):
            assert re.fullmatch(r"[A-Z`].*[.]", node.get("description", ""), re.DOTALL), (
                path,
                node.get("description"),
            )


@by_kind
def test_every_rule_has_a_message_a_reason_and_a_field_to_blame(kind: type[Resource]) -> None:
    for path, node in nodes(open_api_schema(kind)):
        for rule in node.get(VALIDATIONS, ()):
            assert {"rule", "message", "reason"} <= rule.keys(), path
            assert not set("^\\\n") & set(rule["message"]), f"{path}: a message is for people, not an expression"
            assert len(rule["message"]) <= 220, path
            if "fieldPath" in rule:
                assert find(node, rule["fieldPath"]), path


def find(node: Schema, path: str) -> Schema | None:
    """The node at ``.spec.members``, or None."""
    for name in path.removeprefix(".").split("."):
        if name not in node.get("properties", {}):
            return None
        node = node["properties"][name]
    return node


@by_kind
def test_rules_at_the_root_touch_only_what_cel_may_see(kind: type[Resource]) -> None:
    """Of the metadata, CEL sees name and generateName."""
    for rule in open_api_schema(kind).get(VALIDATIONS, ()):
        assert set(re.findall(r"self\.metadata\.(\w+)", rule["rule"])) <= {"name", "generateName"}, rule


@by_kind
def test_expressions_are_the_same_in_go_and_python(kind: type[Resource]) -> None:
    """RE2 has no lookaround and no backreference, and a backslash would need doubling inside CEL."""
    for path, node in nodes(open_api_schema(kind)):
        for rule in node.get(VALIDATIONS, ()):
            for expression in re.findall(r"matches\('([^']*)'\)", rule["rule"]):
                assert "\\" not in expression, path
                assert "(?" not in expression, path
                assert expression.startswith("^"), path
                assert expression.endswith("$"), path


@by_kind
def test_required_fields_exist_and_have_no_default(kind: type[Resource]) -> None:
    for path, node in nodes(open_api_schema(kind)):
        for name in set(node.get("required", ())) - ROOT:
            assert "default" not in node["properties"][name], f"{path}.{name}"


@by_kind
def test_a_status_has_no_default_but_that_nobody_has_looked_yet(kind: type[Resource]) -> None:
    status = open_api_schema(kind)["properties"].get("status")
    found = {path: node["default"] for path, node in nodes(status or {}) if "default" in node}
    assert found == ({"": UNSEEN} if status else {})


DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "AcceleratorClass": {
        ".spec.tolerations[].operator": "Exists",
        ".spec.powerMetric.scale": "1",
    },
    "Authority": {".spec.assurance": "Verified"},
    "EndpointStatement": {".spec.endpoint.healthPath": "/v1/models"},
    "Jurisdiction": {},
    "NodeStatement": {},
    "ResidencyPolicy": {
        ".spec.mode": "Enforce",
        ".spec.place.assurance": "Asserted",
        ".spec.models.requireDigest": True,
        ".spec.images.requireDigest": True,
        ".spec.network.egress[].ports[].protocol": "TCP",
        ".spec.network.services": ["ClusterIP"],
        ".spec.access.exec": "Deny",
        ".spec.access.attach": "Deny",
        ".spec.access.portForward": "Deny",
        ".spec.access.proxy": "Deny",
        ".spec.access.ephemeralContainers": "Deny",
        ".spec.unknown": "Deny",
        ".spec.violation.action": "Report",
        ".spec.violation.after": "5m",
        ".spec.waivers.approvals": 2,
        ".spec.waivers.maxDuration": "24h",
        ".status": UNSEEN,
    },
    "ResidencyWaiver": {".status": UNSEEN},
    "SovereignModel": {
        ".spec.model.source.oci.pullPolicy": "IfNotPresent",
        ".spec.model.manifest.key": "SHA256SUMS",
        ".spec.model.profile.key": "profile.json",
        ".spec.model.variants[].source.oci.pullPolicy": "IfNotPresent",
        ".spec.model.variants[].manifest.key": "SHA256SUMS",
        ".spec.model.variants[].profile.key": "profile.json",
        ".spec.engine": {},
        ".spec.engine.name": "vllm",
        ".spec.accelerators": {},
        ".spec.accelerators.classes": ["cpu"],
        ".spec.accelerators.perReplica": "auto",
        ".spec.parallelism.tensor": 1,
        ".spec.parallelism.pipeline": 1,
        ".spec.parallelism.data": 1,
        ".spec.parallelism.expert": False,
        ".spec.replicas": 1,
        ".spec.autoscaling.minReplicas": 1,
        ".spec.autoscaling.waitingRequests": 4,
        ".spec.serving.gateway.endpointPicker.port": 9002,
        ".spec.residency.place.assurance": "Asserted",
        ".spec.adapters[].source.oci.pullPolicy": "IfNotPresent",
        ".spec.serving.limits.connections": 1024,
        ".spec.serving.limits.maxBodyBytes": 33_554_432,
        ".spec.serving.limits.maxHeaderBytes": 16_384,
        ".spec.serving.limits.requestSeconds": 10,
        ".spec.serving.limits.idleSeconds": 60,
        ".spec.serving.limits.answerSeconds": 3600,
        ".spec.objective": "Balanced",
        ".status": UNSEEN,
    },
    "Territory": {},
    "WaiverApproval": {},
}


@by_kind
def test_defaults_are_exactly_these(kind: type[Resource]) -> None:
    """A default is frozen into objects when they are written. What states a fact about a node or device has none."""
    found = {path: node["default"] for path, node in nodes(open_api_schema(kind)) if "default" in node}
    assert found == DEFAULTS[kind.__name__]


@by_kind
def test_the_complete_object_sets_every_field(kind: type[Resource]) -> None:
    """The contract tests change each of its fields in turn; a new field must be in it, but for alternatives."""
    unset = [path for path, there in presence(open_api_schema(kind), COMPLETE[kind.__name__]) if not there]
    alternatives = (
        "persistentVolumeClaim", "s3", "huggingFace", "hostPath", "oci", "source.endpoint", "model.digest",
        "model.variants",
    )  # fmt: skip
    assert [path for path in unset if not path.endswith(alternatives)] == []


def presence(node: Schema, value: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Every field, and whether some item of ``value`` has it."""
    for name, field in node.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, name in value
        if name in value:
            inside = value[name] if "items" in field else [value[name]]
            below = field.get("items", field)
            if inside and "properties" in below:
                merged = {key: each for item in reversed(inside) for key, each in item.items()}
                yield from presence(below, merged, here)


@by_kind
def test_columns_and_selectors_point_to_fields(kind: type[Resource]) -> None:
    schema = open_api_schema(kind)
    paths = [column.path for column in kind.presents.columns] + list(kind.presents.selectable)
    for path in paths:
        plain = re.sub(r"\[.*?\]", "", path)
        field = (
            re.sub(r"\.(type|status|reason)$", "", plain)
            if "conditions" in plain
            else plain.replace("engines.name", "engines")
        )
        assert path == ".metadata.creationTimestamp" or find(schema, field), path


@by_kind
def test_a_kind_presents_itself_completely(kind: type[Resource]) -> None:
    spec = crd(kind)["spec"]
    names, (version,) = spec["names"], spec["versions"]
    assert names["categories"] == ["bailiwick"]
    assert names["listKind"] == names["kind"] + "List"
    assert names["singular"] == names["kind"].lower()
    assert names["shortNames"]
    assert version["additionalPrinterColumns"][-1]["name"] == "Age"
    assert ("status" in version.get("subresources", {})) == (
        "status" in version["schema"]["openAPIV3Schema"]["properties"]
    )


def test_short_names_and_plurals_are_told_apart() -> None:
    every = [
        name for kind in KINDS for name in (kind.presents.plural, kind.presents.singular, *kind.presents.short_names)
    ]
    assert len(every) == len(set(every))


def test_a_model_can_be_scaled() -> None:
    (model,) = (kind for kind in KINDS if kind.__name__ == "SovereignModel")
    assert crd(model)["spec"]["versions"][0]["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


def test_children_are_all_that_a_node_holds() -> None:
    below: Schema = {"type": "string"}
    node = {"type": "object", "properties": {"a": below}, "additionalProperties": below, "items": below}
    assert len(list(children(node))) == 3
