"""A model request as the JSON body of Messages.

What the API cannot combine gives way in this order: a schema or a tool that must be called stands above
reasoning, reasoning above temperature and top_p. `seed` has no place in this dialect.
"""

from dataclasses import dataclass
from typing import Any, cast

from porch.contract.definition import ModelSettings
from porch.providers.history import encode_body
from porch.providers.messages.quirks import Quirks
from porch.providers.messages.turns import Block, begins_with_thinking, build_turns, called_tools
from porch.providers.messages.wire import as_object
from porch.providers.request import ModelRequest, ToolSpec

ANSWER = "answer"
MIN_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 4096, "medium": 10_240, "high": 24_576}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
_VALUES = frozenset({"const", "default", "enum", "examples"})
_OBJECTS: tuple[Any, ...] = ("object", ["object", "null"], ["null", "object"])
_CACHED = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body, and the tool by which the answer comes where the model takes no schema."""

    body: bytes
    answer_tool: str | None


def encode_request(request: ModelRequest, quirks: Quirks) -> Encoded:
    """The body of a streaming request."""
    settings = request.settings
    answer_tool = _answer_tool(request, quirks)
    choice = _choice(request, answer_tool)
    forced = choice is not None and choice["type"] in ("any", "tool")
    max_tokens = settings.max_output_tokens or quirks.max_tokens
    reasoning = _reasoning(request, quirks, max_tokens, forced=forced)
    thinks = reasoning.get("thinking", {}).get("type")
    turns = build_turns(request.messages, thoughts=_wants_thoughts(quirks, thinks))
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": max_tokens,
        "stream": True,
        "messages": turns,
        **reasoning,
    }
    if request.instructions.strip():
        body["system"] = request.instructions
    _add_tools(body, request, answer_tool, choice)
    if settings.response_schema is not None and quirks.structured:
        shape = {"type": "json_schema", "schema": close_objects(settings.response_schema)}
        body["output_config"] = body.get("output_config", {}) | {"format": shape}
    # One of nothing but white space is refused.
    if stop := [text for text in settings.stop or () if text.strip()]:
        body["stop_sequences"] = stop
    body |= _sampling(settings, quirks, thinks in ("enabled", "adaptive"))
    if settings.cache:
        _mark_cache(body)
    return Encoded(encode_body(body), answer_tool)


def close_objects(schema: Any, room: int = 64) -> Any:
    """A schema whose objects take no keys that they do not name, as the API demands: what fits it fits the given
    one too. A schema that says otherwise is left to the API to refuse.
    """
    if isinstance(schema, list):
        return [close_objects(item, room - 1) for item in cast("list[Any]", schema)]
    fields = as_object(schema)
    if fields is None or not room:
        return schema
    made = {key: value if key in _VALUES else close_objects(value, room - 1) for key, value in fields.items()}
    if made.get("type") in _OBJECTS and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


def _answer_tool(request: ModelRequest, quirks: Quirks) -> str | None:
    """A model without structured output gives its answer as the arguments of a tool.

    Where a tool of the agent's must be called, there is no answer yet to give a shape to.
    """
    settings = request.settings
    if settings.response_schema is None or quirks.structured:
        return None
    if settings.tool_choice not in (None, "auto", "none"):
        return None
    name = ANSWER
    while any(tool.name == name for tool in request.tools):
        name += "_"
    return name


def _choice(request: ModelRequest, answer_tool: str | None) -> Block | None:
    word = request.settings.tool_choice
    if answer_tool is not None:
        # One call: either one of the agent's tools, or the answer.
        alone = not request.tools or word == "none"
        named: Block = {"type": "tool", "name": answer_tool} if alone else {"type": "any"}
        return named | {"disable_parallel_tool_use": True}
    if not request.tools or word == "none":
        return {"type": "none"} if request.tools else None
    single = request.settings.parallel_tool_calls is False
    if word is None and not single:
        return None
    kinds: dict[str | None, Block] = {
        None: {"type": "auto"},
        "auto": {"type": "auto"},
        "required": {"type": "any"},
    }
    chosen = kinds.get(word) or {"type": "tool", "name": word}
    return chosen | ({"disable_parallel_tool_use": True} if single else {})


def _add_tools(
    body: dict[str, Any], request: ModelRequest, answer_tool: str | None, choice: Block | None
) -> None:
    tools = [_tool(tool) for tool in request.tools]
    if answer_tool is not None:
        schema = _object_schema(request.settings.response_schema or {})
        said = "Give the final answer. Call this, and nothing else, once the answer is known."
        tools.append({"name": answer_tool, "description": said, "input_schema": schema})
    if not tools:
        # Calls in the history need their tools declared, even where none may be called any more.
        tools = [_tool(ToolSpec(name, "", {})) for name in called_tools(body["messages"])]
        choice = {"type": "none"} if tools else None
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice


def _tool(tool: ToolSpec) -> Block:
    made: Block = {"name": tool.name, "input_schema": _object_schema(tool.parameters)}
    return made | ({"description": tool.description} if tool.description else {})


def _object_schema(schema: dict[str, Any]) -> Block:
    return schema if "type" in schema else {"type": "object"} | schema


def _reasoning(request: ModelRequest, quirks: Quirks, max_tokens: int, *, forced: bool) -> Block:
    """`thinking` and the effort. A call that is forced leaves no room for reasoning."""
    effort = request.settings.reasoning_effort
    if effort in (None, "none") or forced:
        if quirks.at_rest == "thinks" and (forced or effort == "none"):
            return {"thinking": {"type": "disabled"}}
        return {"output_config": {"effort": "low"}} if quirks.at_rest == "always" and effort == "none" else {}
    if quirks.thinking == "adaptive":
        shown = {"display": quirks.display} if quirks.display else {}
        return {
            "thinking": {"type": "adaptive", **shown},
            "output_config": {"effort": _EFFORTS[effort or "low"]},
        }
    budget = min(_BUDGETS[effort or "low"], max_tokens * 3 // 4)
    # An answer under way that did not begin with reasoning cannot take it up before its end.
    if quirks.thinking == "none" or budget < MIN_BUDGET or not begins_with_thinking(request.messages):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _wants_thoughts(quirks: Quirks, thinks: str | None) -> bool:
    """Whether sealed reasoning may go back: the API refuses it where thinking is off, by word or by default."""
    return thinks in ("enabled", "adaptive") or (thinks is None and quirks.at_rest != "silent")


def _sampling(settings: ModelSettings, quirks: Quirks, thinks: bool) -> Block:
    given = {"temperature": settings.temperature, "top_p": settings.top_p}
    known = [(name, value) for name, value in given.items() if value is not None]
    return {} if thinks else dict(known[: quirks.sampling])


def _mark_cache(body: dict[str, Any]) -> None:
    """Keep the instructions with the tools before them, and the conversation up to here."""
    if "system" in body:
        body["system"] = [{"type": "text", "text": body["system"], "cache_control": _CACHED}]
    elif "tools" in body:
        body["tools"][-1]["cache_control"] = _CACHED
    if body["messages"]:
        body["messages"][-1]["content"][-1]["cache_control"] = _CACHED
