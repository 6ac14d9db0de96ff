"""An agent's definition: what its author writes, and what a version freezes."""

import hashlib
import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from porch.contract.errors import InvalidInput

HANDLE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
MODEL = re.compile(r"[a-z][a-z0-9-]*:\S+")
MAX_INSTRUCTIONS_BYTES = 64 * 1024
MAX_STEPS = 64
MAX_QUESTIONS = 6
MAX_QUESTION = 200
APPROVAL_SECONDS = 7 * 24 * 3600
MIN_APPROVAL_SECONDS, MAX_APPROVAL_SECONDS = 60, 30 * 24 * 3600
# Controls, line ends, and what turns the direction of the text beside it.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# Said in the schema and checked below, where the sentence can say what to do.
Question = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_QUESTION})]
Questions = Annotated[list[Question], Meta(extra_json_schema={"maxItems": MAX_QUESTIONS})]
ToolNames = Annotated[list[str], Meta(extra_json_schema={"uniqueItems": True})]


class ModelSettings(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the model is asked, and how far one run may go.

    `tool_choice` is `auto`, `none`, `required`, or the name of the one tool that must be called; `response_schema`
    is a JSON Schema that the answer's text must follow; `cache` asks providers that want hints to keep the prompt.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: list[str] | None = None
    seed: int | None = None
    max_steps: int | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    response_schema: dict[str, Any] | None = None
    cache: bool | None = None


class Approval(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which of the agent's tools wait for a person before they run.

    Nobody's answer within `expires_in` seconds (7 days unless given) denies the call. With `guests` a visitor may
    approve the calls of their own conversation.
    """

    tools: ToolNames = []
    expires_in: int | None = None
    guests: bool = False


class Definition(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An agent as its author describes it.

    `model` is `provider:model`, or a list tried in order; `questions` are first messages to offer to people.
    `concurrency` says what becomes of a message while the one before it is being answered: `reject`, which is meant
    where the key is left out, `queue`, or `interrupt`.
    """

    name: str
    instructions: str
    model: str | list[str]
    title: str | None = None
    description: str | None = None
    questions: Questions = []
    tools: ToolNames | None = None
    plugins: list[str] | None = None
    memory: dict[str, Any] | None = None
    concurrency: Literal["reject", "queue", "interrupt"] | None = None
    approval: Approval | None = None
    settings: ModelSettings | None = None

    @property
    def models(self) -> list[str]:
        """The models to try, in order."""
        return [self.model] if isinstance(self.model, str) else self.model


def check_handle(text: str, what: str) -> str:
    """A handle as it stands, or InvalidInput: 1 to 40 of a-z, 0-9 and inner hyphens."""
    if HANDLE.fullmatch(text):
        return text
    raise InvalidInput(
        f"{text[:60]!r} cannot be {what}: use 1 to 40 lower-case letters, digits and hyphens, "
        "with a letter or digit at both ends.",
        errors=[{"pointer": "/name", "detail": "not a handle"}],
    )


def question_fault(text: str) -> str:
    """What keeps a text from being one of an agent's questions, as the end of a sentence; "" when nothing does."""
    if not text.strip():
        return "is empty; write it, or leave it out."
    if found := _CONTROL.search(text):
        return f"holds a control character (U+{ord(found[0]):04X}); write it as one line of plain text."
    if len(text) > MAX_QUESTION:
        return f"has {len(text):,} characters; shorten it to {MAX_QUESTION}."
    return ""


def parse_definition(value: bytes | dict[str, Any]) -> Definition:
    """A checked definition from JSON. Raises InvalidInput naming the key that is wrong."""
    try:
        if isinstance(value, bytes):
            definition = msgspec.json.decode(value, type=Definition)
        else:
            definition = msgspec.convert(value, Definition)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"The agent's definition cannot be used: {error}. "
            f"Its keys are {', '.join(Definition.__struct_fields__)}.",
            errors=[{"pointer": _pointer(str(error)), "detail": str(error)}],
        ) from None
    except msgspec.DecodeError as error:
        raise InvalidInput(f"The agent's definition is not valid JSON: {error}.") from None
    check_handle(definition.name, "an agent's name")
    if len(definition.instructions.encode("utf-8", "replace")) > MAX_INSTRUCTIONS_BYTES:
        raise InvalidInput(f"The instructions are over {MAX_INSTRUCTIONS_BYTES // 1024} KiB; shorten them.")
    if not definition.models:
        raise InvalidInput('"model" is an empty list; name at least one, such as "local:smollm2".')
    for model in definition.models:
        if not MODEL.fullmatch(model):
            raise InvalidInput(
                f'{model[:80]!r} is not a model\'s name; write "provider:model", such as "local:smollm2".',
                errors=[{"pointer": "/model", "detail": "not of the form provider:model"}],
            )
    _check_questions(definition.questions)
    _check_once(definition.tools or [], "/tools")
    if definition.approval is not None:
        _check_approval(definition.approval, definition.tools or [])
    steps = definition.settings.max_steps if definition.settings else None
    if steps is not None and not 1 <= steps <= MAX_STEPS:
        raise InvalidInput(
            f"max_steps is {steps}; it must be 1 to {MAX_STEPS}.",
            errors=[{"pointer": "/settings/max_steps", "detail": f"not 1 to {MAX_STEPS}"}],
        )
    return definition


def encode_definition(definition: Definition) -> bytes:
    """The canonical JSON of a definition: sorted keys, no spaces, defaults left out."""
    return msgspec.json.encode(definition, order="sorted")


def definition_value(definition: Definition) -> dict[str, Any]:
    """A stored definition's JSON value, to be changed and parsed: tools that once could be named twice stand once."""
    value: dict[str, Any] = msgspec.to_builtins(definition)
    for holder in (value, value.get("approval", {})):
        if "tools" in holder:
            holder["tools"] = list(dict.fromkeys(holder["tools"]))
    return value


def content_hash(definition: Definition) -> str:
    """`sha256:` and the hex digest of the canonical JSON: equal for equal definitions."""
    return "sha256:" + hashlib.sha256(encode_definition(definition)).hexdigest()


def _check_questions(questions: list[str]) -> None:
    if len(questions) > MAX_QUESTIONS:
        raise InvalidInput(
            f'"questions" has {len(questions)} entries; keep the best {MAX_QUESTIONS}.',
            errors=[{"pointer": "/questions", "detail": f"more than {MAX_QUESTIONS}"}],
        )
    for index, question in enumerate(questions):
        if fault := question_fault(question):
            raise InvalidInput(
                f"Question {index + 1} {fault}",
                errors=[{"pointer": f"/questions/{index}", "detail": fault.rstrip(".")}],
            )


def _check_once(tools: list[str], pointer: str) -> None:
    seen: set[str] = set()
    for index, name in enumerate(tools):
        if name in seen:
            raise InvalidInput(
                f'"{pointer[1:].replace("/", ".")}" names the tool {name[:60]!r} more than once; name it once.',
                errors=[{"pointer": f"{pointer}/{index}", "detail": "named before"}],
            )
        seen.add(name)


def _check_approval(approval: Approval, tools: list[str]) -> None:
    _check_once(approval.tools, "/approval/tools")
    known = set(tools)
    for index, name in enumerate(approval.tools):
        if name not in known:
            raise InvalidInput(
                f'"approval" names the tool {name[:60]!r}, which the agent does not have. Add it to "tools", or take '
                "it out here.",
                errors=[{"pointer": f"/approval/tools/{index}", "detail": "not among the agent's tools"}],
            )
    seconds = approval.expires_in
    if seconds is not None and not MIN_APPROVAL_SECONDS <= seconds <= MAX_APPROVAL_SECONDS:
        raise InvalidInput(
            f"approval.expires_in is {seconds}; it must be {MIN_APPROVAL_SECONDS} to {MAX_APPROVAL_SECONDS:,} seconds, "
            "a minute to 30 days.",
            errors=[{"pointer": "/approval/expires_in", "detail": "not a minute to 30 days"}],
        )


def _pointer(message: str) -> str:
    match = re.search(r"`\$([^`]*)`", message) or re.search(r"field `([^`]*)`", message)
    if not match:
        return ""
    return "/" + re.sub(r"\[(\d+)\]", r"/\1", match[1]).strip(".").replace(".", "/")
