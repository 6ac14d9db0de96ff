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
# RFC 8414 and OpenID Connect Discovery: https, no query and no fragment. This machine may go without TLS.
ISSUER_URL = re.compile(
    r"(https://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:\d{1,5})?(/[^\s?#@\\]*)?"
)
URLS = {
    "live_url": ("(valkey|redis)s?", "valkey://:password@host:6379"),
    "egress_proxy": ("https?", "http://proxy.example:3128"),
    "otlp_endpoint": ("https?", "http://collector.example:4318"),
}
# The first two make a provider, the others say more of it.
OIDC = ("oidc_issuer", "oidc_client_id", "oidc_client_secret", "oidc_name")
LONGEST_OIDC, LONGEST_OIDC_NAME = 1000, 40
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
    if name.startswith("oidc_") and value is not None:
        _check_oidc(name, cast("str", value), origin)
    if name == "egress_allow":
        _check_places(cast("tuple[str, ...]", value), origin)
    if name == "host" and not re.fullmatch(r"[A-Za-z0-9.:_-]+", cast("str", value)):
        raise SetupError(
            f"{origin} ({value!r}) is no host: write localhost, 0.0.0.0, :: or an address of yours."
        )
    return value


def check_together(settings: Settings) -> None:
    """Raise SetupError for settings that mean something only beside others, which are not there."""
    given = [name for name in OIDC if getattr(settings, name)]
    missing = [name for name in OIDC[:2] if name not in given]
    if given and missing:
        raise SetupError(
            f"{given[0]} needs {' and '.join(missing)} besides, to sign people in by OpenID Connect. Set "
            f"{' and '.join('PORCH_' + name.upper() for name in missing)}, or leave out all that begins with oidc_."
        )


def _check_oidc(name: str, value: str, origin: str) -> None:
    """What a provider is told and called. A client's secret is never repeated."""
    if name == "oidc_issuer" and not (
        len(value) <= 500 and ISSUER_URL.fullmatch(value) and _leads_somewhere("https?", value)
    ):
        raise SetupError(
            f"{origin} cannot be used: write the provider's issuer just as it spells it, https://id.example, without "
            "user, query and fragment. Only localhost, 127.0.0.1 and [::1] may go without TLS."
        )
    if not (value == value.strip() and value and value.isprintable() and len(value) <= LONGEST_OIDC):
        raise SetupError(
            f"{origin} cannot be used: write 1 to {LONGEST_OIDC} printable characters, with no space at either end."
        )
    if name == "oidc_name" and len(value) > LONGEST_OIDC_NAME:
        raise SetupError(f"{origin} is too long for a button: write {LONGEST_OIDC_NAME} characters at most.")


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
