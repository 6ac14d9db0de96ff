"""What may stand in a setting, and what is said of what may not."""

import re
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from porch.contract.errors import SetupError
from porch.settings.model import DATABASES, SECRET, Settings

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
ARCHIVE_URL = re.compile(r"file:///[^?#]*[^?#/]|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#@]*)?")
URLS = {
    "live_url": ("(valkey|redis)s?", "valkey://:password@host:6379"),
    "egress_proxy": ("https?", "http://proxy.example:3128"),
    "otlp_endpoint": ("https?", "http://collector.example:4318"),
}
PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]?#*,]+):([0-9]{1,5})")


def read_words(name: str, text: str) -> Any:
    """A variable's text as what the setting's kind is written as in TOML."""
    default = getattr(Settings(), name)
    if isinstance(default, bool):
        word = text.strip().lower()
        return word in YES if word in YES + NO else text
    if isinstance(default, tuple):
        return [item.strip() for item in text.split(",") if item.strip()]
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            return text
    return text


def convert(name: str, value: Any, origin: str) -> Any:
    """A setting's value as its kind. Raises SetupError that says what to write instead."""
    if name == "data_dir":
        if isinstance(value, str | Path) and str(value):
            return Path(value)
        raise SetupError(f'{origin} must be the path of a folder, such as "~/.porch".')
    try:
        value = msgspec.convert(value, Settings.__annotations__[name])
    except msgspec.ValidationError:
        shown = "" if name in SECRET else f" ({value!r})"
        raise SetupError(f"{origin}{shown} cannot be used: write {_describe(name)}.") from None
    if name in DATABASES and value is not None and not re.match(r"postgres(ql)?://", value):
        raise SetupError(f"{origin} cannot be used: write postgresql://user:password@host:5432/database.")
    if name in URLS and value is not None and not _leads_somewhere(URLS[name][0], value):
        raise SetupError(
            f"{origin} cannot be used: write {URLS[name][1]}. The port is a number up to 65535; / ? # @ in a "
            "password are %2F %3F %23 %40."
        )
    if name == "public_url" and value is not None and not PUBLIC_URL.fullmatch(cast("str", value)):
        raise SetupError(
            f"{origin} ({value!r}) cannot be used: write https://porch.example, with no path behind the host."
        )
    if name == "archive_url" and value is not None and not ARCHIVE_URL.fullmatch(cast("str", value)):
        raise SetupError(
            f"{origin} cannot be used: write file:///srv/porch-archive or s3://bucket/prefix. A bucket's name has 3 "
            "to 63 small letters, digits, dots and hyphens. Keys go into the AWS_* variables."
        )
    if name == "egress_allow":
        _check_places(cast("tuple[str, ...]", value), origin)
    if name == "host" and not re.fullmatch(r"[A-Za-z0-9.:_-]+", cast("str", value)):
        raise SetupError(
            f"{origin} ({value!r}) is no host: write localhost, 0.0.0.0, :: or an address of yours."
        )
    return value


def _leads_somewhere(schemes: str, url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(re.fullmatch(schemes, parts.scheme) and parts.hostname and parts.port != 0)
    except ValueError:  # of a port or an address that is none
        return False


def _check_places(places: tuple[str, ...], origin: str) -> None:
    for place in places:
        match = PLACE.fullmatch(place)
        if match is None or not 0 < int(match[2]) < 65536:
            raise SetupError(
                f"{origin} ({place!r}) cannot be used: write a host and its port, gpu.example.lan:8000."
            )


def _describe(name: str) -> str:
    from msgspec import inspect  # a good part of this module's import time, for errors alone

    kind: Any = inspect.type_info(Settings.__annotations__[name])
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    match kind:
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            low = f"from {kind.ge}" if kind.ge is not None else f"above {kind.gt}"
            return (
                f"{'a whole number' if isinstance(kind, inspect.IntType) else 'a number'} {low} to {kind.le}"
            )
        case inspect.VarTupleType():
            return "a list of texts"
        case _:
            return "a text"
