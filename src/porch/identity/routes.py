"""`/api/v1/me`, workspaces, tokens and sign-in links."""

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
from porch.identity import lifecycle, service, sessions
from porch.identity.model import Reach, Workspace
from porch.identity.token_bodies import (
    TOKEN_ID,
    USER_ID,
    WORKSPACE_ID,
    NewTokenBody,
    RotationRequest,
    TokenBody,
    TokenRequest,
    created,
    token_body,
)

router: APIRouter = api_router("/api/v1", "identity")


class UserBody(BodyModel):
    """Who acts."""

    id: str = Field(examples=[USER_ID])
    kind: str = Field(examples=["user"])
    name: str = Field(examples=["ada"])


class ReachBody(BodyModel):
    """A workspace that the credential reaches, and the user's role there."""

    id: str = Field(examples=[WORKSPACE_ID])
    handle: str = Field(examples=["ada"])
    role: str = Field(examples=["owner"])


class MeBody(BodyModel):
    """The principal behind a credential."""

    user: UserBody
    workspaces: list[ReachBody]
    scopes: list[str] = Field(
        examples=[["admin:*"]], description="What this credential may do, role included."
    )
    credential: str = Field(examples=[TOKEN_ID], description="The token or session used.")


class WorkspaceBody(BodyModel):
    """A workspace."""

    id: str = Field(examples=[WORKSPACE_ID])
    handle: str = Field(examples=["ada"])
    name: str = Field(examples=["Ada's workshop"])
    created_at: datetime
    journal_days: int | None = Field(
        description="Days for which the journals of ended runs are kept; null: for as long as the runs are."
    )


class WorkspaceRequest(BodyModel):
    """A workspace to be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"handle": "night-shift", "name": "Night shift"}]}
    )

    handle: str = Field(description="1 to 40 of a-z, 0-9 and inner hyphens; in the addresses of its agents.")
    name: str = Field(default="", description="The name people see; the handle unless given.")


class WorkspaceChange(BodyModel):
    """What can be changed of a workspace."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Ada's workshop"}, {"journal_days": 90}]}
    )

    name: str = Field(default="", description="The name people see.")
    handle: str = Field(
        default="",
        description="What it is called in addresses. The handles before go on leading to it, and are never another's. "
        "10 in all; from a session 403 `confirmation_needed` where its person has not shown for 10 minutes that it "
        "is theirs.",
    )
    journal_days: Annotated[int, Field(strict=True)] | None = Field(
        default=None,
        description="Days for which the journals of ended runs are kept here, 1 to 36,500; null for as long as the "
        "runs are. Then they go to the archive, where the installation has one, else for good; messages stay.",
    )


class SignInLinkBody(BodyModel):
    """A link that signs a browser in, once."""

    url: str | None = Field(
        examples=["http://localhost:8642/sign-in/4kQx9ZbT0pWmN2vR7sLdYc"],
        description="Shown this once; null when an Idempotency-Key replays the answer.",
    )
    expires_at: datetime


@router.get("/me", operation_id="getMe", summary="Who am I")
async def get_me(request: Request, principal: Annotated[Principal, requires(agents=True)]) -> MeBody:
    """The user, the workspaces and the scopes behind the credential in use."""
    reached = await service.list_workspaces(principal, database(request))
    return MeBody(
        user=UserBody(id=principal.label.partition(":")[2], kind=principal.kind, name=principal.name),
        workspaces=[
            ReachBody(id=format_id("ws", each.id), handle=each.handle, role=each.role) for each in reached
        ],
        scopes=sorted(principal.scopes),
        credential=format_id("ses" if principal.via == "session" else "tok", principal.credential),
    )


@router.get("/workspaces", operation_id="listWorkspaces", summary="List workspaces")
async def list_workspaces(
    request: Request, principal: Annotated[Principal, requires("read:workspaces")]
) -> Page[WorkspaceBody]:
    """The workspaces that the credential reaches: a session all of its user's, a token the one it was made in."""
    found = await service.list_workspaces(principal, database(request))
    return Page[WorkspaceBody](items=[_workspace(each) for each in found])


@router.post(
    "/workspaces",
    status_code=201,
    response_model=WorkspaceBody,
    operation_id="createWorkspace",
    summary="Make a workspace",
    openapi_extra=IDEMPOTENT,
)
async def create_workspace(
    request: Request, principal: Annotated[Principal, requires("write:workspaces")], wanted: WorkspaceRequest
) -> Response:
    """Makes a workspace of your own. A signed-in browser alone may; `multi_user` must be on."""

    async def write() -> Response:
        made = await service.make_workspace(
            principal, database(request), doors(request), handle=wanted.handle, name=wanted.name
        )
        authenticator(request).forget()
        return Response(_workspace(made).model_dump_json(), 201, media_type="application/json")

    return await once(request, principal, write)


@router.get("/workspaces/{ws}", operation_id="getWorkspace", summary="Read a workspace")
async def get_workspace(
    request: Request, principal: Annotated[Principal, requires("read:workspaces")]
) -> WorkspaceBody:
    """One workspace, by handle or id."""
    return _workspace(await service.read_workspace(principal, database(request)))


