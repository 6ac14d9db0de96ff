"""A model request as the JSON body of Chat Completions."""

import hashlib
from typing import Any, cast

import msgspec

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
from porch.contract.text import clean_json
from porch.providers.chat_completions.quirks import Quirks
from porch.providers.chat_completions.thinking import sent_effort, takes_sampling
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
    unseen_file,
)
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec

Json = dict[str, Any]


def encode_request(request: ModelRequest, quirks: Quirks) -> bytes:
    """The body of a streaming request.

    Reasoning is sent back only where `quirks` names a place for it: most servers have none. Temperature and top_p
    give way to reasoning where a model refuses them beside it.
    """
    settings = request.settings
    body: Json = {"model": request.model, "messages": _messages(request, quirks), "stream": True}
    if quirks.stream_usage:
        body["stream_options"] = {"include_usage": True}
    sampled = takes_sampling(request, quirks)
    given: Json = {
        "temperature": settings.temperature if sampled else None,
        "top_p": settings.top_p if sampled else None,
        quirks.max_tokens: settings.max_output_tokens,
        "stop": settings.stop or None,
        quirks.seed: settings.seed,
    }
    given |= _tools(request, quirks)
    if not f"{request.model}-".startswith(quirks.plain_models):
        given |= _reasoning(sent_effort(request, quirks), quirks)
    if settings.response_schema is not None:
        given["response_format"] = _format(settings.response_schema, quirks)
        given["provider"] = {"require_parameters": True} if quirks.routes else None
    if settings.cache and quirks.cache == "prompt_cache_key":
        given["prompt_cache_key"] = prompt_cache_key(request)
    body.update({name: value for name, value in given.items() if name and value is not None})
    return encode_body(body)


def _messages(request: ModelRequest, quirks: Quirks) -> list[Json]:
    messages = _instructions(request, quirks)
    for message in request.messages:
        if message.role == "user":
            made = [{"role": "user", "content": _question(message, quirks)}]
        else:
            made = _Answer(quirks).messages(message.parts)
        if made and messages and _are_one(messages[-1], made[0]):
            # Many a local model's template insists on turns.
            messages[-1]["content"] = _joined(messages[-1]["content"], made.pop(0)["content"])
        messages += made
    return messages


def _are_one(first: Json, more: Json) -> bool:
    plain = first.keys() == more.keys() == {"role", "content"}
    return plain and first["role"] == more["role"] != "system"


def _joined(first: str | list[Json], more: str | list[Json]) -> str | list[Json]:
    """Two contents as one."""
    if isinstance(first, str) and isinstance(more, str):
        return "\n\n".join(text for text in (first, more) if text)
    both = [[{"type": "text", "text": said}] if isinstance(said, str) else said for said in (first, more)]
    return [piece for pieces in both for piece in pieces if piece.get("text") != ""]


