"""Deleting workspaces, and having them back."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import Field

from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.body_model import BodyModel
from porch.http.pagination import Page
from porch.http.routing import api_router
from porch.http.state import authenticate as authenticator
from porch.http.state import database, doors
from porch.identity import lifecycle
from porch.identity.model import DeletedWorkspace
from porch.identity.token_bodies import WORKSPACE_ID

router: APIRouter = api_router("/api/v1", "identity")


class DeletionBody(BodyModel):
    """Until when a workspace can be had back."""

    ends_at: datetime = Field(description="Then it goes for good, with all that is in it.")


class DeletedWorkspaceBody(BodyModel):
    """A deleted workspace that can be had back."""

    id: str = Field(examples=[WORKSPACE_ID])
    handle: str = Field(examples=["night-shift"])
    name: str = Field(examples=["Night shift"])
    ends_at: datetime = Field(description="Then it goes for good, with all that is in it.")
    deleted_by: str = Field(examples=["Ada"], description="The name of whoever deleted it.")


@router.delete(
    "/workspaces/{ws}", status_code=202, operation_id="deleteWorkspace", summary="Delete a workspace"
)
async def delete_workspace(
    request: Request, principal: Annotated[Principal, requires("admin:workspaces")]
) -> DeletionBody:
    """Lets nobody in any more and cancels what its agents do; for 7 days its owners can have it back.

    An owner's signed-in browser alone may, 403 `confirmation_needed` where its person has not shown for 10 minutes that
    it is theirs. 409 for the workspace of whoever runs this Porch, and for one's only one.
    """
    doors(request).require()
    ends = await lifecycle.delete_workspace(principal, database(request), principal.workspace_handle)
    authenticator(request).forget()
    return DeletionBody(ends_at=ends)


@router.get("/deleted-workspaces", operation_id="listDeletedWorkspaces", summary="List deleted workspaces")
async def list_deleted_workspaces(
    request: Request, principal: Annotated[Principal, requires(anywhere=True)]
) -> Page[DeletedWorkspaceBody]:
    """Your own that you can have back, that first which goes first. None for a token."""
    found = await lifecycle.list_deleted(principal, database(request))
    return Page[DeletedWorkspaceBody](items=[_deleted(each) for each in found])


@router.post(
    "/deleted-workspaces/{workspace}/restore",
    operation_id="restoreWorkspace",
    summary="Have a deleted workspace back",
)
async def restore_workspace(
    request: Request,
    principal: Annotated[Principal, requires(anywhere=True)],
    workspace: Annotated[str, Path(examples=[WORKSPACE_ID])],
) -> DeletedWorkspaceBody:
    """Has one of your own back, with all that was in it, tokens included; its open invitations stay revoked.

    A signed-in browser alone may.
    """
    doors(request).require()
    found = await lifecycle.restore_workspace(principal, database(request), workspace)
    authenticator(request).forget()
    return _deleted(found)


def _deleted(workspace: DeletedWorkspace) -> DeletedWorkspaceBody:
    return DeletedWorkspaceBody(
        id=format_id("ws", workspace.id),
        handle=workspace.handle,
        name=workspace.name,
        ends_at=workspace.ends_at,
        deleted_by=workspace.deleted_by,
    )
