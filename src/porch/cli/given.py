"""What a person gives: texts as an option, in a file, on stdin or in an editor, and limits as a number or a word."""

import sys
from pathlib import Path

import click

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


def read_limit(text: str, *, of: str, example: int, none: str) -> int | None:
    """A limit as a number, or None for the word `none`. Raises BadParameter for anything else."""
    if text == none:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise click.BadParameter(f"{text[:60]!r} is no number of {of}; write {example}, or {none}.")
    # Beyond every limit there is, and int() takes no thousands of digits.
    return int(text.lstrip("0")[:18] or 0)


def not_utf8(what: str) -> str:
    """The sentence for text in another encoding."""
    return f"{what} is not UTF-8 text; convert it (iconv -t UTF-8), or set the terminal to UTF-8."


def _decode(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(not_utf8(what)) from error
