"""The cookie that holds a session: what it is called, and how it is set, read and removed.

Cookies ignore ports, so that all servers on one host name share them: the name holds the installation's id. Where
the browser comes by TLS it is `__Host-…`, which no other host or path can set (RFC 6265bis, section 4.1.3.2).
"""

from starlette.requests import Request
from starlette.responses import Response

from porch.contract.errors import Unauthenticated
from porch.http.state import database, public_url
from porch.identity.sessions import WHOLE_LIFETIME, instance

NAME = "porch_session_"
SECURE = "__Host-"
FLOW_SECONDS = 600


def is_secure(request: Request) -> bool:
    """Whether the browser comes by TLS: by this server's own, or by that of a proxy that `public_url` names."""
    return request.url.scheme == "https" or public_url(request).startswith("https:")


async def cookie_name(request: Request) -> str:
    """What this installation calls its session cookie."""
    return f"{SECURE if is_secure(request) else ''}{NAME}{await instance_id(request)}"


async def next_cookie(request: Request) -> str:
    """What the cookie is called that remembers where to go on after signing in."""
    return f"porch_next_{await instance_id(request)}"


async def instance_id(request: Request) -> str:
    """The installation's 8 hex digits, asked of the database once."""
    state = request.app.state
    if not hasattr(state, "instance"):
        state.instance = await instance(database(request))
    return str(state.instance)


async def flow_cookie(request: Request) -> str:
    """What the cookie is called that a browser keeps while it signs in with a provider."""
    return f"{SECURE if is_secure(request) else ''}porch_flow_{await instance_id(request)}"


async def keep_flow(request: Request, response: Response, secret: str, invitation: str | None) -> None:
    """Have the browser keep the secret of a sign-in under way, and the invitation that it came with."""
    response.set_cookie(
        await flow_cookie(request),
        f"{secret}.{invitation or ''}",
        max_age=FLOW_SECONDS,
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


async def flow_secret(request: Request) -> tuple[str, str | None]:
    """What the browser kept, "" where it kept nothing, and the invitation."""
    secret, _, invitation = request.cookies.get(await flow_cookie(request), "").partition(".")
    return secret, invitation or None


async def forget_flow(request: Request, response: Response) -> None:
    """The sign-in is over."""
    response.delete_cookie(
        await flow_cookie(request), path="/", secure=is_secure(request), httponly=True, samesite="lax"
    )


async def session_secret(request: Request) -> str | None:
    """The secret that the browser sent, None without one. Raises Unauthenticated for several different ones."""
    sent = "; ".join(request.headers.getlist("cookie"))
    if NAME not in sent:
        return None
    name = await cookie_name(request)
    found = {value for key, value in _pairs(sent) if key == name and value}
    if len(found) > 1:
        # Another server on this host has set one for a path of its own; which of them is ours cannot be told.
        raise Unauthenticated(
            "The browser sent two different session cookies. Remove this site's cookies and sign in again."
        )
    return found.pop() if found else None


async def set_session(request: Request, response: Response, secret: str) -> None:
    """Sign the browser in with this answer. When the session ends, the database says."""
    response.set_cookie(
        await cookie_name(request),
        secret,
        max_age=int(WHOLE_LIFETIME.total_seconds()),
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


async def clear_session(request: Request, response: Response) -> None:
    """Sign the browser out with this answer."""
    response.delete_cookie(
        await cookie_name(request), path="/", secure=is_secure(request), httponly=True, samesite="lax"
    )


def _pairs(sent: str) -> list[tuple[str, str]]:
    pairs = (item.partition("=") for item in sent.split(";"))
    return [(name.strip(), value.strip().strip('"')) for name, _, value in pairs]
