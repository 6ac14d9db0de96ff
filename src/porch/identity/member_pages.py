"""Pages of workspaces and who belongs to them: members, invitations, joining, making one, switching to one."""

from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from starlette.responses import Response

from porch.contract.definition import check_handle
from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound, PorchError, Unauthenticated
from porch.contract.ids import format_id, parse_id
from porch.contract.principal import Principal
from porch.http.auth import Requires, public, requires
from porch.http.cookies import session_secret
from porch.http.forgery import check_origin
from porch.http.hosts import outer_url
from porch.http.pages import form, page_router, redirect, render, visitor
from porch.http.pagination import cut
from porch.http.state import authenticate, database, doors
from porch.identity import invitations, members
from porch.identity.confirmed import ConfirmationNeeded
from porch.identity.members import ROLE_NAMES
from porch.identity.model import Invited, Member, NewInvitation
from porch.identity.people_pages import Faults, make_account
from porch.identity.service import check_name, list_workspaces, make_workspace
from porch.identity.sessions import switch_workspace
from porch.identity.signing_in import next_page, provider_name, sign_in_browser, signed_in

router = page_router("members")

# What concerns the person, in whichever of their workspaces.
Anybody = Annotated[Principal, requires(anywhere=True)]
Reader = Annotated[Principal, requires("read:members")]
Keeper = Annotated[Principal, requires("admin:members")]

ROWS = 100
GONE = 410
MAY = {
    "owner": "everything",
    "admin": "everything but owners",
    "editor": "makes agents and talks to them",
    "runner": "talks to agents",
    "viewer": "reads",
}
LASTS = (("1", "1 day"), ("7", "7 days"), ("30", "30 days"))


# ---------------------------------------------------------------- members and invitations


@router.get("/members")
async def show_members(
    request: Request, principal: Reader, after: Annotated[str | None, Query(max_length=80)] = None
) -> Response:
    """Who belongs to the workspace, and the invitations that are open."""
    return await _members_page(request, principal, after=after)


@router.post("/members/invitations")
async def invite(request: Request, principal: Keeper) -> Response:
    """Makes a link, which is shown this once."""
    sent = await form(request)
    try:
        made = await invitations.invite(
            principal,
            database(request),
            doors(request),
            outer_url(request),
            role=sent.get("role", ""),
            lifetime=_lifetime(sent.get("days", "")),
        )
    except ConfirmationNeeded:
        raise
    except (InvalidInput, Forbidden, Conflict) as error:
        return await _members_page(request, principal, problem=error, sent=sent)
    return await _members_page(request, principal, made=made)


@router.post("/members/invitations/{invitation}/revoke")
async def revoke(request: Request, principal: Keeper, invitation: str) -> Response:
    """Ends an invitation that nobody has used yet."""
    try:
        await invitations.revoke(principal, database(request), invitation)
    except NotFound as error:
        return await _members_page(request, principal, problem=error)
    return redirect(request, "/members", flash="The invitation is revoked; its link does nothing any more.")


@router.post("/members/{user}/role")
async def change_role(request: Request, principal: Keeper, user: str) -> Response:
    """Gives somebody another role."""
    role = (await form(request)).get("role", "")
    try:
        await members.change_role(principal, database(request), user, role)
    except ConfirmationNeeded:
        raise
    except (InvalidInput, Forbidden, Conflict, NotFound) as error:
        return await _members_page(request, principal, problem=error)
    authenticate(request).forget()
    return redirect(request, "/members", flash=f"The role is {role} now.")


@router.get("/members/{user}/remove")
async def ask_to_remove(request: Request, principal: Reader, user: str) -> Response:
    """Asks whether to take somebody out, or to leave."""
    return await _removal_page(request, principal, user)


@router.post("/members/{user}/remove")
async def remove(
    request: Request, principal: Annotated[Principal, requires("write:members")], user: str
) -> Response:
    """Takes somebody out of the workspace; whoever names themselves leaves it."""
    doors(request).require()
    try:
        await members.remove(principal, database(request), user)
    except (Forbidden, Conflict) as error:
        return await _removal_page(request, principal, user, error)
    authenticate(request).forget()
    if parse_id("usr", user) == principal.id:
        return redirect(request, "/", flash=f"You have left @{principal.workspace_handle}.")
    return redirect(request, "/members", flash="They are out of this workspace.")


def _lifetime(days: str) -> timedelta:
    if days not in dict(LASTS):
        raise InvalidInput("An invitation lasts 1, 7 or 30 days. Choose one of them.")
    return timedelta(days=int(days))


async def _members_page(
    request: Request,
    principal: Principal,
    *,
    after: str | None = None,
    made: NewInvitation | None = None,
    problem: PorchError | None = None,
    sent: dict[str, str] | None = None,
) -> Response:
    doors(request).require()
    behind = parse_id("usr", after) if after else None
    rows = await members.list_members(principal, database(request), after=behind, limit=ROWS + 1)
    shown, last = cut(rows, ROWS)
    keeps = principal.allows("admin", "members")
    return render(
        request,
        "identity/members.html",
        problem.status if problem else 200,
        nav="members",
        members=[_view(principal, member) for member in shown],
        first=after is None,
        next_after=format_id("usr", last.user_id) if last else None,
        keeps=keeps,
        roles=_roles(principal),
        role_words=[(role, f"{role}: {MAY[role]}") for role in _roles(principal)],
        lasts=LASTS,
        sent=sent or {},
        made=made,
        invitations=[
            {"id": format_id("inv", found.id), "invitation": found}
            for found in (await invitations.list_open(principal, database(request)) if keeps else ())
        ],
        problem=problem.message if problem else "",
    )


