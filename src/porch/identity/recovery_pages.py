"""Pages of recovery codes: making them, and coming in with one."""

from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from porch.contract.errors import Forbidden, InvalidInput, RateLimited, Unauthenticated
from porch.contract.principal import Principal
from porch.http.auth import public, requires
from porch.http.forgery import check_origin
from porch.http.pages import form, page_router, redirect, render, visitor
from porch.http.state import authenticate, database, doors
from porch.identity import people, recovery
from porch.identity.people_pages import Faults
from porch.identity.signing_in import caller_of, sign_in_browser, signed_in

router = page_router("recovery")
Anybody = Annotated[Principal, requires(anywhere=True)]


@router.get("/account/recovery")
async def show_codes(request: Request, principal: Anybody) -> Response:
    """How many recovery codes one has left, and a form for new ones."""
    return await _codes_page(request, principal)


@router.post("/account/recovery")
async def make_codes(request: Request, principal: Anybody) -> Response:
    """Makes ten codes, which are shown this once; those from before do nothing any more."""
    sent, faults = await form(request), Faults()
    try:
        codes = await recovery.make_codes(
            principal, database(request), doors(request), sent.get("password", "")
        )
    except (InvalidInput, Forbidden, RateLimited) as error:
        faults.add(error, ("password",))
        return await _codes_page(request, principal, faults)
    return await _codes_page(request, principal, codes=codes)


@router.get("/recover", dependencies=[public()])
async def show_recover(request: Request) -> Response:
    """The form to come in with a code, and set a new password."""
    doors(request).require()
    if await visitor(request) is not None:
        return redirect(request, "/account")
    return _recover_page(request, {}, Faults(status=200))


@router.post("/recover", dependencies=[public()])
async def recover(request: Request) -> Response:
    """Uses a code up: sets the password and signs this browser in. All other sessions of its person end."""
    check_origin(request)
    sent, faults = await form(request), Faults()
    try:
        secret = await recovery.recover(
            database(request),
            doors(request),
            caller_of(request),
            login=sent.get("login", ""),
            code=sent.get("code", ""),
            password=sent.get("password", ""),
        )
    except (Unauthenticated, InvalidInput, RateLimited) as error:
        faults.add(error, ("password",))
        return _recover_page(request, sent, faults)
    authenticate(request).forget()
    return await sign_in_browser(
        request,
        secret,
        "/account",
        await signed_in(request),
        flash="The password is set, and the code is used up.",
    )


async def _codes_page(
    request: Request, principal: Principal, faults: Faults | None = None, codes: list[str] | None = None
) -> Response:
    doors(request).require()
    faults = faults or Faults(status=200)
    login, has_password = await people.read_login(principal, database(request))
    response = render(
        request,
        "identity/recovery_codes.html",
        faults.status,
        login=login,
        has_password=has_password,
        left=await recovery.count_codes(principal, database(request)),
        codes=codes or [],
        faults=faults,
    )
    response.headers.update(faults.headers)
    return response


def _recover_page(request: Request, sent: dict[str, str], faults: Faults) -> Response:
    response = render(request, "identity/recover.html", faults.status, sent=sent, faults=faults)
    response.headers.update(faults.headers)
    return response
