"""Pages of signing in and out, and of the sessions that are open."""

from contextlib import suppress
from typing import Annotated
from urllib.parse import quote

from fastapi import Path, Request
from starlette.responses import Response

from porch.contract.errors import NotFound, Unauthenticated
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import authenticate_session, public, requires
from porch.http.cookies import clear_session, is_secure, next_cookie, session_secret, set_session
from porch.http.forgery import check_origin
from porch.http.pages import form, local_path, page_router, redirect, render, visitor
from porch.http.state import authenticate, database
from porch.identity import sessions
from porch.identity.browsers import describe_browser

router = page_router("identity")

NEXT_SECONDS = 900
LONGEST_NEXT = 1000
GONE = 410


@router.get("/sign-in", dependencies=[public()])
async def show_sign_in(request: Request) -> Response:
    """How to sign in, and where to go on afterwards: a link of this browser's next quarter of an hour leads there."""
    principal = await visitor(request)
    then = _next(request.query_params.get("next"))
    if principal is not None and then != "/":
        return redirect(request, then)
    response = render(request, "identity/sign_in.html", state="", then=then)
    if then != "/":
        response.set_cookie(
            await next_cookie(request),
            quote(then, safe="/?&=@:%"),
            max_age=NEXT_SECONDS,
            path="/sign-in",
            secure=is_secure(request),
            httponly=True,
            samesite="lax",
        )
    return response


@router.get("/sign-in/{link}", dependencies=[public()])
async def show_link(request: Request, link: str) -> Response:
    """Asks whether to sign in. Looking at a link uses nothing up: mail programs and previews look, too."""
    await visitor(request)
    found = await sessions.read_link(database(request), link)
    state = found.state if found else "unknown"
    if found is None or state != "open":
        return _refusal(request, state)
    then = await _then(request, request.query_params.get("next"))
    return render(request, "identity/confirm.html", link=link, found=found, then=then)


@router.post("/sign-in/{link}", dependencies=[public()])
async def follow_link(request: Request, link: str) -> Response:
    """Signs this browser in, once. A session that it had before ends."""
    check_origin(request)
    then = await _then(request, (await form(request)).get("next"))
    client = request.client
    secret = await sessions.redeem_link(
        database(request),
        link,
        address=client.host if client else None,
        agent=request.headers.get("user-agent"),
    )
    before = await _signed_in(request)
    if secret is None:
        found = await sessions.read_link(database(request), link)
        if before is not None and found is not None and before.id == found.user_id:
            # A button pressed twice: the first press signed in.
            return redirect(request, then)
        if before is not None:
            await visitor(request)
        return _refusal(request, found.state if found else "unknown")
    if before is not None:
        await _end(request, before)
    response = redirect(request, then)
    await set_session(request, response, secret)
    response.delete_cookie(await next_cookie(request), path="/sign-in")
    return response


@router.post("/sign-out", dependencies=[public()])
async def sign_out(request: Request) -> Response:
    """Ends this browser's session; where there is none any more, there is nothing left to do."""
    try:
        secret = await session_secret(request)
        if secret is not None:
            principal = await authenticate_session(request, secret, None)
            await _end(request, principal)
    except Unauthenticated:
        pass
    response = redirect(request, "/sign-in", flash="You are signed out.")
    await clear_session(request, response)
    return response


@router.get("/sessions")
async def show_sessions(
    request: Request, principal: Annotated[Principal, requires("read:tokens")]
) -> Response:
    """One's own open sessions, each with a button that ends it."""
    rows = [
        {
            "id": format_id("ses", found.id),
            "browser": describe_browser(found.user_agent),
            "session": found,
            "current": found.id == principal.credential,
        }
        for found in await sessions.list_sessions(principal, database(request))
    ]
    return render(request, "identity/sessions.html", rows=rows)


@router.post("/sessions/{session}/end")
async def end_session(
    request: Request,
    principal: Annotated[Principal, requires("write:tokens")],
    session: Annotated[str, Path()],
) -> Response:
    """Ends one of one's own sessions at once."""
    await sessions.end_session(principal, database(request), session)
    authenticate(request).forget()
    if session != format_id("ses", principal.credential):
        return redirect(request, "/sessions", flash="The session has ended; its pages are signed out.")
    response = redirect(request, "/sign-in", flash="You are signed out.")
    await clear_session(request, response)
    return response


async def _signed_in(request: Request) -> Principal | None:
    """Whom the cookie of a form without a CSRF token stands for; only its own session may be ended for it."""
    try:
        secret = await session_secret(request)
        return await authenticate(request).session(secret) if secret else None
    except Unauthenticated:
        return None


async def _end(request: Request, principal: Principal) -> None:
    """Ends the session that a principal came by; fine when another request did so first."""
    with suppress(NotFound):
        await sessions.end_session(principal, database(request), format_id("ses", principal.credential))
    authenticate(request).forget()


def _refusal(request: Request, state: str) -> Response:
    return render(
        request, "identity/sign_in.html", 404 if state == "unknown" else GONE, state=state, then="/"
    )


async def _then(request: Request, given: str | None) -> str:
    return _next(given or request.cookies.get(await next_cookie(request)))


def _next(text: str | None) -> str:
    """Where to go on: a page of this server, and none of signing in or out."""
    found = local_path(text or "/")
    if found is None or len(found) > LONGEST_NEXT or "\\" in found or found.startswith("/sign-"):
        return "/"
    return found
