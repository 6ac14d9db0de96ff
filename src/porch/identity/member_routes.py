"""Who belongs to a workspace, and invitations into it."""

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.body_model import BodyModel
from porch.http.idempotency import IDEMPOTENT, once
from porch.http.pagination import Page, Paging, cut, encode_cursor
from porch.http.routing import api_router
from porch.http.state import authenticate as authenticator
from porch.http.state import database, doors, public_url
from porch.identity import invitations, members
from porch.identity.model import Invitation, Member, NewInvitation

router: APIRouter = api_router("/api/v1/workspaces/{ws}", "members")

USER_ID, INVITATION_ID = (f"{prefix}_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b" for prefix in ("usr", "inv"))
SECONDS = 10**9


class MemberBody(BodyModel):
    """Somebody who belongs to the workspace."""

    user: str = Field(examples=[USER_ID])
    name: str = Field(examples=["Ada"])
    login: str | None = Field(examples=["ada"], description="Null for who only ever used sign-in links.")
    role: str = Field(examples=["editor"])
    joined_at: datetime


class RoleChange(BodyModel):
    """Another role for somebody."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "editor"}]})

    role: str = Field(description="`owner`, `admin`, `editor`, `runner` or `viewer`.")


class InvitationRequest(BodyModel):
    """An invitation to be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"role": "editor", "expires_in": 86400}]}
    )

    role: str = Field(description="What whoever accepts it will be; never more than you are.")
    expires_in: Annotated[int, Field(strict=True)] | None = Field(
        default=None, description="Seconds, an hour to 30 days; seven days unless given."
    )


class InvitationBody(BodyModel):
    """An open invitation as lists show it."""

    id: str = Field(examples=[INVITATION_ID])
    role: str = Field(examples=["editor"])
    created_by: str = Field(examples=[USER_ID])
    created_at: datetime
    expires_at: datetime


class NewInvitationBody(InvitationBody):
    """An invitation just made."""

    url: str | None = Field(
        examples=["https://porch.example/join/porch_inv_4kQx9Z…"],
        description="Shown this once; null when an Idempotency-Key replays the answer.",
    )


@router.get("/members", operation_id="listMembers", summary="List members")
async def list_members(
    request: Request, principal: Annotated[Principal, requires("read:members")], paging: Paging
) -> Page[MemberBody]:
    """Who belongs to the workspace, the older account first."""
    rows = await members.list_members(
        principal, database(request), after=paging.after_id("members"), limit=paging.limit + 1
    )
    shown, last = cut(rows, paging.limit)
    return Page[MemberBody](
        items=[_member(row) for row in shown],
        next_cursor=encode_cursor("members", last.user_id) if last else None,
    )


@router.patch("/members/{user}", status_code=204, operation_id="changeMember", summary="Change a role")
async def change_member(
    request: Request,
    principal: Annotated[Principal, requires("admin:members")],
    user: Annotated[str, Path(examples=[USER_ID])],
    change: RoleChange,
) -> None:
    """Gives somebody another role. Owners are an owner's to make and change, and one always stays."""
    await members.change_role(principal, database(request), user, change.role)
    authenticator(request).forget()


@router.delete("/members/{user}", status_code=204, operation_id="removeMember", summary="Remove a member")
async def remove_member(
    request: Request,
    principal: Annotated[Principal, requires("write:members")],
    user: Annotated[str, Path(examples=[USER_ID])],
) -> None:
    """Takes somebody out of the workspace, with their tokens there; whoever names themselves leaves it."""
    await members.remove(principal, database(request), user)
    authenticator(request).forget()


@router.post(
    "/invitations",
    status_code=201,
    response_model=NewInvitationBody,
    operation_id="createInvitation",
    summary="Invite somebody",
    openapi_extra=IDEMPOTENT,
)
async def create_invitation(
    request: Request, principal: Annotated[Principal, requires("admin:members")], wanted: InvitationRequest
) -> Response:
    """Makes a link by which one person joins the workspace. `multi_user` must be on."""

    async def write() -> Response:
        seconds = wanted.expires_in
        made = await invitations.invite(
            principal,
            database(request),
            doors(request),
            public_url(request),
            role=wanted.role,
            lifetime=None if seconds is None else timedelta(seconds=max(-1, min(seconds, SECONDS))),
        )
        return Response(_made(made).model_dump_json(), 201, media_type="application/json")

    return await once(request, principal, write, kept=_without_url)


@router.get("/invitations", operation_id="listInvitations", summary="List invitations")
async def list_invitations(
    request: Request, principal: Annotated[Principal, requires("admin:members")], paging: Paging
) -> Page[InvitationBody]:
    """Those that can still be used, newest first."""
    rows = await invitations.list_open(
        principal, database(request), before=paging.after_id("invitations"), limit=paging.limit + 1
    )
    shown, last = cut(rows, paging.limit)
    return Page[InvitationBody](
        items=[_invitation(row) for row in shown],
        next_cursor=encode_cursor("invitations", last.id) if last else None,
    )


@router.delete(
    "/invitations/{invitation}",
    status_code=204,
    operation_id="revokeInvitation",
    summary="Revoke an invitation",
)
async def revoke_invitation(
    request: Request,
    principal: Annotated[Principal, requires("admin:members")],
    invitation: Annotated[str, Path(examples=[INVITATION_ID])],
) -> None:
    """Ends an invitation that nobody has used yet."""
    await invitations.revoke(principal, database(request), invitation)


def _member(member: Member) -> MemberBody:
    return MemberBody(
        user=format_id("usr", member.user_id),
        name=member.name,
        login=member.login,
        role=member.role,
        joined_at=member.joined_at,
    )


def _invitation(invitation: Invitation) -> InvitationBody:
    return InvitationBody(
        id=format_id("inv", invitation.id),
        role=invitation.role,
        created_by=format_id("usr", invitation.created_by),
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
    )


def _made(made: NewInvitation) -> NewInvitationBody:
    return NewInvitationBody(**_invitation(made.invitation).model_dump(), url=made.url)


def _without_url(response: Response) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(bytes(response.body)), "url": None})
