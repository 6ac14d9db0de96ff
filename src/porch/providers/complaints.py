"""What a provider says went wrong: read out of any body, sorted into the taxonomy, quoted without secrets."""

import json
import re
from dataclasses import dataclass
from typing import Any, cast

from porch.contract.errors import Category
from porch.contract.text import clean_text

QUOTE_CHARS = 300
SHORTEST_SECRET = 8

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|key|api|porch|ghp)[-_][-_.*A-Za-z0-9]{8,}"
    r"|\bAIza[-_A-Za-z0-9]{20,}|\beyJ[-_.A-Za-z0-9]{20,}|\b(?i:bearer)\s+\S{8,}"
)
_BY_STATUS: dict[int, Category] = {
    400: "bad_request",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    409: "overloaded",
    413: "context_too_long",
    422: "bad_request",
    425: "overloaded",
    429: "rate_limit",
    498: "overloaded",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
# Parts of `code`, `type` or `status` values: the narrow go before a message's words, the broad after.
_NARROW: tuple[tuple[str, Category], ...] = (
    ("context_length", "context_too_long"),
    ("exceed_context", "context_too_long"),
    ("string_above_max", "context_too_long"),
    ("request_too_large", "context_too_long"),
    ("insufficient_quota", "quota"),
    ("billing", "quota"),
    ("insufficient_balance", "quota"),
    ("freetieronly", "quota"),
    ("arrearage", "quota"),
    ("throttling", "rate_limit"),
    ("content_filter", "content_filtered"),
    ("content_policy", "content_filtered"),
    ("data_inspection", "content_filtered"),
    ("datainspection", "content_filtered"),
    ("responsibleai", "content_filtered"),
    ("image_file_not_found", "bad_request"),
    ("invalid_encrypted_content", "bad_request"),
)
_BROAD: tuple[tuple[str, Category], ...] = (
    ("rate_limit", "rate_limit"),
    ("too_many_requests", "rate_limit"),
    ("slow_down", "rate_limit"),
    ("usage_limit", "quota"),
    ("resource_exhausted", "rate_limit"),
    ("overloaded", "overloaded"),
    ("unavailable", "overloaded"),
    ("capacity", "overloaded"),
    ("insufficient_system_resource", "overloaded"),
    ("moderation", "content_filtered"),
    ("payment", "quota"),
    ("api_key", "auth"),
    ("authentication", "auth"),
    ("permission", "auth"),
    ("unauthorized", "auth"),
    ("not_found", "not_found"),
    ("timeout", "timeout"),
    ("server_error", "overloaded"),
    ("api_error", "overloaded"),
    ("internal", "overloaded"),
    ("invalid", "bad_request"),
    ("bad_request", "bad_request"),
    ("tool_use_failed", "bad_request"),
    ("image", "bad_request"),
)
_WORDS: tuple[tuple[re.Pattern[str], Category], ...] = (
    (
        re.compile(
            r"context (?:length|window|size)|maximum context|too many tokens|prompt is too long"
            r"|input (?:is )?too long|exceeds? the (?:available |model's )?context|reduce the length"
            r"|exceeds? context limit|request too large for|maximum prompt length|exceeds? max length"
            r"|range of input length|token count.{0,40}exceeds the|exceeded model token limit"
            r"|tokens \+ .max_new_tokens. must be",
            re.IGNORECASE,
        ),
        "context_too_long",
    ),
    (
        re.compile(
            r"(?<!check )quota|credit balance|billing|insufficient (?:funds|balance|credits)|specified API usage limit"
            r"|used all available credits|spending limit",
            re.IGNORECASE,
        ),
        "quota",
    ),
    (
        re.compile(
            r"(?:content|usage) (?:management )?polic|content.filter|safety system|input was flagged"
            r"|usage guidelines|(?:inappropriate|sensitive) content|content exists risk",
            re.IGNORECASE,
        ),
        "content_filtered",
    ),
    (
        re.compile(
            r"(?:incorrect|invalid) (?:x-)?api[ -]key|api key (?:is |has )?(?:not valid|invalid|expired)"
            r"|location is not supported",
            re.IGNORECASE,
        ),
        "auth",
    ),
    (
        re.compile(
            r"invalid model(?: id| name)?(?::| ['\"`])|not a valid model|model not exist"
            r"|\bmodel .{0,80}(?:does not exist|not found)",
            re.IGNORECASE,
        ),
        "not_found",
    ),
    (re.compile(r"rate.?limit|too many requests", re.IGNORECASE), "rate_limit"),
)
# "Please try again in 1m30.5s", "retry after 20 seconds"
_WAIT = re.compile(
    r"(?:try again|retry)\s+(?:in|after)\s+(?:(\d{1,3})h)?(?:(\d{1,4})m(?!s))?"
    r"(?:(\d{1,6}(?:\.\d{1,9})?)\s?(ms|s\b|seconds?\b))?",
    re.IGNORECASE,
)
# What a request asked for in vain, though the model is there.
_UNABLE = re.compile(r"no endpoints found (?:that support|matching)", re.IGNORECASE)
_BAD_KEY = re.compile(
    r"(?:incorrect|invalid|wrong|expired|revoked|disabled|missing) (?:x-)?(?:api[ _-]?key|credentials|token)"
    r"|api[ _-]?key[^.]{0,40}(?:not valid|invalid|expired|revoked|leaked|disabled)|(?:invalid_api_key|authentication)",
    re.IGNORECASE,
)
_NO_ACCESS = re.compile(
    r"permission|missing scopes|access ?denied|not have access|not allowed|country|region|location is not supported",
    re.IGNORECASE,
)
_ALL: tuple[Category, ...] = ("context_too_long", "quota", "content_filtered")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A provider's words, its own codes in lower case, and an HTTP status where the body holds one."""

    text: str = ""
    codes: str = ""
    status: int | None = None

    @property
    def category(self) -> Category | None:
        """What the words and codes come to."""
        for part, category in _NARROW:
            if part in self.codes:
                return category
        for pattern, category in _WORDS:
            if pattern.search(self.text):
                # Google calls what is allowed in a minute a quota, too.
                return "rate_limit" if category == "quota" and self.wait is not None else category
        return next((category for part, category in _BROAD if part in self.codes), None)

    @property
    def wait(self) -> float | None:
        """The seconds after which the provider's words say to try again."""
        match = _WAIT.search(self.text)
        if match is None or not any(match.groups()):
            return None
        hours, minutes, number, unit = match.groups()
        seconds = float(number or 0) * (0.001 if unit and unit.lower() == "ms" else 1)
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds

    @property
    def is_error(self) -> bool:
        """Whether the codes alone say that it is one."""
        return self.status is not None or "error" in self.codes


def blames_key(status: int | None, complaint: Complaint) -> bool:
    """Whether a refusal means the key itself, and not what it may be used for: a model, a place, a scope."""
    said = f"{complaint.codes} {complaint.text}"
    if _BAD_KEY.search(said):
        return True
    return status != 403 and not _NO_ACCESS.search(said)


def categorise(status: int | None, complaint: Complaint) -> Category:
    """One category out of an HTTP status and what was said beside it."""
    said = complaint.category
    if status is None:
        return said or "overloaded"
    # A status is coarse: 400 and 429 stand for these too.
    if said in _ALL and status not in (401, 404):
        return said
    if said is not None and (said, status) in (("auth", 400), ("not_found", 400), ("not_found", 403)):
        return said
    if status == 404 and _UNABLE.search(complaint.text):
        return "bad_request"
    return _BY_STATUS.get(status) or ("overloaded" if status >= 500 else said or "bad_request")


def read_complaint(body: bytes) -> Complaint:
    """What an error body says: JSON of any shape, HTML, plain text, or nothing."""
    try:
        return understand(json.loads(body))
    except (ValueError, RecursionError):
        pass
    text = body[: QUOTE_CHARS * 8].decode("utf-8", "replace").strip()
    if text[:1] == "<":
        title = re.search(r"<(?:title|h1)[^>]{0,200}>([^<]{1,200})", text, re.IGNORECASE)
        return Complaint(text=f"an HTML page{f' titled {title[1].strip()!r}' if title else ''}")
    return Complaint(text=text)


def understand(value: object, *, depth: int = 4) -> Complaint:
    """What a decoded error object says: OpenAI's shape, Google's list, FastAPI's `detail`, or plain text."""
    if isinstance(value, list) and value:
        value = cast("list[object]", value)[0]
    if not isinstance(value, dict):
        return Complaint(text=str(value) if isinstance(value, str | int) else "")
    record = cast("dict[str, Any]", value)
    inner: object = record.get("error")
    if isinstance(inner, dict | list) and inner and depth:
        return understand(cast("object", inner), depth=depth - 1)
    metadata: object = record.get("metadata")
    raw: object = cast("dict[str, Any]", metadata).get("raw") if isinstance(metadata, dict) else None
    names = ("message", "detail", "msg", "error_description")
    texts: list[Any] = [inner, *(record.get(name) for name in names), raw]
    said = [text if isinstance(text, str) else _dump(text) for text in texts if text]
    codes = [record.get(name) for name in ("code", "type", "status", "error_type", "object")]
    statuses = [record.get(name) for name in ("status_code", "code", "status")]
    return Complaint(
        text="; ".join(said[:2]),
        codes=" ".join(str(code)[:100] for code in codes if isinstance(code, str | int)).lower(),
        status=next((found for status in statuses if (found := _status(status))), None),
    )


def quote(text: str, key: str | None) -> str:
    """A provider's words for a person: one line, bounded, and without what looks like a credential."""
    # What is shorter is no secret but a word that a keyless server is content with: "x", "none", "EMPTY".
    if key and len(key) >= SHORTEST_SECRET:
        text = text.replace(key, "[redacted]")
    text = _SECRET.sub("[redacted]", clean_text(text[: QUOTE_CHARS * 8]))
    text = " ".join(text.split())
    text = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return text if len(text) <= QUOTE_CHARS else text[:QUOTE_CHARS] + "…"


def _dump(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _status(value: object) -> int | None:
    """An HTTP status of an error, which some write as text."""
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600 else None
