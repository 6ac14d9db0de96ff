"""Pages of signing in with an OpenID Connect provider: going there, coming back, linking and unlinking."""

from typing import Annotated, cast

from fastapi import Query, Request
from starlette.responses import Response

from porch.contract.errors import Conflict, NotFound, PorchError
from porch.contract.principal import Principal
from porch.http.auth import public, requires
from porch.http.cookies import flow_secret, forget_flow, keep_flow
from porch.http.forms import form
from porch.http.hosts import outer_url
from porch.http.pages import page_router, redirect, render
from porch.http.problem import problem_of
from porch.http.state import authenticate, database, doors
from porch.identity import oidc
from porch.identity.confirmed import require_confirmed
from porch.identity.oidc import Answer
from porch.identity.oidc_provider import Provider
from porch.identity.signing_in import (
    caller_of,
    next_page,
    remember_next,
    sign_in_browser,
    sign_in_page,
    signed_in,
    then_of,
)

router = page_router("identity")
Anybody = Annotated[Principal, requires(anywhere=True)]
BACK = "/sign-in/with/back"


@router.get("/sign-in/with/provider", dependencies=[public()])
async def go_there(
    request: Request,
    then: Annotated[str, Query(alias="next", max_length=1000)] = "/",
    invitation: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Sends the browser to the provider, which sends it back with who it is."""
    provider, on = _provider(request), next_page(then)
    try:
        going = await oidc.set_out(
            database(request), doors(request), provider, caller_of(request), _uri(request)
        )
    except PorchError as error:
        return _failed(request, error, on)
    response = _away(going.url)
    await keep_flow(request, response, going.secret, invitation)
    if on != "/":
        await remember_next(request, response, on)
    return response


@router.get(BACK, dependencies=[public()])
async def come_back(
    request: Request,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=5000)] = "",
    iss: Annotated[str | None, Query(max_length=1000)] = None,
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Signs this browser in as whoever the provider says; somebody new gets an account, where that is open."""
    provider, then = _provider(request), await then_of(request, None)
    secret, invitation = await flow_secret(request)
    before = await signed_in(request)
    answer = Answer(secret, state, code, iss, error, _uri(request))
    try:
        arrived = await oidc.arrive(
            database(request),
            doors(request),
            provider,
            answer,
            caller_of(request),
            signed_in=before,
            invitation=invitation,
        )
    except PorchError as problem:
        response = _failed(request, problem, then)
    else:
        authenticate(request).forget()
        if arrived.session is None:
            response = redirect(
                request, "/account", flash=f"You can sign in with {provider.name} from now on."
            )
        else:
            flash = "Welcome." if arrived.new else None
            response = await sign_in_browser(request, arrived.session, then, before, flash=flash)
    await forget_flow(request, response)
    return response


@router.post("/account/provider")
async def link(request: Request, principal: Anybody) -> Response:
    """Begins to link an account of the provider's: the page leads there."""
    provider = _provider(request)
    await require_confirmed(principal, database(request))
    going = await oidc.set_out(
        database(request), doors(request), provider, caller_of(request), _uri(request), principal.credential
    )
    # A form may lead to this site alone; a link may lead on.
    response = render(request, "identity/go_on.html", name=provider.name, url=going.url)
    await keep_flow(request, response, going.secret, None)
    return response


@router.post("/account/provider/unlink")
async def unlink(request: Request, principal: Anybody) -> Response:
    """Takes a provider from one's ways to sign in."""
    issuer = (await form(request)).get("issuer", "")
    try:
        await oidc.unlink(principal, database(request), _provider(request), issuer)
    except (Conflict, NotFound) as error:
        return redirect(request, "/account", flash=error.message)
    authenticate(request).forget()
    return redirect(request, "/account", flash="It is no way in any more. Your other sessions have ended.")


def _provider(request: Request) -> Provider:
    provider = cast("Provider | None", getattr(request.app.state, "oidc", None))
    doors(request).require()
    if provider is None:
        raise NotFound("Nobody signs in here with another provider: whoever runs this Porch has set none.")
    return provider


def _uri(request: Request) -> str:
    return f"{outer_url(request).rstrip('/')}{BACK}"


def _away(url: str) -> Response:
    return Response(status_code=303, headers={"Location": url, "Cache-Control": "no-store"})


def _failed(request: Request, error: PorchError, then: str) -> Response:
    response = sign_in_page(request, error.status, then=then, problem=error.message)
    if retry := problem_of(error).headers.get("Retry-After"):
        response.headers["Retry-After"] = retry
    return response
