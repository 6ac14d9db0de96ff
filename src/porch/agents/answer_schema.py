"""What is wrong with a JSON Schema that an answer shall follow, as far as that shows without a provider."""

from collections.abc import Iterator
from typing import Any, cast

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
# One of these makes a value a schema that says something.
SAYING = {"type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
MAX_DEPTH = 40

Schemas = Iterator[tuple[str, object, int]]


def schema_fault(value: object) -> str:
    """The first fault as a sentence that says where it is, "" where there is none (JSON Schema 2020-12)."""
    if not isinstance(value, dict):
        return 'A schema is a JSON object, such as {"type": "object", "properties": {"title": {"type": "string"}}}.'
    if not SAYING & cast("dict[str, Any]", value).keys():
        return 'This says nothing of the answer yet. Begin with {"type": "object", "properties": {…}}.'
    waiting: list[tuple[str, object, int]] = [("", value, 0)]
    while waiting:
        where, schema, depth = waiting.pop()
        fault = "nests too deep." if depth > MAX_DEPTH else _own_fault(schema)
        if fault:
            return f"{where or 'The schema'} {fault}"
        waiting += reversed(list(_below(where, schema, depth + 1)))
    return ""


def _own_fault(schema: object) -> str:
    if isinstance(schema, bool):
        return ""
    if not isinstance(schema, dict):
        return "is no schema: it must be an object, or true or false."
    known = cast("dict[str, Any]", schema)
    return _type_fault(known) or _shape_fault(known)


def _type_fault(schema: dict[str, Any]) -> str:
    if "type" not in schema:
        return ""
    given = schema["type"]
    for name in cast("list[object]", given) if isinstance(given, list) else [given]:
        if name not in TYPES:
            return f"has the type {str(name)[:40]!r}; the types are {', '.join(TYPES)}."
    return ""


def _shape_fault(schema: dict[str, Any]) -> str:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict):
        return 'has "properties" that are no object; write {"name": {"type": "string"}}.'
    if not isinstance(required, list) or not all(
        isinstance(name, str) for name in cast("list[object]", required)
    ):
        return 'has a "required" that is no list of names; write ["name"].'
    missing = [name for name in cast("list[str]", required) if properties and name not in properties]
    if missing:
        return f'requires {missing[0][:40]!r}, which its "properties" do not have.'
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        return 'has an "enum" that is no list of values; write ["yes", "no"].'
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema and not (isinstance(schema[key], list) and schema[key]):
            return f'has an "{key}" that is no list of schemas.'
    return ""


def _below(where: str, schema: object, depth: int) -> Schemas:
    if not isinstance(schema, dict):
        return
    known = cast("dict[str, Any]", schema)
    for key in ("properties", "$defs"):
        if isinstance(known.get(key), dict):
            yield from ((f"{where}/{key}/{name}", inner, depth) for name, inner in known[key].items())
    for key in ("anyOf", "oneOf", "allOf"):
        yield from (
            (f"{where}/{key}/{index}", inner, depth) for index, inner in enumerate(known.get(key, []))
        )
    for key in ("items", "additionalProperties"):
        if key in known:
            yield f"{where}/{key}", known[key], depth
