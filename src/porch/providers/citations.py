"""A citation as the OpenAI dialects spell it: with its fields beside its type or below it, or a bare address."""

from typing import Any, cast

from porch.providers.assembly import Assembly

_TITLES = ("title", "filename", "file_id")
_QUOTES = ("quote", "snippet", "content")


def cite(assembly: Assembly, part: str | None, value: Any) -> bool:
    """Report a citation of a part by its id; False for what is none."""
    if isinstance(value, str):
        value = {"url": value}
    if not isinstance(value, dict):
        return False
    fields = cast("dict[str, Any]", value)
    inner = fields.get(str(fields.get("type")))
    if isinstance(inner, dict):
        fields = fields | cast("dict[str, Any]", inner)
    url, title = _text(fields.get("url")), _first(fields, _TITLES)
    if not (url or title):
        return False
    start, end = _count(fields.get("start_index")), _count(fields.get("end_index"))
    if not end:  # some servers do not know the place, and say 0
        start = end = None
    assembly.cite(part, url=url, title=title, text=_first(fields, _QUOTES), start=start, end=end)
    return True


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := _text(fields.get(name)))), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None
