"""A request of the Responses interface: its body, and what is asked of the agent with it."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field
from pydantic import Tag as Case

from porch.contract.messages import Part, TextPart
from porch.contract.text import check_text
from porch.faces.openai.errors import Refused
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
from porch.http.body_model import BodyModel
from porch.runs.options import RunOptions

# Of these OpenAI sends more than the rest; here is nothing more to send.
INCLUDED = ("reasoning.encrypted_content",)


class InputText(Loose):
    """Words, of whoever says them."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class OutputRefusal(Loose):
    """Words by which the model declined."""

    type: Literal["refusal"]
    refusal: str


class InputImage(Strict):
    """A picture as a data: URL, or at one that is fetched."""

    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(Strict):
    """A document as a data: URL, or at one that is fetched."""

    type: Literal["input_file"]
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None
    file_url: str | None = None


Content = Annotated[InputText | OutputRefusal | InputImage | InputFile, Field(discriminator="type")]


class MessageItem(Loose):
    """What somebody says, or said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Content]


class CallItem(Loose):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class OutputItem(Loose):
    """What a call gave."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputText]


class ReasoningItem(Loose):
    """What the model thought. It is left out: of a continued response the agent has it already."""

    type: Literal["reasoning"]


def _kind(value: Any) -> str | None:
    if isinstance(value, BodyModel):
        return str(getattr(value, "type", ""))
    return value.get("type", "message") if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # of any JSON


Item = Annotated[
    Annotated[MessageItem, Case("message")]
    | Annotated[CallItem, Case("function_call")]
    | Annotated[OutputItem, Case("function_call_output")]
    | Annotated[ReasoningItem, Case("reasoning")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message="Items are of the type message, function_call, function_call_output or reasoning",
    ),
]


class FunctionTool(Loose):
    """A function of the caller."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class NamedTool(Strict):
    """The one function that must be called."""

    type: Literal["function"]
    name: str


class AllowedTools(Strict):
    """Some of the functions, and whether one of them must be called."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Case("word")]
    | Annotated[NamedTool, Case("function")]
    | Annotated[AllowedTools, Case("allowed_tools")],
    CHOICE,
]


class PlainFormat(Strict):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaFormat(Strict):
    """Text that follows a JSON Schema."""

    type: Literal["json_schema"]
    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextShape(Strict):
    """How the text is to look."""

    format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["medium"] | None = None


class Reasoning(Strict):
    """How long the model thinks; its summary always comes where there is one."""

    effort: Effort | None = None
    summary: str | None = None
    generate_summary: str | None = None


class StreamOptions(Strict):
    """What the stream says besides."""

    include_obfuscation: bool | None = None


class ResponseRequest(Requested):
    """A response to make."""

    input: str | list[Item] = Field(examples=["What time is it?"])
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None
    text: TextShape | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    stream_options: StreamOptions | None = None
    background: bool | None = None
    conversation: Any = None
    max_tool_calls: int | None = None
    prompt: Any = None
    top_logprobs: int | None = None
    context_management: Any = None


def read_response(body: ResponseRequest) -> Reading:
    """What is asked of the agent. Raises InvalidInput."""
    body.refuse(
        background=(False,),
        conversation=(),
        max_tool_calls=(),
        prompt=(),
        top_logprobs=(0,),
        context_management=(),
    )
    for name in body.include or []:
        if name not in INCLUDED:
            raise Refused(f"{name[:80]!r} cannot be included here; leave it out.", "include")
    talk = Talk()
    if body.instructions:
        talk.instruct(check_text(body.instructions, "instructions", MAX_TEXT_BYTES))
    if isinstance(body.input, str):
        talk.ask([text_part(body.input, "input")] if body.input else [], "input")
    else:
        for index, item in enumerate(body.input):
            _read_item(talk, item, f"input[{index}]")
    before, parts = talk.close("input")
    return Reading(before, parts, _read_options(body, talk), talk.gaps)


def _read_item(talk: Talk, item: Item, param: str) -> None:
    match item:
        case MessageItem():
            _read_message(talk, item, param)
        case CallItem():
            talk.answer(call_part(item.call_id, item.name, item.arguments, param))
        case OutputItem():
            output = item.output
            text = output if isinstance(output, str) else "".join(part.text for part in output)
            talk.bring(item.call_id, text, param)
        case _:
            pass


def _read_message(talk: Talk, item: MessageItem, param: str) -> None:
    content = item.content
    found: list[Part | Remote]
    if isinstance(content, str):
        found = [text_part(content, param)] if content else []
    else:
        found = [_read_content(part, f"{param}.content[{n}]") for n, part in enumerate(content)]
    if item.role == "user":
        talk.ask(found, param)
        return
    words = [part for part in found if isinstance(part, TextPart)]
    if len(words) < len(found):
        raise Refused(f"Pictures and files are a user's, not of the role {item.role!r}.", f"{param}.content")
    if item.role == "assistant":
        for part in words:
            talk.answer(part)
    else:
        talk.instruct("".join(part.text for part in words))


def _read_content(part: Content, param: str) -> Part | Remote:
    match part:
        case InputText():
            return text_part(part.text, param)
        case OutputRefusal():
            return text_part(part.refusal, param)
        case InputImage():
            return picture_part(part.image_url or "", param)
        case _:
            return document_part(part.file_data, part.filename, param, part.file_url)


def _read_options(body: ResponseRequest, talk: Talk) -> RunOptions:
    tools = read_tools(
        [
            read_tool(tool.name, tool.description, tool.parameters, f"tools[{index}]")
            for index, tool in enumerate(body.tools or [])
        ]
    )
    choice = body.tool_choice
    if isinstance(choice, AllowedTools):
        tools, choice = allow_tools([tool.name for tool in choice.tools], tools), choice.mode
    return RunOptions(
        instructions="\n\n".join(talk.instructions),
        tools=tools,
        settings=read_settings(
            body,
            max_output_tokens=body.max_output_tokens,
            effort=body.reasoning.effort if body.reasoning else None,
            tool_choice=read_choice(choice.name if isinstance(choice, NamedTool) else choice, tools),
            schema=_read_format(body.text),
        ),
        request={"object": "response", **_echo(body)},
    )


def _read_format(shape: TextShape | None) -> dict[str, Any] | None:
    match shape.format if shape else None:
        case SchemaFormat(schema_=schema):
            return read_schema(schema, "text.format.schema")
        case PlainFormat(type="json_object"):
            return {"type": "object"}
        case _:
            return None


def _echo(body: ResponseRequest) -> dict[str, Any]:
    """What the response says again of its request."""
    given = body.model_dump(mode="json", by_alias=True, exclude_none=True)
    tools = [{"strict": None, "parameters": None, **tool} for tool in given.get("tools", [])]
    return {
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": None, "summary": None, **given.get("reasoning", {})},
        "store": body.store is not False,
        "temperature": body.temperature,
        "text": given.get("text") or {"format": {"type": "text"}},
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": tools,
        "top_p": body.top_p,
        "truncation": body.truncation or "disabled",
        "user": body.user,
    }
