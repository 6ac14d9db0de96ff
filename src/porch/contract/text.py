"""Text that every store and wire can carry: whole code points, no NUL."""

import re
from typing import Any, cast

from porch.contract.errors import InvalidInput

NUL = "\x00"
REPLACEMENT = "\ufffd"
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE = re.compile("[\ud800-\udfff]")


def join_surrogates(text: str) -> str:
    """Surrogate pairs become the character they stand for, lone ones U+FFFD."""
    if text.isascii():
        return text
    text = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _LONE.sub(REPLACEMENT, text)


def clean_text(text: str) -> str:
    """Text with lone surrogates and NUL replaced by U+FFFD."""
    return join_surrogates(text).replace(NUL, REPLACEMENT)


def clean_json(value: Any) -> Any:
    """A JSON value with every text in it cleaned, keys included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {clean_text(key): clean_json(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in cast("list[Any]", value)]
    return value


def check_text(text: str, what: str, max_bytes: int) -> str:
    """Text from outside as it stands, or InvalidInput for NUL, lone surrogates, or more than `max_bytes`."""
    if NUL in text:
        raise InvalidInput(f"{what} contains a NUL character (U+0000), which cannot be stored; remove it.")
    if _LONE.search(text):
        raise InvalidInput(f"{what} contains half of a surrogate pair, which is no character; remove it.")
    size = len(text.encode())
    if size > max_bytes:
        raise InvalidInput(f"{what} is {size:,} bytes long; the limit is {max_bytes:,}. Shorten or split it.")
    return text
