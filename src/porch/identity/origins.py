"""Origins: the sites that may embed an agent, spelled as browsers send them.

Source: the URL standard's serialisation of an origin (https://url.spec.whatwg.org/#origin), RFC 6454.
"""

import ipaddress
import re
from collections.abc import Sequence

from yarl import URL

from porch.contract.errors import Forbidden, InvalidInput

MAX_ORIGINS = 50
MAX_LENGTH = 300
EXAMPLE = "write it like 'https://example.com'"
# Where a page may come without TLS, for this is the visitor's own machine.
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
DEFAULT_PORTS = {"https": "443", "http": "80"}
_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_SENT = re.compile(r"https?://[a-z0-9_.:\[\]-]{1,290}")


class OriginNotAllowed(Forbidden):
    """Raised when a page asks whose site does not embed the agent, or not with this token."""

    code = "origin_not_allowed"


def is_sent_origin(text: str) -> bool:
    """Whether this can be a website's origin as a browser sends it; `null` is none, nor are capitals."""
    return _SENT.fullmatch(text) is not None


def parse_origins(given: Sequence[str]) -> list[str]:
    """The origins as browsers spell them, each once, in this order. Raises InvalidInput with all that is wrong."""
    found: dict[str, None] = {}
    errors: list[dict[str, str]] = []
    for at, text in enumerate(given):
        try:
            found[parse_origin(text)] = None
        except InvalidInput as error:
            errors.append({"pointer": f"/origins/{at}", "detail": error.message})
    if errors:
        more = f" ({len(errors) - 1} more in errors.)" if len(errors) > 1 else ""
        raise InvalidInput(errors[0]["detail"] + more, errors=errors)
    if len(found) > MAX_ORIGINS:
        raise InvalidInput(
            f"These are {len(found)} origins; the limit is {MAX_ORIGINS}. Leave some out.",
            errors=[{"pointer": "/origins", "detail": f"more than {MAX_ORIGINS}"}],
        )
    return list(found)


def parse_origin(text: str) -> str:
    """One origin as browsers spell it: lower case, its name in ASCII, no port that is the scheme's own.

    Raises InvalidInput that says what to change.
    """
    shown = text if len(text) <= 80 else text[:80] + "…"
    shape = _SHAPE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if "*" in text:
        raise InvalidInput(
            f"{shown!r} holds a wildcard, and each site is named by itself; {EXAMPLE}, one for each."
        )
    if shape is None:
        raise InvalidInput(f"{shown!r} is no origin; {EXAMPLE}.")
    scheme, authority, rest = shape[1].lower(), shape[2], shape[3]
    if scheme not in DEFAULT_PORTS:
        raise InvalidInput(f"{shown!r} is no website's origin: it begins with {scheme + ':'!r}; {EXAMPLE}.")
    if rest:
        raise InvalidInput(
            f"{shown!r} goes on behind the site's name; an origin ends there: leave out {rest[:40]!r}."
        )
    parts = _AUTHORITY.fullmatch(authority)
    host = _host(parts[1]) if parts and "@" not in authority else None
    if parts is None or host is None:
        raise InvalidInput(f"{shown!r} names no host that a browser could open; {EXAMPLE}.")
    if scheme == "http" and host not in LOCAL:
        raise InvalidInput(
            f"{shown!r} is not encrypted, so anybody on the way could speak for it; use 'https://…'. "
            "Only localhost, 127.0.0.1 and [::1] may go without."
        )
    port = parts[2]
    if port is not None and not 0 < int(port) < 65536:
        raise InvalidInput(f"{shown!r} has a port that cannot be one; it is 1 to 65535.")
    if port is None or str(int(port)) == DEFAULT_PORTS[scheme]:
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}"


def _host(text: str) -> str | None:
    """A host as browsers spell it, None for what is none."""
    if text.startswith("["):
        return _ipv6(text[1:-1])
    try:
        name = URL.build(scheme="https", host=text).raw_host or ""
    except ValueError:
        return None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    # Browsers read a name whose last label is a number as an IPv4 address, in whatever base.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            return None
    return name


def _ipv6(text: str) -> str | None:
    try:
        found = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    # A mapped one is spelled differently by browsers and by Pythons; its site has an IPv4 address.
    return None if found.ipv4_mapped else f"[{found.compressed}]"