def _instructions(request: ModelRequest, quirks: Quirks) -> list[Json]:
    said = request.instructions
    schema = request.settings.response_schema
    if schema is not None and quirks.schema != "json_schema":
        shape = msgspec.json.encode(clean_json(schema)).decode()
        said = f"{said}\n\nAnswer with JSON alone, which follows this JSON Schema:\n{shape}".lstrip()
    if not said:
        return []
    content: Any = said
    if request.settings.cache and quirks.cache == "cache_control":
        content = [{"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}]
    return [{"role": "system", "content": content}]


def _question(message: ModelMessage, quirks: Quirks) -> str | list[Json]:
    content: list[tuple[Part, Json]] = []
    for part in message.parts:
        match part:
            case TextPart() | RefusalPart():
                content.append((part, {"type": "text", "text": part.text}))
            case ImagePart():
                content.append((part, _image(part, quirks)))
            case FilePart():
                content.append((part, _file(part, quirks)))
            case _:
                pass
    if all(piece["type"] == "text" for _, piece in content):
        return join_words((part, piece["text"]) for part, piece in content)
    return [piece for _, piece in content if piece.get("text") != ""]


def _image(part: ImagePart, quirks: Quirks) -> Json:
    if not quirks.images:
        return {"type": "text", "text": unseen_file(part)}
    return {"type": "image_url", "image_url": {"url": data_url(part)}}


def _file(part: FilePart, quirks: Quirks) -> Json:
    words = file_words(part)
    if words is None and quirks.files:
        return {"type": "file", "file": {"filename": file_name(part), "file_data": data_url(part)}}
    return {"type": "text", "text": words or unseen_file(part)}


class _Answer:
    """Assistant and tool messages in the order of their parts: words and calls, then the calls' results."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._found: list[Json] = []
        self._text: list[str] = []
        self._calls: list[Json] = []
        self._thoughts: list[str] = []
        self._sealed: list[Any] = []

    def messages(self, parts: list[Part]) -> list[Json]:
        """What these parts come to."""
        for part in parts:
            match part:
                case ToolCallPart() | ToolResultPart() if not self._quirks.tools:
                    pass
                case ToolResultPart():
                    self._say()
                    self._found.append(
                        {"role": "tool", "tool_call_id": self._id(part.call), "content": result_text(part)}
                    )
                case ToolCallPart():
                    function = {"name": called_name(part), "arguments": call_arguments(part)}
                    self._calls.append({"id": self._id(part.call), "type": "function", "function": function})
                case TextPart() | RefusalPart():
                    self._text.append(part.text)
                case ReasoningPart():
                    self._thoughts.append(part.text)
                    if part.sealed is not None and self._quirks.seal and part.format == self._quirks.seal:
                        given: Any = part.sealed
                        self._sealed += cast("list[Any]", given) if isinstance(given, list) else [given]
                case _:
                    pass
        self._say()
        return self._found

    def _say(self) -> None:
        text = "".join(self._text)
        if text or self._calls:
            message: Json = {"role": "assistant", "content": text or None}
            if self._calls:
                message["tool_calls"] = self._calls
                if self._quirks.thoughts:
                    message[self._quirks.thoughts] = "".join(self._thoughts)
            if self._quirks.signed:
                _sign(self._calls, self._sealed, self._quirks.signed)
            elif self._sealed:
                message["reasoning_details"] = self._sealed
            self._found.append(message)
        self._text, self._calls, self._thoughts, self._sealed = [], [], [], []

    def _id(self, call: str) -> str:
        if self._quirks.call_ids == "any":
            return call
        return hashlib.sha256(call.encode("utf-8", "replace")).hexdigest()[:9]


def _sign(calls: list[Json], sealed: list[Any], stand_in: str) -> None:
    """Put back what came beside each call; the first must have something."""
    for item in sealed:
        fields: Json = cast("Json", item) if isinstance(item, dict) else {}
        at: Any = fields.get("call")
        if type(at) is int and 0 <= at < len(calls):
            calls[at]["extra_content"] = fields.get("extra_content")
    if calls:
        calls[0].setdefault("extra_content", {"google": {"thought_signature": stand_in}})


def _tools(request: ModelRequest, quirks: Quirks) -> Json:
    if not request.tools or not quirks.tools:
        return {}
    given: Json = {"tools": [_tool(tool) for tool in request.tools]}
    choice = chosen_tool(request)
    if isinstance(choice, dict):
        given["tool_choice"] = {"type": "function", "function": choice}
    elif choice is not None:
        given["tool_choice"] = quirks.required if choice == "required" else choice
    if quirks.parallel:
        given["parallel_tool_calls"] = request.settings.parallel_tool_calls
    return given


def _tool(tool: ToolSpec) -> Json:
    function = {"name": tool.name, "description": tool.description, "parameters": tool_schema(tool)}
    return {"type": "function", "function": function}


def _reasoning(effort: str | None, quirks: Quirks) -> Json:
    if effort is None or quirks.reasoning == "none":
        return {}
    return (
        {"reasoning": {"effort": effort}} if quirks.reasoning == "reasoning" else {"reasoning_effort": effort}
    )


def _format(schema: Json, quirks: Quirks) -> Json | None:
    match quirks.schema:
        case "json_schema":
            shape = {"name": SCHEMA_NAME, "schema": schema, "strict": is_strict(schema)}
            return {"type": "json_schema", "json_schema": shape}
        case "json_object":
            return {"type": "json_object"}
        case "words":
            return None
