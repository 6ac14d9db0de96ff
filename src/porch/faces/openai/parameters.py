"""What both of OpenAI's interfaces ask for in the same way: settings, tools, shapes of answers."""

import re
from typing import Annotated, Any, Literal, Self, cast

import msgspec
from pydantic import ConfigDict, Discriminator, Field

from porch.contract.definition import ModelSettings
from porch.contract.text import check_text, clean_json
from porch.faces.openai.errors import Refused
from porch.faces.openai.talk import MAX_DEPTH, is_deep
from porch.http.body_model import BodyModel
from porch.runs.options import CallerTool

MAX_TOOLS = 128
MAX_SCHEMA_BYTES = 256 * 1024
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Effort = Literal["none", "minimal", "low", "medium", "high"]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(ge=0, le=1)]


class Strict(BodyModel):
    """A part of a request; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid")


class Loose(BodyModel):
    """A part of a request of which some keys are read and others are left alone."""

    model_config = ConfigDict(extra="ignore")


class Requested(Strict):
    """What a request may say whatever its interface."""

    model: str | None = Field(default=None, examples=["@home/hello"])
    stream: bool | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: Any = None
    service_tier: str | None = None

    def refuse(self, **offered: tuple[object, ...]) -> Self:
        """Raise Refused for a parameter whose value is none of those that stand for what happens anyway."""
        for name, neutral in offered.items():
            value = getattr(self, name)
            if value is not None and value not in neutral:
                raise Refused(
                    f"{name!r} cannot be used here: agents have no such setting. Leave it out.",
                    name,
                    code="unsupported_parameter",
                )
        return self


def read_tool(
    name: str, description: str | None, parameters: dict[str, Any] | None, param: str
) -> CallerTool:
    """A caller's function as the model is told of it."""
    if not _TOOL_NAME.fullmatch(name):
        raise Refused(
            f"{name[:64]!r} cannot be a function's name: use 1 to 64 letters, digits, '_' and '-'.",
            param,
            code="invalid_value",
        )
    schema: dict[str, Any] = {"type": "object", "properties": {}} if parameters is None else parameters
    return CallerTool(
        name=name,
        description=check_text(description or "", param, 16 * 1024),
        parameters=read_schema(schema, param),
    )


def read_schema(schema: dict[str, Any], param: str) -> dict[str, Any]:
    """A JSON Schema that can be kept."""
    if is_deep(schema):
        raise Refused(f"The schema is nested deeper than {MAX_DEPTH} levels; flatten it.", param)
    size = len(msgspec.json.encode(schema))
    if size > MAX_SCHEMA_BYTES:
        raise Refused(f"The schema is {size:,} bytes long; the limit is {MAX_SCHEMA_BYTES:,}.", param)
    return clean_json(schema)


def read_tools(tools: list[CallerTool]) -> list[CallerTool]:
    """The caller's tools, no more than a model reads."""
    if len(tools) > MAX_TOOLS:
        raise Refused(f"There are {len(tools)} tools; the limit is {MAX_TOOLS}.", "tools")
    return tools


def choice_kind(value: Any) -> str | None:
    """Which form of `tool_choice` this is: a word, or what its `type` says."""
    if isinstance(value, BodyModel):
        return str(getattr(value, "type", ""))
    if isinstance(value, dict):
        return str(cast("dict[str, Any]", value).get("type"))
    return "word" if value in ("auto", "none", "required") else None


CHOICE = Discriminator(
    choice_kind,
    custom_error_type="tool_choice",
    custom_error_message="A tool choice is 'auto', 'none', 'required', or of the type function or allowed_tools",
)
"""Tells the forms of `tool_choice` apart."""


def allow_tools(names: list[str], tools: list[CallerTool]) -> list[CallerTool]:
    """Those of the caller's tools that may be called this time."""
    known = {tool.name for tool in tools}
    for name in names:
        if name not in known:
            raise Refused(f"'tool_choice' names {name[:64]!r}, which is none of 'tools'.", "tool_choice")
    return [tool for tool in tools if tool.name in names]


def read_choice(choice: str | None, tools: list[CallerTool]) -> str | None:
    """`auto` (None), `none`, `required`, or the name of one of the caller's tools."""
    if choice in (None, "auto", "none"):
        return "none" if choice == "none" else None
    if not tools:
        raise Refused("'tool_choice' needs 'tools' to choose from.", "tool_choice", code="invalid_value")
    if choice != "required" and all(tool.name != choice for tool in tools):
        raise Refused(f"'tool_choice' names {choice[:64]!r}, which is none of 'tools'.", "tool_choice")
    return choice


def read_settings(
    request: Requested,
    *,
    max_output_tokens: int | None,
    effort: Effort | None,
    tool_choice: str | None,
    schema: dict[str, Any] | None,
    stop: list[str] | None = None,
    seed: int | None = None,
) -> ModelSettings | None:
    """What the caller set; None where it set nothing."""
    settings = ModelSettings(
        temperature=request.temperature,
        top_p=request.top_p,
        max_output_tokens=max_output_tokens,
        stop=stop or None,
        seed=seed,
        reasoning_effort=effort,
        tool_choice=tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        response_schema=schema,
    )
    return settings if settings != ModelSettings() else None
