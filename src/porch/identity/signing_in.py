"""What all ways of signing a browser in share: where one goes on, whose session ends, and which one begins."""

from contextlib import suppress
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from porch.contract.errors import NotFound, Unauthenticated
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.cookies import is_secure, next_cookie, session_secret, set_session
from porch.http.pages import local_path, redirect, render
from porch.http.state import authenticate, database, doors
from porch.identity import sessions
from porch.identity.people import Caller
from porch.identity.webauthn import NoPasskeys, RelyingParty, party_of

NEXT_SECONDS = 900
LONGEST_NEXT = 1000


def sign_in_page(
    request: Request,
    status: int = 200,
    *,
    state: str = "",
    then: str = "/",
    login: str = "",
    problem: str = "",
) -> Response:
    """The page of signing in. `state` is that of a link which did not work, `problem` why a password did not."""
    return render(
        request,
        "identity/sign_in.html",
        status,
        state=state,
        then=then,
        login=login,
        problem=problem,
        doors=doors(request),
        provider=provider_name(request),
        passkeys=has_passkeys(request),
        on_to=f"?next={quote(then, safe='/@')}" if then != "/" else "",
    )


def provider_name(request: Request) -> str:
    """What the provider is called that one may sign in with, "" where there is none."""
    provider = getattr(request.app.state, "oidc", None)
    return provider.name if provider is not None and doors(request).multi_user else ""


async def sign_in_browser(
    request: Request, secret: str, then: str, before: Principal | None, *, flash: str | None = None
) -> Response:
    """Gives this browser a new session and goes on; the one that it had `before` ends."""
    return await enter(request, redirect(request, then, flash=flash), secret, before)


async def enter(request: Request, response: Response, secret: str, before: Principal | None) -> Response:
    """Let this answer give the browser a new session; the one that it had `before` ends."""
    if before is not None:
        await end_session_of(request, before)
    await set_session(request, response, secret)
    response.delete_cookie(await next_cookie(request), path="/sign-in")
    return response


def relying_party(request: Request) -> RelyingParty:
    """Whom passkeys are made for: this server at its own address, whatever host a request names. Raises NoPasskeys."""
    return party_of(getattr(request.app.state, "url", None))


def has_passkeys(request: Request) -> str:
    """The origin whose pages can use passkeys, "" where none can."""
    try:
        return relying_party(request).origin
    except NoPasskeys:
        return ""


async def signed_in(request: Request) -> Principal | None:
    """Whom the cookie of a form without a CSRF token stands for; only its own session may be ended for it."""
    try:
        secret = await session_secret(request)
        return await authenticate(request).session(secret) if secret else None
    except Unauthenticated:
        return None


async def end_session_of(request: Request, principal: Principal) -> None:
    """Ends the session that a principal came by; fine when another request did so first."""
    with suppress(NotFound):
        await sessions.end_session(principal, database(request), format_id("ses", principal.credential))
    authenticate(request).forget()


async def remember_next(request: Request, response: Response, then: str) -> None:
    """Let a link that is opened in this browser's next quarter of an hour lead there."""
    response.set_cookie(
        await next_cookie(request),
        quote(then, safe="/?&=@:%"),
        max_age=NEXT_SECONDS,
        path="/sign-in",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


async def then_of(request: Request, given: str | None) -> str:
    """Where to go on: what the form says, else what was remembered."""
    return next_page(given or request.cookies.get(await next_cookie(request)))


def next_page(text: str | None) -> str:
    """Where to go on: a page of this server, and none of signing in or out."""
    found = local_path(text or "/")
    if found is None or len(found) > LONGEST_NEXT or "\\" in found or found.startswith("/sign-"):
        return "/"
    return found


def caller_of(request: Request) -> Caller:
    """Where somebody who is not signed in comes from."""
    client = request.client
    return Caller(client.host if client else None, request.headers.get("user-agent"))
