"""Pages of the workspace itself: its name and handle, deleting it, and having deleted ones back."""

from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound, PorchError
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.pages import form, page_router, redirect, render
from porch.http.state import authenticate, database, doors
from porch.identity import lifecycle, service
from porch.identity.confirmed import ConfirmationNeeded

router = page_router("workspace")

Reader = Annotated[Principal, requires("read:workspaces")]
Keeper = Annotated[Principal, requires("admin:workspaces")]
# What concerns the person, in whichever of their workspaces.
Anybody = Annotated[Principal, requires(anywhere=True)]


@router.get("/workspace")
async def show_workspace(request: Request, principal: Reader) -> Response:
    """What the workspace is called, and what can be done with it."""
    return await _page(request, principal)


@router.post("/workspace/name")
async def change_name(request: Request, principal: Keeper) -> Response:
    """Gives it another name."""
    sent = await form(request)
    try:
        changed = await service.rename_workspace(principal, database(request), sent.get("name", ""))
    except InvalidInput as error:
        return await _page(request, principal, error, "name", sent)
    return redirect(request, "/workspace", flash=f"The workspace's name is {changed.name} now.")


@router.post("/workspace/handle")
async def change_handle(request: Request, principal: Keeper) -> Response:
    """Gives it another handle."""
    sent = await form(request)
    try:
        wanted = sent.get("handle", "").strip().removeprefix("@")
        changed = await lifecycle.change_handle(principal, database(request), wanted)
    except (InvalidInput, Conflict) as error:
        return await _page(request, principal, error, "handle", sent)
    authenticate(request).forget()
    return redirect(
        request,
        "/workspace",
        flash=f"The workspace is @{changed.handle} now. Its links of before lead here too.",
    )


@router.get("/workspace/delete")
async def ask_to_delete(request: Request, principal: Keeper) -> Response:
    """Asks whether to delete it."""
    return _deletion_page(request, principal)


@router.post("/workspace/delete")
async def delete(request: Request, principal: Keeper) -> Response:
    """Deletes it, so that it can be had back for a while."""
    doors(request).require()
    sent = await form(request)
    try:
        ends = await lifecycle.delete_workspace(principal, database(request), sent.get("handle", ""))
    except ConfirmationNeeded:
        raise
    except (InvalidInput, Conflict, Forbidden) as error:
        return _deletion_page(request, principal, error, sent)
    authenticate(request).forget()
    return redirect(
        request,
        "/workspace",
        flash=f"@{principal.workspace_handle} is deleted. You can have it back here until {ends:%-d %B}.",
    )


@router.post("/workspaces/restore")
async def restore(request: Request, principal: Anybody) -> Response:
    """Has a deleted one back."""
    doors(request).require()
    sent = await form(request)
    try:
        found = await lifecycle.restore_workspace(principal, database(request), sent.get("workspace", ""))
    except NotFound as error:
        return await _page(request, principal, error)
    authenticate(request).forget()
    return redirect(request, "/workspace", flash=f"@{found.handle} is back, with all that was in it.")


async def _page(
    request: Request,
    principal: Principal,
    problem: PorchError | None = None,
    of: str = "",
    sent: dict[str, str] | None = None,
) -> Response:
    return render(
        request,
        "identity/workspace.html",
        problem.status if problem else 200,
        nav="workspace",
        workspace=await service.read_workspace(principal, database(request)),
        former=await lifecycle.former_handles(principal, database(request)),
        keeps=principal.allows("admin", "workspaces"),
        may_delete=_may_delete(request, principal),
        deleted=[
            {"id": format_id("ws", each.id), "workspace": each}
            for each in await lifecycle.list_deleted(principal, database(request))
        ],
        problem=problem.message if problem else "",
        of=of,
        sent=sent or {},
    )


def _deletion_page(
    request: Request,
    principal: Principal,
    problem: PorchError | None = None,
    sent: dict[str, str] | None = None,
) -> Response:
    doors(request).require()
    return render(
        request,
        "identity/delete_workspace.html",
        problem.status if problem else 200,
        nav="workspace",
        may_delete=_may_delete(request, principal),
        days=lifecycle.GRACE.days,
        problem=problem.message if problem else "",
        sent=sent or {},
    )


def _may_delete(request: Request, principal: Principal) -> bool:
    return (
        doors(request).multi_user
        and principal.via == "session"
        and principal.role == "owner"
        and principal.workspace != request.app.state.home
    )
