"""The JSON Schema of the contract is a promise: it is kept in the repository, and a change that breaks it fails."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from porch.contract.schema import stream_schema
from tests.contract.schema_changes import breaking_changes, kept_schema

HOW = "run: python -m tests.contract.schema_changes"
Schema = dict[str, Any]


def test_no_change_breaks_a_reader() -> None:
    assert breaking_changes(kept_schema(), stream_schema()) == []


def test_the_kept_schema_is_the_one_that_is_served() -> None:
    assert kept_schema() == stream_schema(), HOW


def _drop_type(schema: Schema) -> None:
    del schema["$defs"]["Notice"]
    del schema["discriminator"]["mapping"]["notice"]


def _drop_field(schema: Schema) -> None:
    del schema["$defs"]["StreamChunk"]["properties"]["delta"]


def _retype_field(schema: Schema) -> None:
    schema["$defs"]["StreamChunk"]["properties"]["delta"] = {"type": "integer"}


def _require_field(schema: Schema) -> None:
    chunk = schema["$defs"]["StreamChunk"]
    chunk["properties"]["language"] = {"type": "string"}
    chunk["required"].append("language")


def _excuse_field(schema: Schema) -> None:
    schema["$defs"]["ErrorInfo"]["required"].remove("retryable")


def _widen_values(schema: Schema) -> None:
    values = cast("list[str]", schema["$defs"]["PartStarted"]["properties"]["kind"]["enum"])
    values.append("song")


@pytest.mark.parametrize(
    ("change", "noticed"),
    [
        (_drop_type, "the type 'notice' is gone"),
        (_drop_field, "StreamChunk.delta is gone"),
        (_retype_field, "StreamChunk.delta has another type"),
        (_require_field, "StreamChunk.language is newly required"),
        (_excuse_field, "ErrorInfo.retryable may be missing now"),
        (_widen_values, "PartStarted.kind has another type"),
    ],
)
def test_a_breaking_change_is_noticed(change: Callable[[Schema], None], noticed: str) -> None:
    changed = kept_schema()
    change(changed)
    assert noticed in breaking_changes(kept_schema(), changed)


def test_new_types_and_new_optional_fields_are_welcome() -> None:
    changed = kept_schema()
    changed["$defs"]["StreamChunk"]["properties"]["language"] = {"type": "string"}
    changed["$defs"]["RunDreamt"] = {"type": "object", "properties": {}, "required": []}
    changed["discriminator"]["mapping"]["run.dreamt"] = "#/$defs/RunDreamt"
    changed["description"] = "In other words."
    assert breaking_changes(kept_schema(), changed) == []
