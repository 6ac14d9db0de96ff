"""Shared links and exports of conversations over HTTP."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from porch.agents.bodies import CONVERSATION_ID
from porch.agents.conversations import Conversations
from porch.agents.exports import ENDINGS, JsonFile, MarkdownFile, disposition, pieces
from porch.agents.model import Share
from porch.agents.shares import Shares
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.body_model import BodyModel
from porch.http.idempotency import IDEMPOTENT, once
from porch.http.pagination import Page
from porch.http.routing import api_router
from porch.http.state import database

router: APIRouter = api_router("/api/v1", "conversations")

SHARE_ID = "shr_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"
ConversationId = Annotated[str, Path(examples=[CONVERSATION_ID])]
Reader = Annotated[Principal, requires("read:conversations")]
Writer = Annotated[Principal, requires("write:conversations")]


class ShareBody(BodyModel):
    """A link under which anybody reads a conversation as it stood when the link was made."""

    id: str = Field(examples=[SHARE_ID])
    created_at: datetime


class NewShareBody(ShareBody):
    """A link just made."""

    url: str | None = Field(
        examples=["/shared/4kQx9ZrTq1b0Wm7uYc3vLp5sNd8fGh2J"],
        description="The link's path, shown this once; null when an Idempotency-Key replays the answer.",
    )


@router.post(
    "/conversations/{conversation}/shares",
    status_code=201,
    response_model=NewShareBody,
    operation_id="createShare",
    summary="Share a conversation",
    openapi_extra=IDEMPOTENT,
)
async def create_share(request: Request, principal: Writer, conversation: ConversationId) -> Response:
    """Makes a read-only link to the conversation as it stands; later messages are not under it."""

    async def write() -> Response:
        share, token = await Shares(database(request)).create(principal, conversation)
        body = NewShareBody(**_body(share).model_dump(), url=f"/shared/{token}")
        return Response(body.model_dump_json(), 201, media_type="application/json")

    return await once(request, principal, write, kept=_without_url)


@router.get("/conversations/{conversation}/shares", operation_id="listShares", summary="List shared links")
async def list_shares(request: Request, principal: Reader, conversation: ConversationId) -> Page[ShareBody]:
    """The conversation's links that are not revoked, newest first."""
    shares = await Shares(database(request)).page(principal, conversation)
    return Page[ShareBody](items=[_body(share) for share in shares])


@router.delete(
    "/conversations/{conversation}/shares/{share}",
    status_code=204,
    operation_id="revokeShare",
    summary="Revoke a shared link",
)
async def revoke_share(
    request: Request,
    principal: Writer,
    conversation: ConversationId,
    share: Annotated[str, Path(examples=[SHARE_ID])],
) -> None:
    """Closes the link at once."""
    await Shares(database(request)).revoke(principal, conversation, share)


@router.get(
    "/conversations/{conversation}/export",
    operation_id="exportConversation",
    summary="Export a conversation",
    response_class=Response,
    responses={200: {"description": "The file.", "content": {"text/markdown": {}, "application/json": {}}}},
)
async def export_conversation(
    request: Request,
    principal: Reader,
    conversation: ConversationId,
    format: Annotated[  # noqa: A002 - its name in the URL
        Literal["markdown", "json"], Query(description="For people, or for programs.")
    ] = "markdown",
) -> Response:
    """The branch up to the head as it stands now, as a file. A file that breaks off is not whole."""
    found, agent, pages = await Conversations(database(request)).whole_branch(principal, conversation)
    address = f"@{principal.workspace_handle}/{found.agent_handle}"
    ending, media_type = ENDINGS[format]
    if format == "json":
        file = JsonFile(found, address)
    else:
        file = MarkdownFile(found, address, agent.title or found.agent_handle)
    content = pieces(file, pages)
    first = await anext(content)
    headers = {
        "Content-Disposition": disposition(found, ending),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_after(first, content), headers=headers, media_type=media_type)


async def _after(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _body(share: Share) -> ShareBody:
    return ShareBody(id=format_id("shr", share.id), created_at=share.created_at)


def _without_url(response: Response) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(bytes(response.body)), "url": None})
