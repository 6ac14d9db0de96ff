"""Pages of signing in and out, and of the sessions that are open."""

from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from porch.contract.errors import Unauthenticated
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import authenticate_session, public, requires
from porch.http.cookies import clear_session, session_secret
from porch.http.forgery import check_origin
from porch.http.pages import form, page_router, redirect, render, visitor
from porch.http.state import authenticate, database
from porch.identity import sessions
from porch.identity.browsers import describe_browser
from porch.identity.signing_in import (
    caller_of,
    end_session_of,
    next_page,
    remember_next,
    sign_in_browser,
    sign_in_page,
    signed_in,
    then_of,
)

router = page_router("identity")

GONE = 410


@router.get("/sign-in", dependencies=[public()])
async def show_sign_in(request: Request) -> Response:
    """How to sign in, and where to go on afterwards: a link of this browser's next quarter of an hour leads there."""
    principal = await visitor(request)
    then = next_page(request.query_params.get("next"))
    if principal is not None and then != "/":
        return redirect(request, then)
    response = sign_in_page(request, then=then)
    if then != "/":
        await remember_next(request, response, then)
    return response


@router.get("/sign-in/{link}", dependencies=[public()])
async def show_link(request: Request, link: str) -> Response:
    """Asks whether to sign in. Looking at a link uses nothing up: mail programs and previews look, too."""
    await visitor(request)
    found = await sessions.read_link(database(request), link)
    state = found.state if found else "unknown"
    if found is None or state != "open":
        return _refusal(request, state)
    then = await then_of(request, request.query_params.get("next"))
    return render(request, "identity/confirm.html", link=link, found=found, then=then)


@router.post("/sign-in/{link}", dependencies=[public()])
async def follow_link(request: Request, link: str) -> Response:
    """Signs this browser in, once. A session that it had before ends."""
    check_origin(request)
    then = await then_of(request, (await form(request)).get("next"))
    caller = caller_of(request)
    secret = await sessions.redeem_link(database(request), link, address=caller.address, agent=caller.agent)
    before = await signed_in(request)
    if secret is None:
        found = await sessions.read_link(database(request), link)
        if before is not None and found is not None and before.id == found.user_id:
            # A button pressed twice: the first press signed in.
            return redirect(request, then)
        if before is not None:
            await visitor(request)
        return _refusal(request, found.state if found else "unknown")
    return await sign_in_browser(request, secret, then, before)


@router.post("/sign-out", dependencies=[public()])
async def sign_out(request: Request) -> Response:
    """Ends this browser's session; where there is none any more, there is nothing left to do."""
    try:
        secret = await session_secret(request)
        if secret is not None:
            principal = await authenticate_session(request, secret, None, anywhere=True)
            await end_session_of(request, principal)
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
    principal: Annotated[Principal, requires("write:tokens", anywhere=True)],
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


def _refusal(request: Request, state: str) -> Response:
    return sign_in_page(request, 404 if state == "unknown" else GONE, state=state)
