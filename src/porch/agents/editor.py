"""The form in which people change an agent: a definition as text fields, and back.

Only what a person changed is written, so that what the form cannot show (plugins, memory) stays as it was.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from porch.agents.answer_schema import schema_fault
from porch.contract.definition import (
    HANDLE,
    MAX_INSTRUCTIONS_BYTES,
    MAX_QUESTIONS,
    MAX_STEPS,
    MODEL,
    Definition,
    definition_value,
    question_fault,
)
from porch.contract.errors import InvalidInput

Sheet = dict[str, str]
"""What stands in the form's fields, by name; a ticked tool `x` is `tool:x` with "on", one that waits for a person
`ask:x`. A form that can say the latter holds `ask:` too.
"""

TOOL, ASK = "tool:", "ask:"
BOXES = (TOOL, ASK)
SETTINGS = (
    "temperature",
    "top_p",
    "max_output_tokens",
    "max_steps",
    "seed",
    "stop",
    "reasoning_effort",
    "tool_choice",
    "parallel_tool_calls",
    "response_schema",
    "cache",
)
EFFORTS = ("none", "minimal", "low", "medium", "high")
CHOICES = ("auto", "none", "required")
CONCURRENCY = ("reject", "queue", "interrupt")
FIELDS = (
    "name",
    "title",
    "description",
    "instructions",
    "questions",
    "model",
    "fallbacks",
    "concurrency",
    *SETTINGS,
)
# Kept apart from the contract's limits: a line that is over them is no title.
MAX_TITLE = 120
MAX_DESCRIPTION = 600
MAX_TOKENS = 10**9
MAX_SEED = 2**53


class SheetError(InvalidInput):
    """Raised with one of `errors` for each field that cannot be used; their details are sentences."""


class FieldError(Exception):
    """Raised for one field's text; the sentence says what it must be."""


def sheet_of(definition: Definition) -> Sheet:
    """The fields as they stand for this definition."""
    settings = definition.settings
    sheet = dict.fromkeys(FIELDS, "")
    sheet |= {
        "name": definition.name,
        "title": definition.title or "",
        "description": definition.description or "",
        "instructions": definition.instructions,
        "questions": "\n".join(definition.questions),
        "model": definition.models[0],
        "fallbacks": "\n".join(definition.models[1:]),
        "concurrency": definition.concurrency or "",
    }
    for name in SETTINGS:
        sheet[name] = _shown(getattr(settings, name)) if settings else ""
    sheet |= {TOOL + tool: "on" for tool in definition.tools or []}
    if definition.approval:
        sheet |= {ASK + tool: "on" for tool in definition.approval.tools}
    return {name: _unix(text) for name, text in sheet.items()}


def sheet_from(form: Mapping[str, str]) -> Sheet:
    """The fields as somebody sent them; one that a page of an older Porch did not have is not there."""
    sheet = {name: _unix(form[name]) for name in FIELDS if name in form}
    return sheet | {name: "on" for name in form if name.startswith(BOXES)}


def read_revision(form: Mapping[str, str]) -> int:
    """The revision of the draft that a form was written over. Raises InvalidInput for what is none."""
    sent = form.get("revision", "")
    if re.fullmatch(r"\d{1,9}", sent, re.ASCII):
        return int(sent)
    said = f"says {sent[:40]!r}" if sent else "says nothing"
    raise InvalidInput(
        f"Nothing was changed: the form must say by a number which revision of the draft it is about, and it {said}. "
        "Reload the page and send it again.",
        errors=[{"pointer": "/revision", "detail": "not a revision"}],
    )


def read_next(form: Mapping[str, str], known: str) -> bool:
    """Whether the form wants to go on to `known` afterwards. Raises InvalidInput for another place."""
    sent = form.get("then", "")
    if sent not in ("", known):
        raise InvalidInput(
            f"Nothing was changed: from this form one goes on to {known!r} or nowhere, and it says {sent[:40]!r}. "
            "Reload the page and send it again.",
            errors=[{"pointer": "/then", "detail": f"not {known!r}"}],
        )
    return sent == known


