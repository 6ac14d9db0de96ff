"""The page of one's passkeys."""

from fastapi import Request
from starlette.responses import Response

from porch.contract.errors import NotFound
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.pages import page_router, redirect, render
from porch.http.state import authenticate, database
from porch.identity import passkeys
from porch.identity.passkey_routes import Anybody
from porch.identity.signing_in import has_passkeys

router = page_router("passkeys")


@router.get("/passkeys")
async def show_passkeys(request: Request, principal: Anybody) -> Response:
    """One's passkeys, each with a button that removes it, and a form for another."""
    return await _page(request, principal)


@router.post("/passkeys/{passkey}/remove")
async def remove_passkey(request: Request, principal: Anybody, passkey: str) -> Response:
    """Takes a passkey away."""
    try:
        await passkeys.remove(principal, database(request), passkey)
    except NotFound as error:
        return await _page(request, principal, error)
    authenticate(request).forget()
    return redirect(
        request, "/passkeys", flash="The passkey is removed. The other sessions that it opened have ended."
    )


async def _page(request: Request, principal: Principal, problem: NotFound | None = None) -> Response:
    found = await passkeys.list_passkeys(principal, database(request))
    return render(
        request,
        "identity/passkeys.html",
        problem.status if problem else 200,
        rows=[{"id": format_id("psk", each.id), "passkey": each} for each in found],
        passkeys=has_passkeys(request),
        full=len(found) >= passkeys.MOST_PASSKEYS,
        problem=problem.message if problem else "",
    )
