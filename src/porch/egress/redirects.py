"""Where an answer points to, and what may go along."""

from collections.abc import Mapping
from typing import Final

from yarl import URL

from porch.egress.failures import EgressError, Redirected
from porch.egress.reach import parse_url, read_url

MOST_HOPS: Final = 5
# Every other header may be a credential under one of its many names.
_HARMLESS: Final = frozenset({"accept", "accept-encoding", "accept-language", "range", "user-agent"})


def is_redirect(status: int) -> bool:
    """Whether an answer says that the thing is elsewhere."""
    return 300 <= status < 400 and status != 304


def find_hop(asked: URL, status: int, location: str) -> URL:
    """The URL to ask next. Raises Redirected where that would give up encryption, EgressError where it is none."""
    host = find_host(asked, location)
    if host is None:
        raise Redirected(status, None, "and does not say where in a way that can be asked")
    hop = read_url(str(asked.join(URL(location))))
    if asked.scheme == "https" and hop.scheme != "https":
        raise Redirected(status, host, "which is not followed, since that is without encryption")
    return hop


def find_host(asked: URL, location: str) -> str | None:
    """The host that a Location header names, without user, path or query; None when it names none."""
    try:
        return read_url(str(asked.join(parse_url(location)))).raw_host if location else None
    except (EgressError, ValueError):
        return None


def strip_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that another origin may see."""
    return {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
