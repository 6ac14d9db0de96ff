"""Texts that a person gives: as an option, in a file, on stdin, or in an editor."""

import sys
from pathlib import Path

from porch.contract.errors import InvalidInput


def read_stdin(what: str) -> str:
    """All of stdin. Raises InvalidInput when it is not UTF-8."""
    return _decode(sys.stdin.buffer.read(), what)


def read_file(path: Path, what: str) -> str:
    """A file's text; `-` is stdin. Raises InvalidInput when it cannot be read or is not UTF-8."""
    if str(path) == "-":
        return read_stdin(what)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    return _decode(content, what)


def not_utf8(what: str) -> str:
    """The sentence for text in another encoding."""
    return f"{what} is not UTF-8 text; convert it (iconv -t UTF-8), or set the terminal to UTF-8."


def _decode(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(not_utf8(what)) from error