def read_changes(sheet: Sheet, draft: Definition) -> dict[str, Any]:
    """What the sheet says otherwise than the draft, for `apply_changes`; empty when they agree. Raises SheetError."""
    before = sheet_of(draft)
    # A field that is not there says nothing; a tool that is not there is not ticked.
    compared = {name for name in {*sheet, *before} if name in sheet or name.startswith(TOOL)}
    changed = {name for name in compared if sheet.get(name, "") != before.get(name, "")}
    patch: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    errors: list[dict[str, str]] = []
    for name in FIELDS:
        if name not in changed:
            continue
        try:
            value = _READERS[name](sheet[name])
        except FieldError as error:
            errors.append({"pointer": f"/{name}", "detail": str(error)})
            continue
        (settings if name in SETTINGS else patch)[name] = value
    if fault := _choice_fault(sheet, changed):
        errors.append({"pointer": "/tool_choice", "detail": fault})
    if errors:
        raise SheetError("Some of the fields cannot be used as they are.", errors=errors)
    if "fallbacks" in patch or "model" in patch:
        first = patch.get("model", draft.models[0])
        others = patch.pop("fallbacks", draft.models[1:])
        patch["model"] = [first, *others] if others else first
    if settings:
        patch["settings"] = settings
    if any(name.startswith(TOOL) for name in changed):
        patch["tools"] = _tools(sheet, draft) or None
    return patch | _approval(sheet, draft)


