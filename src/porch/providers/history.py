"""What the OpenAI dialects say alike about what was said before: arguments, results, files, schemas."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec

from porch.contract.messages import FilePart, ImagePart, Part, ToolCallPart, ToolResultPart
from porch.contract.text import clean_json
from porch.providers.request import ModelRequest, ToolSpec, is_text

SCHEMA_NAME = "answer"
# OpenAI's models that do not reason, and refuse to be asked about it.
PLAIN_MODELS = ("gpt-4", "gpt-3.5", "chatgpt-", "ft:gpt-4", "ft:gpt-3.5")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def encode_body(body: dict[str, Any]) -> bytes:
    """A request's JSON; half a surrogate pair anywhere in it becomes U+FFFD."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return msgspec.json.encode(clean_json(body))


def call_arguments(part: ToolCallPart) -> str:
    """A call's arguments as text.

    Servers parse them again and fail on what is no object, so that botched ones are wrapped in one.
    """
    arguments = part.arguments if part.arguments is not None else {"unparsed": part.raw_arguments or ""}
    return msgspec.json.encode(clean_json(arguments)).decode()


def called_name(part: ToolCallPart) -> str:
    """A called tool's name. Models make up names that servers then refuse in the history, with all that follows."""
    if _NAME.fullmatch(part.name):
        return part.name
    return re.sub("[^A-Za-z0-9_-]", "_", part.name)[:64] or "unnamed"


def tool_schema(tool: ToolSpec) -> dict[str, Any]:
    """A tool's parameters; a schema without a type, or of an object without properties, is refused."""
    if tool.parameters.get("type", "object") != "object":
        return tool.parameters
    bare: dict[str, Any] = {"type": "object", "properties": {}}
    return bare | tool.parameters


def result_text(part: ToolResultPart) -> str:
    """What a call gave, as text."""
    if part.error is not None:
        return f"Error {part.error.code}: {part.error.message}"
    if isinstance(part.output, str):
        return part.output
    return msgspec.json.encode(clean_json(part.output)).decode()


def data_url(part: ImagePart | FilePart) -> str:
    """A file within the request itself."""
    return f"data:{part.media_type};base64,{part.data}"


def file_name(part: FilePart) -> str:
    """The file's name, or one that goes with its type."""
    if part.name:
        return part.name
    ending = part.media_type.rpartition("/")[2].partition(";")[0]
    return f"file.{ending if ending.isalnum() and len(ending) < 8 else 'bin'}"


def file_words(part: FilePart) -> str | None:
    """A text file's own words under its name, None for a file that is no text."""
    if not is_text(part.media_type):
        return None
    try:
        text = base64.b64decode(part.data, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None
    return f"{file_name(part)}:\n\n{text}"


def unseen_file(part: ImagePart | FilePart) -> str:
    """What stands for a file that the server's dialect cannot carry, so that the model can say so."""
    name = part.name if isinstance(part, FilePart) and part.name else part.media_type
    return f"[A file was attached that this model cannot be shown: {name}]"


def join_words(said: Iterable[tuple[Part, str]]) -> str:
    """Parts, each with its words, as one text, in which a file's stand apart from what a person wrote."""
    whole, apart = "", False
    for part, words in said:
        file = isinstance(part, ImagePart | FilePart)
        if whole and words and (file or apart):
            whole += "\n\n"
        whole += words
        apart = file if words else apart
    return whole


def chosen_tool(request: ModelRequest) -> str | dict[str, str] | None:
    """The tool choice: one of the words that all servers know, or {"name": …} for the one tool."""
    choice = request.settings.tool_choice
    if choice is None or choice in ("auto", "none", "required"):
        return choice
    return {"name": choice}


def prompt_cache_key(request: ModelRequest) -> str:
    """The same for all requests that begin alike, so that they meet the same cache."""
    names = "\0".join([request.model, *(tool.name for tool in request.tools), request.instructions])
    return hashlib.sha256(names.encode("utf-8", "replace")).hexdigest()[:32]


def is_strict(schema: object, room: int = 32) -> bool:
    """Whether a schema is in the form that OpenAI can promise to keep: every object closed, nothing optional."""
    if isinstance(schema, list):
        return all(is_strict(item, room - 1) for item in cast("list[object]", schema))
    if not isinstance(schema, dict) or room == 0:
        return room > 0
    fields = cast("dict[str, Any]", schema)
    properties: Any = fields.get("properties")
    if fields.get("type") == "object" or isinstance(properties, dict):
        names = sorted(cast("dict[str, Any]", properties)) if isinstance(properties, dict) else []
        required: Any = fields.get("required", [])
        needed = [str(name) for name in cast("list[Any]", required)] if isinstance(required, list) else None
        if fields.get("additionalProperties") is not False or needed is None or sorted(needed) != names:
            return False
    return all(is_strict(item, room - 1) for item in fields.values())
