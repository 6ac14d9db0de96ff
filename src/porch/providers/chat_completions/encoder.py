"""A model request as the JSON body of Chat Completions."""

from typing import Any

import msgspec

from porch.contract.messages import Part, ReasoningPart, RefusalPart, TextPart, ToolCallPart, ToolResultPart
from porch.contract.text import clean_json
from porch.providers.chat_completions.quirks import Quirks
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec


def encode_request(request: ModelRequest, quirks: Quirks) -> bytes:
    """The body of a streaming request. Reasoning is not sent back: this dialect has no place for it."""
    settings = request.settings
    body: dict[str, Any] = {"model": request.model, "messages": _messages(request), "stream": True}
    if quirks.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools and quirks.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    given = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        quirks.max_tokens: settings.max_output_tokens,
        "stop": settings.stop,
        "seed": settings.seed,
    }
    body.update({name: value for name, value in given.items() if value is not None})
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return msgspec.json.encode(clean_json(body))


def _messages(request: ModelRequest) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    for message in request.messages:
        messages += _user(message) if message.role == "user" else _answer(message.parts)
    return messages


def _user(message: ModelMessage) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "".join(_words(part) for part in message.parts)}]


def _answer(parts: list[Part]) -> list[dict[str, Any]]:
    """Assistant and tool messages in the order of their parts: words and calls, then the calls' results."""
    messages: list[dict[str, Any]] = []
    text: list[str] = []
    calls: list[dict[str, Any]] = []

    def say() -> None:
        if text or calls:
            message: dict[str, Any] = {"role": "assistant", "content": "".join(text) or None}
            if calls:
                message["tool_calls"] = calls.copy()
            messages.append(message)
        text.clear()
        calls.clear()

    for part in parts:
        if isinstance(part, ToolResultPart):
            say()
            messages.append({"role": "tool", "tool_call_id": part.call, "content": _result(part)})
        elif isinstance(part, ToolCallPart):
            calls.append(_call(part))
        elif words := _words(part):
            text.append(words)
    say()
    return messages


def _words(part: Part) -> str:
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case ReasoningPart() | ToolCallPart() | ToolResultPart():
            return ""


def _call(part: ToolCallPart) -> dict[str, Any]:
    # Servers parse the arguments again and fail on what is no object, so a botched call is wrapped in one.
    arguments = part.arguments if part.arguments is not None else {"unparsed": part.raw_arguments or ""}
    function = {"name": part.name, "arguments": msgspec.json.encode(arguments).decode()}
    return {"id": part.call, "type": "function", "function": function}


def _result(part: ToolResultPart) -> str:
    if part.error is not None:
        return f"Error {part.error.code}: {part.error.message}"
    if isinstance(part.output, str):
        return part.output
    return msgspec.json.encode(part.output).decode()


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
