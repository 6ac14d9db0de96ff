"""Who wrote a URL, and what may be asked for that."""

import ipaddress
import re
from enum import Enum
from typing import NamedTuple

from yarl import URL

from porch.egress.addresses import refuse_address
from porch.egress.failures import EgressError

SCHEMES = frozenset({"http", "https"})
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,254}}\Z)(?:{_LABEL}\.)*{_LABEL}\.?", re.ASCII)
# Resolvers read these last labels as IPv4 in decimal, octal, hexadecimal or short (inet_aton(3)).
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
# RFC 6761, 6762, 8375, and ICANN's reservation of .internal.
_LOCAL = ("localhost", "local", "internal", "home.arpa", "invalid", "test", "onion")


class Reach(Enum):
    """Whose word a URL is, which decides how far a request for it may go."""

    PUBLIC = "public"
    """Anyone may have written it: the public internet alone, and what the operator allows everyone."""
    OPERATOR = "operator"
    """Whoever runs this Porch wrote it into its settings or environment: wherever that leads."""


class Place(NamedTuple):
    """A host, as `name_place` spells it, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_place(text: str) -> Place:
    """The place that `host:port` names; `[…]:port` for IPv6. Raises ValueError."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]?#*]+):([0-9]{1,5})", text.strip())
    try:
        place = name_place(parse_url(f"http://{match[1]}:{match[2]}")) if match else Place("", 0)
        if ":" in place.host:
            ipaddress.IPv6Address(place.host)
    except ValueError:
        place = Place("", 0)
    if not place.host or not place.port:
        raise ValueError(f"{text!r} is not host:port")
    return place


def name_place(url: URL) -> Place:
    """A URL's place, the same for every spelling of a host's name."""
    return Place((url.raw_host or "").rstrip(".").lower(), url.port or 0)


def parse_url(text: str) -> URL:
    """A URL of any kind. Raises ValueError."""
    try:
        return URL(text)
    except IndexError as error:
        # yarl 1.25, for one whose host is empty behind brackets before an @.
        raise ValueError("not a URL") from error


def read_url(url: str) -> URL:
    """The URL as it will be asked. Raises EgressError for one that cannot be."""
    try:
        read = parse_url(url)
    except ValueError:
        read = None
    if read is None or read.scheme not in SCHEMES or not read.raw_host or not read.port:
        raise EgressError("The address is not a URL that can be asked.", "address")
    return read


def find_origin(url: URL) -> tuple[str, Place]:
    """Scheme, host and port (RFC 6454): what a credential belongs to."""
    return url.scheme, name_place(url)


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common, as they will be asked."""
    try:
        return find_origin(read_url(one)) == find_origin(read_url(other))
    except EgressError:
        return False


def check_public(url: URL, *, resolved_here: bool = True) -> None:
    """Raise EgressError unless the URL's words may be asked in public; its name's addresses are another check.

    Without `resolved_here` a proxy will resolve the name: then the names of local networks are refused by
    themselves, which is all that can be known.
    """
    why = _refuse_host(url.raw_host or "")
    if why is None and not resolved_here and _is_local(name_place(url).host):
        why = "a name of a local network"
    if why:
        raise not_allowed(name_place(url))


def refuse_user(url: URL) -> None:
    """Raise EgressError for a URL with a user or password in it, which would end up in logs."""
    if url.raw_user is not None or url.raw_password is not None:
        raise EgressError("The address has a user or password in it; leave it out.", "address")


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine by its very name or number."""
    return host == "localhost" or refuse_address(host) == "loopback"


def not_allowed(place: Place) -> EgressError:
    """The error for a place outside the public internet. It does not tell where its name leads."""
    return EgressError(
        f"{place.host!r} is not on the public internet, so it is not asked. Whoever runs this Porch can allow it: "
        f"PORCH_EGRESS_ALLOW={place}.",
        "forbidden",
    )


def _refuse_host(host: str) -> str | None:
    if ":" in host or _is_dotted(host):
        return refuse_address(host)
    if not _NAME.fullmatch(host):
        return "not a name"
    last = host.rstrip(".").rpartition(".")[2]
    return "a number as a name" if _NUMBER.fullmatch(last) else None


def _is_dotted(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_local(host: str) -> bool:
    if ":" in host or _is_dotted(host):
        return False
    return "." not in host or any(host == name or host.endswith(f".{name}") for name in _LOCAL)
