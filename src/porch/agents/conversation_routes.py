"""Conversations and their messages over HTTP."""

from collections.abc import Callable
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from porch.agents.activity import Activity
from porch.agents.bodies import (
    CONVERSATION_ID,
    MESSAGE_ID,
    ConversationBody,
    ConversationChange,
    ConversationRequest,
    FoundConversationBody,
    MessageBody,
    conversation_body,
    found_body,
)
from porch.agents.conversations import Conversations
from porch.agents.files import file_headers
from porch.agents.model import Conversation
from porch.agents.share_routes import router as shares
from porch.contract.ids import parse_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.idempotency import IDEMPOTENT, once
from porch.http.pagination import Page, Paging, cut, encode_cursor
from porch.http.routing import api_router, json_response
from porch.http.state import database

router: APIRouter = api_router("/api/v1", "conversations")

Opened = Callable[[UUID, Conversation], None]
"""Told, as `app.state.conversation_opened`, of a workspace's new conversation."""

Deleted = Callable[[UUID], None]
"""Told, as `app.state.conversation_deleted`, of a conversation that was taken away."""

OF_AGENT = "/workspaces/{ws}/agents/{agent}/conversations"

Reader = Annotated[Principal, requires("read:conversations")]
Participant = Annotated[Principal, requires("read:conversations", guests=True)]
Writer = Annotated[Principal, requires("write:conversations")]
AgentName = Annotated[str, Path(description="The agent, by handle or id.", examples=["helper"])]
ConversationId = Annotated[str, Path(examples=[CONVERSATION_ID])]


async def delete(request: Request, principal: Principal, conversation: str) -> Conversation:
    """Take a conversation away, also from where it is remembered. Raises what `Conversations.delete` does."""
    found = await Conversations(database(request)).delete(principal, conversation)
    if deleted := cast("Deleted | None", getattr(request.app.state, "conversation_deleted", None)):
        deleted(found.id)
    return found


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
    principal: Annotated[Principal, requires("run:agents", on="object", guests=True)],
    agent: AgentName,
    wanted: ConversationRequest | None = None,
) -> Response:
    """Begins an empty conversation with an agent; then POST messages to its `/runs`."""

    async def write() -> Response:
        title, draft = (wanted.title, wanted.draft) if wanted else ("", False)
        conversation = await Conversations(database(request)).create(principal, agent, title, draft=draft)
        if opened := cast("Opened | None", getattr(request.app.state, "conversation_opened", None)):
            opened(principal.workspace, conversation)
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


@router.get("/conversations", operation_id="findConversations", summary="Find conversations")
async def find_conversations(
    request: Request,
    principal: Reader,
    paging: Paging,
    q: Annotated[
        str,
        Query(
            max_length=200,
            description="Words, or their beginnings, in messages or titles.",
            examples=["train"],
        ),
    ] = "",
    agent: Annotated[str | None, Query(description="An agent, by handle or id.", examples=["helper"])] = None,
    audience: Annotated[
        Literal["own", "members"],
        Query(description="`members`: all that are open to the workspace's members."),
    ] = "own",
) -> Page[FoundConversationBody]:
    """Your own conversations with all agents, the last active first; `q` searches them."""
    after = Activity.parse(paging.cursor) if paging.cursor is not None else None
    hits = await Conversations(database(request)).own(
        principal, search=q, agent=agent, after=after, limit=paging.limit + 1, audience=audience
    )
    shown, last = cut(hits, paging.limit)
    return Page[FoundConversationBody](
        items=[found_body(principal, hit) for hit in shown],
        next_cursor=str(Activity.of(last.conversation)) if last else None,
    )


@router.get("/conversations/{conversation}", operation_id="getConversation", summary="Read a conversation")
async def get_conversation(
    request: Request, principal: Participant, conversation: ConversationId
) -> ConversationBody:
    """One conversation; its messages are under `/messages`."""
    found = await Conversations(database(request)).read(principal, conversation)
    return conversation_body(principal, found)


@router.patch(
    "/conversations/{conversation}", operation_id="updateConversation", summary="Change a conversation"
)
async def update_conversation(
    request: Request, principal: Writer, conversation: ConversationId, change: ConversationChange
) -> ConversationBody:
    """Renames it, makes another message the end of its branch, or opens it to the workspace's members."""
    found = await Conversations(database(request)).update(
        principal, conversation, title=change.title, head=change.head, audience=change.audience
    )
    return conversation_body(principal, found)


@router.delete(
    "/conversations/{conversation}",
    status_code=204,
    operation_id="deleteConversation",
    summary="Delete a conversation",
)
async def delete_conversation(request: Request, principal: Writer, conversation: ConversationId) -> None:
    """Takes it away with its messages and runs; 409 while a run is at work.

    `POST …/restore` brings it back within ten minutes; after that it is gone for good.
    """
    await delete(request, principal, conversation)


@router.post(
    "/conversations/{conversation}/restore",
    response_model=ConversationBody,
    operation_id="restoreConversation",
    summary="Restore a conversation",
    openapi_extra=IDEMPOTENT,
)
async def restore_conversation(request: Request, principal: Writer, conversation: ConversationId) -> Response:
    """Brings back what was deleted within the last ten minutes."""

    async def write() -> Response:
        found = await Conversations(database(request)).restore(principal, conversation)
        body = conversation_body(principal, found)
        return Response(body.model_dump_json(), media_type="application/json")

    return await once(request, principal, write)


@router.get(
    "/conversations/{conversation}/messages",
    operation_id="listMessages",
    summary="List a conversation's messages",
    response_model=Page[MessageBody],
)
async def list_messages(
    request: Request,
    principal: Participant,
    conversation: ConversationId,
    paging: Paging,
    order: Annotated[Literal["oldest", "newest"], Query(description="Which come first.")] = "oldest",
) -> Response:
    """Messages of all branches in the order in which they were made; `parent` links them.

    That is not always the order in which they are read: a message that waited for its turn was made when it was
    sent, before the answers that it follows. What the conversation shows is its `head`, the `parent` of that, and
    so on; `…/export` has it in order.

    A picture or file stands there with its type, size in bytes and `url`, the server's path of its bytes.
    """
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


@router.get(
    "/conversations/{conversation}/messages/{message}/parts/{part}",
    operation_id="getMessageFile",
    summary="Read a message's picture or file",
    response_class=Response,
    responses={
        200: {
            "description": "The bytes, a picture's without its camera's notes; all but pictures as a download.",
            "content": {"image/*": {}, "application/pdf": {}, "application/json": {}, "text/plain": {}},
        }
    },
)
async def get_message_file(
    request: Request,
    principal: Participant,
    conversation: ConversationId,
    message: Annotated[str, Path(examples=[MESSAGE_ID])],
    part: Annotated[int, Path(ge=0, le=1000, description="Its place among the message's parts, from 0.")],
) -> Response:
    """The bytes of a picture or a file that came with a message."""
    found, content = await Conversations(database(request)).file(principal, conversation, message, part)
    return Response(content, headers=file_headers(found, keep=True))


router.routes.extend(shares.routes)