def apply_changes(draft: Definition, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The draft's JSON value with `read_changes`' changes made: each key and each setting is replaced whole.

    A merge patch could not: within an answer's schema, null and absent are two things.
    """
    value = definition_value(draft)
    wanted: dict[str, Any] = {**value, **changes}
    if "settings" in changes:
        settings: dict[str, Any] = {**value.get("settings", {}), **changes["settings"]}
        wanted["settings"] = {name: kept for name, kept in settings.items() if kept is not None}
    return {name: kept for name, kept in wanted.items() if kept is not None}


def field_of(pointer: str) -> str:
    """The form's field for a place in a definition, "" when it has none."""
    first, _, rest = pointer.strip("/").partition("/")
    if first == "settings":
        first = rest.partition("/")[0]
    if first == "tools":
        return "tools"
    return first if first in FIELDS else ""


def _tools(sheet: Sheet, draft: Definition) -> list[str]:
    """The ticked tools: those of the draft in its order, then the others."""
    ticked = {name.removeprefix(TOOL) for name in sheet if name.startswith(TOOL)}
    kept = [tool for tool in dict.fromkeys(draft.tools or []) if tool in ticked]
    return kept + sorted(ticked - set(kept))


def _approval(sheet: Sheet, draft: Definition) -> dict[str, Any]:
    """The tools that wait for a person, where that changed: only one that the agent has can."""
    before = draft.approval.tools if draft.approval else []
    wanted = [name.removeprefix(ASK) for name in sheet if name.startswith(ASK)] if ASK in sheet else before
    asked = [tool for tool in _tools(sheet, draft) if tool in wanted]
    if sorted(asked) == sorted(before):
        return {}
    kept = cast("dict[str, Any]", msgspec.to_builtins(draft.approval)) if draft.approval else {}
    return {"approval": {**kept, "tools": asked} if asked else None}


def _choice_fault(sheet: Sheet, changed: set[str]) -> str:
    """Why a tool that must be called cannot be, "" where it can or is as it was."""
    wanted = sheet.get("tool_choice", "").strip()
    asked = "tool_choice" in changed or any(name.startswith(TOOL) for name in changed)
    if not asked or not wanted or wanted in CHOICES or TOOL + wanted in sheet:
        return ""
    return f"It must call {wanted[:60]!r}, which is not ticked under Tools. Tick it, or choose otherwise."


def _handle(text: str) -> str:
    if not HANDLE.fullmatch(text.strip()):
        raise FieldError(
            "Use 1 to 40 lower-case letters, digits and hyphens, with a letter or digit at both ends."
        )
    return text.strip()


def _line(longest: int) -> Callable[[str], str | None]:
    def read(text: str) -> str | None:
        line = text.strip()
        if len(line) > longest:
            raise FieldError(f"This has {len(line):,} characters; shorten it to {longest}.")
        return line or None

    return read


def _instructions(text: str) -> str:
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_INSTRUCTIONS_BYTES:
        raise FieldError(
            f"They are {size / 1024:,.0f} KiB long; an agent takes {MAX_INSTRUCTIONS_BYTES // 1024} KiB. Shorten them."
        )
    return text


def _questions(text: str) -> list[str] | None:
    found: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if fault := question_fault(line.strip()):
            raise FieldError(f"Line {number} {fault}")
        found.append(line.strip())
        if len(found) > MAX_QUESTIONS:
            raise FieldError(f"Line {number} is one too many: keep the best {MAX_QUESTIONS}.")
    return found or None


def _model(text: str) -> str:
    if not MODEL.fullmatch(text.strip()):
        raise FieldError('Write "provider:model", such as local:smollm2.')
    return text.strip()


def _models(text: str) -> list[str]:
    return [_model(line) for line in text.split("\n") if line.strip()]


def _fraction(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text.strip().replace(",", "."))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FieldError("Write a number such as 0.4, or leave it empty.")
    return number


def _whole(lowest: int, highest: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        digits = text.strip()
        if not digits:
            return None
        if not re.fullmatch(r"-?\d{1,16}", digits, re.ASCII) or not lowest <= int(digits) <= highest:
            raise FieldError(f"Write a whole number from {lowest:,} to {highest:,}, or leave it empty.")
        return int(digits)

    return read


def _stops(text: str) -> list[str] | None:
    return [_unescaped(line) for line in text.split("\n") if line] or None


def _one_of(*known: str) -> Callable[[str], str | None]:
    def read(text: str) -> str | None:
        if text.strip() and text.strip() not in known:
            raise FieldError(f"Write {', '.join(known[:-1])} or {known[-1]}, or leave it empty.")
        return text.strip() or None

    return read


def _choice(text: str) -> str | None:
    if not re.fullmatch(r"\S{0,128}", text.strip()):
        raise FieldError("Write auto, none, required or the name of one tool, or leave it empty.")
    return text.strip() or None


def _yes_or_no(text: str) -> bool | None:
    said = _one_of("yes", "no")(text)
    return said == "yes" if said else None


def _schema(text: str) -> dict[str, Any] | None:
    if not text.strip():
        return None
    try:
        value: object = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError) as error:
        raise FieldError(_json_fault(text) or f"This is no JSON: {error}.") from None
    except RecursionError:
        raise FieldError("This nests too deep to be read; a schema is simpler than that.") from None
    if fault := schema_fault(value):
        raise FieldError(fault)
    return cast("dict[str, Any]", value)


def _json_fault(text: str) -> str:
    """Where a text ceases to be JSON, "" where only a stricter reader than Python's finds out."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        return f"This is no JSON: {what}, at line {error.lineno}, column {error.colno}."
    except (ValueError, RecursionError):
        return ""
    return ""


_READERS: dict[str, Callable[[str], Any]] = {
    "name": _handle,
    "title": _line(MAX_TITLE),
    "description": _line(MAX_DESCRIPTION),
    "instructions": _instructions,
    "questions": _questions,
    "model": _model,
    "fallbacks": _models,
    "concurrency": _one_of(*CONCURRENCY),
    "temperature": _fraction,
    "top_p": _fraction,
    "max_output_tokens": _whole(1, MAX_TOKENS),
    "max_steps": _whole(1, MAX_STEPS),
    "seed": _whole(-MAX_SEED, MAX_SEED),
    "stop": _stops,
    "reasoning_effort": _one_of(*EFFORTS),
    "tool_choice": _choice,
    "parallel_tool_calls": _yes_or_no,
    "response_schema": _schema,
    "cache": _yes_or_no,
}


def _shown(value: object) -> str:
    """A setting as it stands in its field."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return "\n".join(_escaped(text) for text in cast("list[str]", value))
        case dict():
            return json.dumps(value, ensure_ascii=False, indent=2)
        case _:
            return str(value)


def _unix(text: str) -> str:
    """Line ends as LF: a browser sends every one as CRLF (HTML, 4.10.21.5)."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(n|\\)", lambda found: "\n" if found[1] == "n" else "\\", text)
