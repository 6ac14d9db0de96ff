"""What a provider says went wrong: read out of any body, sorted into the taxonomy, quoted without secrets."""

import json
import re
from dataclasses import dataclass
from typing import Any, cast

from porch.contract.errors import Category
from porch.contract.text import clean_text

QUOTE_CHARS = 300

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
    ("insufficient_quota", "quota"),
    ("billing", "quota"),
    ("insufficient_balance", "quota"),
    ("content_filter", "content_filtered"),
    ("content_policy", "content_filtered"),
    ("responsibleai", "content_filtered"),
)
_BROAD: tuple[tuple[str, Category], ...] = (
    ("rate_limit", "rate_limit"),
    ("too_many_requests", "rate_limit"),
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
)
_WORDS: tuple[tuple[re.Pattern[str], Category], ...] = (
    (
        re.compile(
            r"context (?:length|window|size)|maximum context|too many tokens|prompt is too long"
            r"|input (?:is )?too long|exceeds? the (?:available |model's )?context|reduce the length",
            re.IGNORECASE,
        ),
        "context_too_long",
    ),
    (
        re.compile(r"quota|credit balance|billing|insufficient (?:funds|balance|credits)", re.IGNORECASE),
        "quota",
    ),
    (
        re.compile(r"content (?:management )?polic|content.filter|safety system", re.IGNORECASE),
        "content_filtered",
    ),
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
                return category
        return next((category for part, category in _BROAD if part in self.codes), None)

    @property
    def is_error(self) -> bool:
        """Whether the codes alone say that it is one."""
        return self.status is not None or "error" in self.codes


def categorise(status: int | None, complaint: Complaint) -> Category:
    """One category out of an HTTP status and what was said beside it."""
    said = complaint.category
    if status is None:
        return said or "overloaded"
    # A status is coarse: 400 and 429 stand for these too.
    if said in _ALL and status not in (401, 404):
        return said
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
        status=next((status for status in statuses if _is_status(status)), None),
    )


def quote(text: str, key: str | None) -> str:
    """A provider's words for a person: one line, bounded, and without what looks like a credential."""
    if key:
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


def _is_status(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600
