"""Conversations and their messages over HTTP."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from porch.agents.bodies import (
    CONVERSATION_ID,
    ConversationBody,
    ConversationRequest,
    MessageBody,
    conversation_body,
)
from porch.agents.conversations import Conversations
from porch.contract.ids import parse_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.idempotency import IDEMPOTENT, once
from porch.http.pagination import Page, Paging, cut, encode_cursor
from porch.http.routing import api_router, json_response
from porch.http.state import database

router: APIRouter = api_router("/api/v1", "conversations")

OF_AGENT = "/workspaces/{ws}/agents/{agent}/conversations"

Reader = Annotated[Principal, requires("read:conversations")]
AgentName = Annotated[str, Path(description="The agent, by handle or id.", examples=["helper"])]
ConversationId = Annotated[str, Path(examples=[CONVERSATION_ID])]


@router.post(
    OF_AGENT,
    status_code=201,
    response_model=ConversationBody,
    operation_id="createConversation",
    summary="Begin a conversation",
    openapi_extra=IDEMPOTENT,
)
async def create_conversation(
    request: Request,
    principal: Annotated[Principal, requires("run:agents", on="object")],
    agent: AgentName,
    wanted: ConversationRequest | None = None,
) -> Response:
    """Begins an empty conversation with an agent; then POST messages to its `/runs`."""

    async def write() -> Response:
        title = wanted.title if wanted else ""
        conversation = await Conversations(database(request)).create(principal, agent, title)
        body = conversation_body(principal, conversation)
        return Response(body.model_dump_json(), 201, media_type="application/json")

    return await once(request, principal, write)


@router.get(OF_AGENT, operation_id="listConversations", summary="List conversations with an agent")
async def list_conversations(
    request: Request, principal: Reader, agent: AgentName, paging: Paging
) -> Page[ConversationBody]:
    """Your conversations with it, newest first; `admin:conversations` sees everybody's."""
    rows = await Conversations(database(request)).page(
        principal, agent, before=paging.after_id("conversations"), limit=paging.limit + 1
    )
    shown, last = cut(rows, paging.limit)
    return Page[ConversationBody](
        items=[conversation_body(principal, row) for row in shown],
        next_cursor=encode_cursor("conversations", last.id) if last else None,
    )


@router.get("/conversations/{conversation}", operation_id="getConversation", summary="Read a conversation")
async def get_conversation(
    request: Request, principal: Reader, conversation: ConversationId
) -> ConversationBody:
    """One conversation; its messages are under `/messages`."""
    found = await Conversations(database(request)).read(principal, conversation)
    return conversation_body(principal, found)


@router.delete(
    "/conversations/{conversation}",
    status_code=204,
    operation_id="deleteConversation",
    summary="Delete a conversation",
)
async def delete_conversation(
    request: Request,
    principal: Annotated[Principal, requires("write:conversations")],
    conversation: ConversationId,
) -> None:
    """Removes it with its messages and runs; 409 while a run is at work."""
    await Conversations(database(request)).delete(principal, conversation)


@router.get(
    "/conversations/{conversation}/messages",
    operation_id="listMessages",
    summary="List a conversation's messages",
    response_model=Page[MessageBody],
)
async def list_messages(
    request: Request,
    principal: Reader,
    conversation: ConversationId,
    paging: Paging,
    order: Annotated[Literal["oldest", "newest"], Query(description="Which come first.")] = "oldest",
) -> Response:
    """Messages of all branches in the order they came; `parent` links them."""
    of = f"messages-{order}"
    rows = await Conversations(database(request)).messages(
        principal,
        conversation,
        after=paging.after_id(of),
        limit=paging.limit + 1,
        newest_first=order == "newest",
    )
    shown, last = cut(rows, paging.limit)
    cursor = encode_cursor(of, parse_id("msg", last.id)) if last else None
    return json_response({"items": shown, "next_cursor": cursor})
