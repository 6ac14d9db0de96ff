"""The stream contract as JSON Schema, generated from its classes."""

from typing import Any

import msgspec

from porch.contract.events import AnyEvent, Event

SCHEMA_URL = "/contract/v1/schema.json"
ENVELOPE = ("v", "run", "epoch", "seq", "ts")


def stream_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one event as readers get it, envelope included."""
    classes = AnyEvent.__args__
    _, components = msgspec.json.schema_components(classes, ref_template="#/$defs/{name}")
    for cls in classes:
        _describe(components[cls.__name__])
    tags = {str(cls.__struct_config__.tag): {"$ref": f"#/$defs/{cls.__name__}"} for cls in classes}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_URL,
        "title": "Porch stream contract, v1",
        "description": "One event. Readers skip types and fields that they do not know.",
        "anyOf": list(tags.values()),
        "discriminator": {"propertyName": "type", "mapping": {tag: ref["$ref"] for tag, ref in tags.items()}},
        "$defs": dict(sorted(components.items())),
    }


def _describe(schema: dict[str, Any]) -> None:
    """The envelope's defaults exist only before an event is stamped; on the wire it is always there."""
    properties: dict[str, Any] = schema["properties"]
    for name in Event.__struct_fields__:
        properties[name].pop("default", None)
    properties["v"] = {"const": 1}
    properties["run"] = {"type": "string", "pattern": "^run_[0-9a-f]{32}$"}
    properties["epoch"] = {"type": "integer", "minimum": 1}
    properties["seq"] = {"type": "integer", "minimum": 1}
    properties["ts"] = {"type": "string", "format": "date-time"}
    schema["required"] = list(dict.fromkeys([*ENVELOPE, *schema.get("required", ())]))