@router.patch("/workspaces/{ws}", operation_id="updateWorkspace", summary="Change a workspace")
async def update_workspace(
    request: Request, principal: Annotated[Principal, requires("admin:workspaces")], change: WorkspaceChange
) -> WorkspaceBody:
    """Changes the name people see, the handle, or how long journals are kept."""
    given = change.model_fields_set
    changed = None
    if "handle" in given:
        changed = await lifecycle.change_handle(principal, database(request), change.handle)
        authenticator(request).forget()
    if "journal_days" in given:
        changed = await service.keep_journals(principal, database(request), change.journal_days)
    if "name" in given or changed is None:
        changed = await service.rename_workspace(principal, database(request), change.name)
    return _workspace(changed)


@router.post(
    "/workspaces/{ws}/tokens",
    status_code=201,
    response_model=NewTokenBody,
    operation_id="createToken",
    summary="Make a token",
    openapi_extra=IDEMPOTENT,
)
async def create_token(
    request: Request,
    principal: Annotated[Principal, requires("write:tokens", agents=True)],
    wanted: TokenRequest,
) -> Response:
    """Makes a token for yourself, or for an agent, with no more than the credential in use has.

    What is made with a token stands below it: it ends with that, and with any token above.
    """

    async def write() -> Response:
        token, minted = await service.create_token(
            principal,
            database(request),
            name=wanted.name,
            scopes=wanted.scopes,
            lifetime=None if wanted.expires_in is None else _seconds(wanted.expires_in),
            agents=wanted.agents,
            agent=wanted.agent,
            levels=wanted.levels,
        )
        return created(token, minted)

    return await once(request, principal, write, kept=lambda made: _without(made, "token"))


@router.get("/workspaces/{ws}/tokens", operation_id="listTokens", summary="List tokens")
async def list_tokens(
    request: Request, principal: Annotated[Principal, requires("read:tokens", agents=True)], paging: Paging
) -> Page[TokenBody]:
    """Your tokens that are not revoked, newest first; `admin:tokens` sees everybody's."""
    rows = await service.list_tokens(
        principal, database(request), before=paging.after_id("tokens"), limit=paging.limit + 1
    )
    shown, last = cut(rows, paging.limit)
    return Page[TokenBody](
        items=[token_body(row) for row in shown],
        next_cursor=encode_cursor("tokens", last.id) if last else None,
    )


@router.get("/workspaces/{ws}/tokens/{token}", operation_id="getToken", summary="Read a token's record")
async def get_token(
    request: Request,
    principal: Annotated[Principal, requires("read:tokens", agents=True)],
    token: Annotated[str, Path(examples=[TOKEN_ID])],
) -> TokenBody:
    """Its prefix, scopes, expiry and last use."""
    return token_body(await service.read_token(principal, database(request), token))


@router.post(
    "/workspaces/{ws}/tokens/{token}/rotate",
    status_code=201,
    response_model=NewTokenBody,
    operation_id="rotateToken",
    summary="Rotate a token",
    openapi_extra=IDEMPOTENT,
)
async def rotate_token(
    request: Request,
    principal: Annotated[Principal, requires("write:tokens", agents=True)],
    token: Annotated[str, Path(examples=[TOKEN_ID])],
    wanted: RotationRequest,
) -> Response:
    """Makes a successor of one of your tokens, which is all that it was. What the one before made ends with it."""

    async def write() -> Response:
        successor, minted = await service.rotate_token(
            principal, database(request), token, overlap=_seconds(wanted.overlap)
        )
        authenticator(request).forget()
        return created(successor, minted)

    return await once(request, principal, write, kept=lambda made: _without(made, "token"))


@router.delete(
    "/workspaces/{ws}/tokens/{token}", status_code=204, operation_id="revokeToken", summary="Revoke a token"
)
async def revoke_token(
    request: Request,
    principal: Annotated[Principal, requires("write:tokens", agents=True)],
    token: Annotated[str, Path(examples=[TOKEN_ID])],
) -> None:
    """Ends a token at once, and all below it. Its record stays readable by id."""
    await service.revoke_token(principal, database(request), token)
    authenticator(request).forget()


@router.post(
    "/sign-in-links",
    status_code=201,
    response_model=SignInLinkBody,
    operation_id="createSignInLink",
    summary="Make a sign-in link",
    openapi_extra=IDEMPOTENT,
)
async def create_sign_in_link(
    request: Request, principal: Annotated[Principal, requires("admin:*")]
) -> Response:
    """Makes a link that signs a browser in as you, once and within 15 minutes. A token alone may ask."""

    async def write() -> Response:
        link = await sessions.create_link(principal, database(request), doors(request), public_url(request))
        body = SignInLinkBody(url=link.url, expires_at=link.expires_at)
        return Response(body.model_dump_json(), 201, media_type="application/json")

    return await once(request, principal, write, kept=lambda made: _without(made, "url"))


def _workspace(workspace: Workspace | Reach) -> WorkspaceBody:
    return WorkspaceBody(
        id=format_id("ws", workspace.id),
        handle=workspace.handle,
        name=workspace.name,
        created_at=workspace.created_at,
        journal_days=workspace.journal_days,
    )


def _without(response: Response, secret: str) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(bytes(response.body)), secret: None})


def _seconds(number: int) -> timedelta:
    # Beyond any limit of the service, and within what a timedelta can hold.
    return timedelta(seconds=max(-1, min(number, 10**9)))
