"""The API reference in Markdown, from the same schemas as the CustomResourceDefinitions."""

from collections.abc import Iterator

from bailiwick.api.markers import VALIDATIONS
from bailiwick.api.resource import API_VERSION, Resource
from bailiwick.api.schema import CATEGORY, INT_OR_STRING, KINDS, Schema, children, open_api_schema

_HEAD = f"""\
# API reference

<!-- Generated from operator/bailiwick/api by `make generate`; edit the models, not this file. -->

All kinds are `{API_VERSION}` and in the category `{CATEGORY}`: `kubectl get {CATEGORY}` lists them. `kubectl explain`
shows the same text as this page. A field may be left out unless it is required. `[]` stands for the items of a list,
`{{}}` for the values of a map. What must hold is said here in the words of the API server's refusal.
"""
_TABLE = "| field | type | default | meaning |\n|---|---|---|---|\n"
_FORMATS = {"date-time": "timestamp", "date": "date"}


def reference() -> str:
    """The whole page."""
    contents = "\n".join(f"- [{kind.__name__}](#{kind.__name__.lower()})" for kind in KINDS)
    return "\n".join([_HEAD, contents + "\n", *map(_section, KINDS)])


def _section(kind: type[Resource]) -> str:
    schema, presents = open_api_schema(kind), kind.presents
    has_status = "status" in schema["properties"]
    subresources = [name for name, there in (("status", has_status), ("scale", presents.scale)) if there]
    facts = [
        "namespaced" if presents.namespaced else "cluster-scoped",
        f"`kubectl get {presents.plural}`, short {', '.join(f'`{name}`' for name in presents.short_names)}",
        *([f"subresources {' and '.join(f'`{name}`' for name in subresources)}"] if subresources else []),
        *(
            [f"field selectors {', '.join(f'`{path[1:]}`' for path in presents.selectable)}"]
            if presents.selectable
            else []
        ),
    ]
    parts = [f"## {kind.__name__}\n\n{schema['description']}\n\n{'; '.join(facts)}.\n"]
    parts.extend(f"- {_sentence(rule['message'])}" for rule in schema.get(VALIDATIONS, ()))
    for part in ("spec", "status"):
        if part in schema["properties"]:
            rows = "".join(_rows(schema["properties"][part], ""))
            parts.append(f"\n### {kind.__name__} {part}\n\n{_TABLE}{rows}")
    return "\n".join(parts)


def _rows(node: Schema, path: str) -> Iterator[str]:
    """One row for each field below a node, depth first."""
    required = node.get("required", ())
    for name, field in node.get("properties", {}).items():
        here = f"{path}{name}"
        default = "**required**" if name in required else _default(field)
        yield f"| `{here}` | {_type(field)} | {default} | {_escaped(_meaning(field))} |\n"
        yield from _rows(*_inside(field, here))


def _inside(field: Schema, path: str) -> tuple[Schema, str]:
    """What a field holds, and how its fields are addressed."""
    if "items" in field:
        return field["items"], f"{path}[]."
    if "additionalProperties" in field:
        return field["additionalProperties"], f"{path}{{}}."
    return field, f"{path}."


def _default(field: Schema) -> str:
    match field.get("default", {}):
        case bool() as flag:
            return f"`{str(flag).lower()}`"
        case list() as items:
            return f"`[{', '.join(map(str, items))}]`"
        case {}:
            return ""
        case value:
            return f"`{value}`"


def _type(field: Schema) -> str:
    if field.get(INT_OR_STRING):
        return "integer or string"
    if "items" in field:
        return f"list of {_type(field['items'])}" + ("" if "enum" in field["items"] else "s")
    if "additionalProperties" in field:
        return f"map of string to {_type(field['additionalProperties'])}"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    kind: str = field["type"]
    return _FORMATS.get(field.get("format", ""), kind)


def _meaning(field: Schema) -> str:
    sentences = [field.get("description", ""), _bounds(field)]
    sentences.extend(_sentence(rule["message"]) for rule in _rules(field))
    return " ".join(sentence for sentence in sentences if sentence)


def _sentence(message: str) -> str:
    return f"{message[0].upper()}{message[1:]}."


def _rules(field: Schema) -> Iterator[dict[str, str]]:
    """The rules on a field, and those on the scalars directly inside it; parts have rows of their own for theirs."""
    yield from field.get(VALIDATIONS, ())
    for below in () if "properties" in field else children(field):
        yield from below.get(VALIDATIONS, ())


def _bounds(field: Schema) -> str:
    said = [_range(field.get("minimum"), field.get("maximum"), "")]
    said.extend(
        _range(field.get(f"min{what}"), field.get(f"max{what}"), unit)
        for what, unit in (("Length", " characters"), ("Items", " items"), ("Properties", " entries"))
    )
    return " ".join(sentence for sentence in said if sentence)


def _range(low: int | None, high: int | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"At least {low}{unit}."
    return f"{low} to {high}{unit}." if low or not unit else f"At most {high}{unit}."


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
