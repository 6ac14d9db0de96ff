"""A model request as the JSON body of Responses, with the whole history in it: nothing is kept at the server.

`stop` and `seed` have no place in this dialect and are not sent. Temperature and top_p give way to reasoning where a
model refuses them beside it.
"""

from typing import Any, cast

from porch.contract.messages import (
    FilePart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.providers.history import (
    SCHEMA_NAME,
    call_arguments,
    called_name,
    chosen_tool,
    data_url,
    encode_body,
    file_name,
    file_words,
    is_strict,
    join_words,
    prompt_cache_key,
    result_text,
    tool_schema,
)
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec
from porch.providers.responses.quirks import Quirks
from porch.providers.traits import Traits, nearest_effort

Json = dict[str, Any]


def encode_request(request: ModelRequest, quirks: Quirks) -> bytes:
    """The body of a streaming request."""
    settings = request.settings
    reasons = quirks.reasons(request.model)
    traits = quirks.traits(request.model)
    effort = _effort(settings.reasoning_effort, traits)
    sampled = traits.samples(effort)
    # A model that does not reason refuses the reasoning of others.
    items = _items(request, quirks.seal if reasons else "")
    body: Json = {"model": request.model, "input": items, "stream": True, "store": False}
    given = {
        "instructions": request.instructions or None,
        "include": ["reasoning.encrypted_content"] if quirks.encrypted and reasons else None,
        "reasoning": _reasoning(effort, quirks) if reasons else None,
        "text": _format(settings.response_schema),
        "max_output_tokens": settings.max_output_tokens,
        "temperature": settings.temperature if sampled else None,
        "top_p": settings.top_p if sampled else None,
        "prompt_cache_key": prompt_cache_key(request) if settings.cache and quirks.cache_key else None,
    }
    if request.tools and quirks.tools:
        given |= {
            "tools": [_tool(tool) for tool in request.tools],
            "tool_choice": _choice(request),
            "parallel_tool_calls": settings.parallel_tool_calls,
        }
    body.update({name: value for name, value in given.items() if value is not None})
    return encode_body(body)


def _items(request: ModelRequest, seal: str) -> list[Json]:
    items: list[Json] = []
    for message in request.messages:
        items += _question(message) if message.role == "user" else _answer(message.parts, seal)
    return items


def _question(message: ModelMessage) -> list[Json]:
    content: list[tuple[Part, Json]] = []
    for part in message.parts:
        match part:
            case TextPart() | RefusalPart():
                content.append((part, {"type": "input_text", "text": part.text}))
            case ImagePart():
                picture = {"type": "input_image", "image_url": data_url(part), "detail": "auto"}
                content.append((part, picture))
            case FilePart():
                content.append((part, _file(part)))
            case _:
                pass
    if all(piece["type"] == "input_text" for _, piece in content):
        return [{"role": "user", "content": join_words((part, piece["text"]) for part, piece in content)}]
    return [{"role": "user", "content": [piece for _, piece in content if piece.get("text") != ""]}]


def _file(part: FilePart) -> Json:
    words = file_words(part)
    if words is not None:
        return {"type": "input_text", "text": words}
    return {"type": "input_file", "filename": file_name(part), "file_data": data_url(part)}


def _answer(parts: list[Part], seal: str) -> list[Json]:
    """Items in the order of their parts. Sealed reasoning goes before what it led to, or not at all."""
    items: list[Json] = []
    thoughts: list[Json] = []
    for part in parts:
        match part:
            case ReasoningPart():
                if part.sealed is not None and part.format == seal:
                    thoughts.append(_thought(part.sealed))
                continue
            case ToolResultPart():
                items.append(
                    {"type": "function_call_output", "call_id": part.call, "output": result_text(part)}
                )
            case ToolCallPart():
                items += [*thoughts, _call(part)]
            case TextPart() | RefusalPart():
                if not part.text:
                    continue
                if items and not thoughts and items[-1].get("role") == "assistant":
                    items[-1]["content"] += part.text
                else:
                    items += [*thoughts, {"role": "assistant", "content": part.text}]
            case _:
                continue
        thoughts = []
    return items


def _call(part: ToolCallPart) -> Json:
    called = {"type": "function_call", "call_id": part.call, "name": called_name(part)}
    return called | {"arguments": call_arguments(part)}


def _thought(sealed: Any) -> Json:
    """The item as it came, without the nulls that servers send and then refuse."""
    bare: Json = {"encrypted_content": sealed, "summary": []}
    item = cast("Json", sealed) if isinstance(sealed, dict) else bare
    return {"type": "reasoning"} | {name: value for name, value in item.items() if value is not None}


def _effort(asked: str | None, traits: Traits) -> str | None:
    return nearest_effort(asked, traits.efforts) if asked and traits.efforts else asked


def _reasoning(effort: str | None, quirks: Quirks) -> Json | None:
    if effort is None:
        return None
    asked: Json = {"effort": effort}
    if quirks.summary and effort != "none":
        asked["summary"] = quirks.summary
    return asked


def _format(schema: Json | None) -> Json | None:
    if schema is None:
        return None
    shape = {"type": "json_schema", "name": SCHEMA_NAME, "schema": schema, "strict": is_strict(schema)}
    return {"format": shape}


def _choice(request: ModelRequest) -> str | dict[str, str] | None:
    choice = chosen_tool(request)
    return {"type": "function"} | choice if isinstance(choice, dict) else choice


def _tool(tool: ToolSpec) -> Json:
    # Left out, `strict` is true here, and the server would demand every property or refuse the schema.
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool_schema(tool),
        "strict": False,
    }
