"""Requests that a page elsewhere sends with this browser's cookie (CSRF), told from our own pages' and refused.

What counts, in this order: what the browser says about where the request comes from (Fetch Metadata, Origin), and
for all that changes something a token of the session, which no other page can read.
"""

import hmac
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from porch.contract.errors import Forbidden

HEADER = "x-csrf-token"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
OWN = frozenset({"same-origin", "none"})
_FIELD = re.compile(rb"(?:^|&)csrf=([A-Za-z0-9_-]{1,128})(?=&|$)")


class ForgedRequest(Forbidden):
    """Raised when a request with a session's cookie does not show that one of our own pages sent it."""

    code = "csrf"


async def sent_token(request: Request) -> str:
    """The CSRF token that came with a request which changes something; "" without one."""
    if request.method in READING:
        return ""
    return request.headers.get(HEADER) or await _field(request)


def check_forgery(request: Request, sent: str, token: str) -> None:
    """Raise ForgedRequest unless a page of ours sent this; `token` is the one that such a page has."""
    if request.method in READING:
        _check_reading(request)
        return
    check_origin(request)
    if not sent:
        raise ForgedRequest(
            "This changes something, and the CSRF token of your session is missing. Reload the page and try again; "
            "a program sends it as the header 'X-CSRF-Token', or uses a token instead of the cookie."
        )
    if not hmac.compare_digest(sent.encode(), token.encode()):
        raise ForgedRequest(
            "The page you sent this from belongs to another session, perhaps from before you signed in again. "
            "Reload it and try again."
        )


def check_origin(request: Request) -> None:
    """Raise ForgedRequest when the browser says that a page of another origin sent this."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    # Fetch Metadata knows the address that the person sees, also where a proxy changes the Host.
    foreign = site not in OWN if site else origin is not None and not is_own(request.headers, origin)
    if foreign:
        raise ForgedRequest(
            "Another website sent this request with your browser's session, so nothing was done. "
            "If you meant it, do it on the page of this server."
        )


def _check_reading(request: Request) -> None:
    # Links from elsewhere lead here; what other pages fetch or embed of us with the cookie is not for them.
    site, mode = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
    origin = request.headers.get("origin")
    foreign = site not in OWN if site else origin is not None and not is_own(request.headers, origin)
    if foreign and mode != "navigate":
        raise ForgedRequest(
            "Another website asked for this with your browser's session; it is not for its eyes."
        )


def is_own(headers: Headers, origin: str) -> bool:
    """Whether an Origin is that of this server, by the name that the request calls it."""
    try:
        sent = urlsplit(origin)
        own = urlsplit(f"//{headers.get('host', '')}")
        default = {"https": 443, "http": 80}.get(sent.scheme)
        return (
            default is not None
            and sent.hostname == own.hostname
            and (sent.port or default) == (own.port or default)
        )
    except ValueError:
        return False


async def _field(request: Request) -> str:
    essence = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if essence != "application/x-www-form-urlencoded":
        return ""
    found = _FIELD.search(await request.body())
    return found[1].decode("ascii") if found else ""
