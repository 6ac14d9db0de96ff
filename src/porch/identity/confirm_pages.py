"""The page on which one shows again who one is, and goes on with what one was about to do."""

from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from porch.contract.errors import Forbidden, InvalidInput, RateLimited
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.forms import fields, form
from porch.http.pages import confirmation_page, local_path, page_router, redirect
from porch.http.state import database
from porch.identity import confirming

router = page_router("confirm")
Anybody = Annotated[Principal, requires(anywhere=True)]


@router.get("/confirm")
async def show_confirm(request: Request, principal: Anybody) -> Response:
    """The form of showing one's password again."""
    return confirmation_page(request, [], "/", 200)


@router.post("/confirm")
async def confirm(request: Request, principal: Anybody) -> Response:
    """Notes it, and sends the form again that needed it, where there was one."""
    sent = await form(request)
    on = local_path(sent.get("confirm_to", "/")) or "/"
    held = [
        pair for pair in await fields(request) if pair[0] not in ("confirm_to", "confirm_password", "csrf")
    ]
    try:
        await confirming.confirm(principal, database(request), sent.get("confirm_password", ""))
    except (InvalidInput, Forbidden, RateLimited) as error:
        return confirmation_page(request, held, on, error.status, problem=error.message)
    if "confirm_again" in sent:
        # The same form goes on to where it was meant for, by the browser.
        return Response(status_code=307, headers={"Location": on, "Cache-Control": "no-store"})
    return redirect(request, on, flash="It is confirmed for ten minutes.")