async def _removal_page(
    request: Request, principal: Principal, user: str, problem: PorchError | None = None
) -> Response:
    doors(request).require()
    found = parse_id("usr", user)
    # Members are listed by their ids: the one behind the id before this one is this one, or it is none.
    behind = UUID(int=max(0, found.int - 1))
    listed = await members.list_members(principal, database(request), after=behind, limit=1)
    if not listed or listed[0].user_id != found:
        raise NotFound("There is no such member here.")
    return render(
        request,
        "identity/remove.html",
        problem.status if problem else 200,
        nav="members",
        member=_view(principal, listed[0]),
        problem=problem.message if problem else "",
    )


def _view(principal: Principal, member: Member) -> dict[str, Any]:
    return {
        "id": format_id("usr", member.user_id),
        "name": member.name,
        "login": member.login,
        "role": member.role,
        "joined_at": member.joined_at,
        "self": member.user_id == principal.id,
        "may_change": principal.allows("admin", "members")
        and (principal.role == "owner" or member.role != "owner"),
    }


def _roles(principal: Principal) -> list[str]:
    """What the principal may make somebody."""
    return [role for role in ROLE_NAMES if role != "owner" or principal.role == "owner"]


# ---------------------------------------------------------------- joining


@router.get("/join/{secret}", dependencies=[public()])
async def show_invitation(request: Request, secret: str) -> Response:
    """Who invites into what, and the way in. Looking at an invitation uses nothing up."""
    doors(request).require()
    principal = await visitor(request)
    return await _join_page(request, secret, principal)


@router.post("/join/{secret}", dependencies=[public()])
async def join(request: Request, secret: str) -> Response:
    """Joins with the session that there is, else with a new account."""
    doors(request).require()
    principal = await _joining(request)
    if principal is not None:
        with suppress(NotFound):
            found = await invitations.accept(principal, database(request), doors(request), secret)
            await switch_workspace(principal, database(request), found.handle)
            authenticate(request).forget()
            return redirect(request, "/", flash=f"You belong to {found.name} now.")
        return await _join_page(request, secret, principal)
    check_origin(request)
    sent = await form(request)
    with suppress(NotFound):
        session, faults = await make_account(request, sent, secret)
        if session is None:
            return await _join_page(request, secret, None, sent, faults)
        return await sign_in_browser(request, session, "/", await signed_in(request), flash="Welcome.")
    return await _join_page(request, secret, None, sent)


async def _joining(request: Request) -> Principal | None:
    """Who is signed in, and sends this from a page of ours. Raises ForgedRequest."""
    if await session_secret(request) is not None:
        with suppress(Unauthenticated):
            return await Requires(None)(request)
    return None


async def _join_page(
    request: Request,
    secret: str,
    principal: Principal | None,
    sent: dict[str, str] | None = None,
    faults: Faults | None = None,
) -> Response:
    found = await invitations.read(database(request), secret)
    belongs = found is not None and await _belongs(request, principal, found)
    faults = faults or Faults()
    status = faults.status if faults else 200
    if not belongs:
        status = NotFound.status if found is None else status if found.state == "open" else GONE
    response = render(
        request,
        "identity/join.html",
        status,
        secret=secret,
        found=found,
        belongs=belongs,
        may_sign_up=doors(request).sign_up != "closed",
        provider=provider_name(request),
        sent=sent or {},
        faults=faults,
    )
    response.headers.update(faults.headers)
    response.headers["X-Robots-Tag"] = "noindex"
    return response


async def _belongs(request: Request, principal: Principal | None, found: Invited) -> bool:
    if principal is None:
        return False
    reached = await list_workspaces(principal, database(request))
    return any(each.id == found.workspace_id for each in reached)


# ---------------------------------------------------------------- workspaces


@router.get("/workspaces/new")
async def show_new_workspace(request: Request, principal: Anybody) -> Response:
    """The form for another workspace."""
    del principal
    return _new_workspace_page(request, {}, Faults(status=200))


@router.post("/workspaces/new")
async def new_workspace(request: Request, principal: Anybody) -> Response:
    """Makes a workspace and goes there."""
    doors(request).require()
    sent = await form(request)
    handle, name = sent.get("handle", "").strip(), sent.get("name", "").strip()
    faults = Faults()
    faults.check("handle", lambda: check_handle(handle, "a workspace's handle"))
    if name:
        faults.check("name", lambda: check_name(name, "The workspace's name"))
    if not faults:
        try:
            made = await make_workspace(
                principal, database(request), doors(request), handle=handle, name=name
            )
        except (InvalidInput, Conflict) as error:
            # The other conflict, too many workspaces, names no handle.
            faults.add(error, ("handle", "name"), taken="handle" if repr(handle) in error.message else "")
        else:
            await switch_workspace(principal, database(request), made.handle)
            authenticate(request).forget()
            return redirect(request, "/", flash=f"{made.name} is made, and you are in it.")
    return _new_workspace_page(request, sent, faults)


@router.post("/workspaces/switch")
async def switch(request: Request, principal: Anybody) -> Response:
    """Moves the session into another workspace of one's own."""
    doors(request).require()
    sent = await form(request)
    await switch_workspace(principal, database(request), sent.get("workspace", ""))
    authenticate(request).forget()
    return redirect(request, next_page(sent.get("next")))


def _new_workspace_page(request: Request, sent: dict[str, str], faults: Faults) -> Response:
    doors(request).require()
    return render(request, "identity/new_workspace.html", faults.status, sent=sent, faults=faults)
