"""A request of Chat Completions: its body, and what is asked of the agent with it."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic import Tag as Case

from porch.contract.messages import Part
from porch.contract.text import check_text
from porch.faces.openai.parameters import (
    CHOICE,
    Effort,
    Loose,
    Requested,
    Strict,
    allow_tools,
    read_choice,
    read_schema,
    read_settings,
    read_tool,
    read_tools,
)
from porch.faces.openai.talk import (
    MAX_TEXT_BYTES,
    Reading,
    Talk,
    call_part,
    document_part,
    picture_part,
    text_part,
)
from porch.faces.remote import Remote
from porch.runs.options import RunOptions


class TextContent(Loose):
    """Words."""

    type: Literal["text"]
    text: str


class RefusalContent(Strict):
    """Words by which the model declined."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(Strict):
    """Where a picture is: a data: URL, or one that is fetched."""

    url: str
    detail: str | None = None


class ImageContent(Strict):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class FileData(Strict):
    """A file's bytes as a data: URL."""

    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class FileContent(Strict):
    """A document."""

    type: Literal["file"]
    file: FileData


UserContent = Annotated[TextContent | ImageContent | FileContent, Field(discriminator="type")]
ModelContent = Annotated[TextContent | RefusalContent, Field(discriminator="type")]


class SystemMessage(Loose):
    """What the caller adds to the agent's instructions."""

    role: Literal["system", "developer"]
    content: str | list[TextContent]


class UserMessage(Loose):
    """What somebody says."""

    role: Literal["user"]
    content: str | list[UserContent]


class CalledFunction(Strict):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Loose):
    """A call that the model made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Loose):
    """What the model said before; `reasoning_content` and the like are left alone."""

    role: Literal["assistant"]
    content: str | list[ModelContent] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(Loose):
    """What a call gave."""

    role: Literal["tool"]
    tool_call_id: str
    content: str | list[TextContent]


ChatMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class FunctionTool(Loose):
    """A function of the caller."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Strict):
    """A tool of the caller: a function."""

    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Strict):
    """A function by its name."""

    name: str


class NamedTool(Strict):
    """The one function that must be called."""

    type: Literal["function"]
    function: NamedFunction


class Allowed(Strict):
    """Some of the functions, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedTools(Strict):
    """Some of the functions."""

    type: Literal["allowed_tools"]
    allowed_tools: Allowed


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Case("word")]
    | Annotated[NamedTool, Case("function")]
    | Annotated[AllowedTools, Case("allowed_tools")],
    CHOICE,
]


class JsonSchema(Strict):
    """The shape of an answer."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None


class SchemaFormat(Strict):
    """An answer that follows a JSON Schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class PlainFormat(Strict):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


ResponseFormat = Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")]


class StreamOptions(Strict):
    """What the stream says besides."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Requested):
    """A chat completion to make."""

    messages: list[ChatMessage] = Field(
        min_length=1, examples=[[{"role": "user", "content": "What time is it?"}]]
    )
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    reasoning_effort: Effort | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    functions: Any = None
    function_call: Any = None
    verbosity: str | None = None


def read_chat(body: ChatRequest) -> Reading:
    """What is asked of the agent. Raises InvalidInput."""
    body.refuse(
        n=(1,),
        logprobs=(False,),
        top_logprobs=(),
        logit_bias=({},),
        presence_penalty=(0,),
        frequency_penalty=(0,),
        modalities=(["text"],),
        audio=(),
        prediction=(),
        web_search_options=(),
        functions=(),
        function_call=(),
        verbosity=("medium",),
    )
    talk = Talk()
    for index, message in enumerate(body.messages):
        _read_message(talk, message, f"messages[{index}]")
    before, parts = talk.close("messages")
    return Reading(before, parts, _read_options(body, talk), talk.gaps)


def _read_message(talk: Talk, message: ChatMessage, param: str) -> None:
    match message:
        case SystemMessage():
            talk.instruct(check_text(_joined(message.content), param, MAX_TEXT_BYTES))
        case UserMessage(content=str(text)):
            talk.ask([text_part(text, param)] if text else [], param)
        case UserMessage(content=list(content)):
            place = f"{param}.content"
            talk.ask([_read_content(part, f"{place}[{n}]") for n, part in enumerate(content)], param)
        case AssistantMessage():
            said = message.content or ""
            for text in [said] if isinstance(said, str) else [_words(part) for part in said]:
                if text:
                    talk.answer(text_part(text, param))
            if message.refusal:
                talk.answer(text_part(message.refusal, param))
            for call in message.tool_calls or []:
                talk.answer(call_part(call.id, call.function.name, call.function.arguments, param))
        case ToolMessage():
            talk.bring(message.tool_call_id, _joined(message.content), param)
        case _:
            raise AssertionError("pydantic knows no other message")


def _read_content(part: UserContent, param: str) -> Part | Remote:
    match part:
        case TextContent():
            return text_part(part.text, param)
        case ImageContent():
            return picture_part(part.image_url.url, param)
        case _:
            return document_part(part.file.file_data, part.file.filename, param)


def _read_options(body: ChatRequest, talk: Talk) -> RunOptions:
    tools = read_tools(
        [
            read_tool(
                tool.function.name, tool.function.description, tool.function.parameters, f"tools[{index}]"
            )
            for index, tool in enumerate(body.tools or [])
        ]
    )
    choice = body.tool_choice
    if isinstance(choice, AllowedTools):
        tools = allow_tools([tool.function.name for tool in choice.allowed_tools.tools], tools)
        choice = choice.allowed_tools.mode
    named = choice.function.name if isinstance(choice, NamedTool) else choice
    return RunOptions(
        instructions="\n\n".join(talk.instructions),
        tools=tools,
        settings=read_settings(
            body,
            max_output_tokens=body.max_completion_tokens or body.max_tokens,
            effort=body.reasoning_effort,
            tool_choice=read_choice(named, tools),
            schema=_read_format(body.response_format),
            stop=[body.stop] if isinstance(body.stop, str) else body.stop,
            seed=body.seed,
        ),
    )


def _read_format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    match wanted:
        case SchemaFormat():
            return read_schema(wanted.json_schema.schema_, "response_format")
        case PlainFormat(type="json_object"):
            return {"type": "object"}
        case _:
            return None


def _joined(content: str | list[TextContent]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _words(part: ModelContent) -> str:
    return part.text if isinstance(part, TextContent) else part.refusal
