"""Pages of conversations: the list, the chat, and what a shared link shows."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path, Query, Request
from starlette.responses import Response

from porch.agents.activity import Activity
from porch.agents.conversation_routes import delete
from porch.agents.conversation_views import (
    conversation_view,
    hit_view,
    is_cut,
    share_view,
    transcript_view,
)
from porch.agents.conversations import Conversations
from porch.agents.files import file_headers
from porch.agents.legible import in_short, legible
from porch.agents.model import Agent
from porch.agents.shares import Shares
from porch.agents.together import may_open
from porch.agents.views import agents_of
from porch.contract.errors import InvalidInput
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.http.auth import public, requires
from porch.http.hosts import outer_url
from porch.http.pages import form, local_path, page_router, redirect, render, visitor
from porch.http.pagination import cut
from porch.http.state import database, doors

router = page_router("conversations")

Reader = Annotated[Principal, requires("read:conversations")]
Writer = Annotated[Principal, requires("write:conversations")]

ROWS = 30
MAX_SEARCH = 200
# For those who read without JavaScript; everybody's page carries it.
READ_MESSAGES, READ_CHARACTERS = 40, 24_000
SHARED_CHARACTERS = 400_000


@router.get("/conversations")
async def list_conversations(
    request: Request,
    principal: Reader,
    q: str = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    deleted: Annotated[str, Query(max_length=80)] = "",
    audience: Literal["own", "members"] = "own",
) -> Response:
    """One's conversations, the last active first, or those with the searched words, or those open to all members."""
    conversations = Conversations(database(request))
    after = Activity.parse(cursor) if cursor else None
    search = check_text(q, "The search", 8 * MAX_SEARCH)[:MAX_SEARCH].strip()
    hits = await conversations.own(
        principal, search=search, after=after, limit=ROWS + 1, begun=True, audience=audience
    )
    shown, last = cut(hits, ROWS)
    gone = await conversations.restorable(principal, deleted) if deleted else None
    return show(
        request,
        "list",
        conversations=[hit_view(principal, hit, search) for hit in shown],
        search=search,
        shown_search=legible(search),
        opened=audience == "members",
        several=doors(request).multi_user,
        first=cursor is None,
        next_cursor=str(Activity.of(last.conversation)) if last else None,
        deleted=conversation_view(principal, gone) if gone else None,
        new_chat=await _new_chat(request, principal),
        may_write=principal.allows("write", "conversations"),
    )


@router.get("/chat/{conversation}")
async def open_chat(request: Request, principal: Reader, conversation: str) -> Response:
    """A conversation to read and to continue."""
    found, agent, messages = await Conversations(database(request)).branch(
        principal, conversation, limit=READ_MESSAGES, room=4 * READ_CHARACTERS
    )
    speaker = in_short(agent.title or found.agent_handle, 80)
    transcript = transcript_view(messages, speaker, READ_CHARACTERS)
    return show(
        request,
        "chat",
        conversation=conversation_view(principal, found),
        speaker=speaker,
        transcript=transcript,
        left_out=is_cut(transcript, messages),
        may_write=principal.allows("write", "conversations"),
    )


@router.get("/conversations/{conversation}/rename")
async def ask_title(request: Request, principal: Writer, conversation: str, then: str = "") -> Response:
    """A form for another title."""
    found = await Conversations(database(request)).read(principal, conversation)
    view = conversation_view(principal, found)
    return show(request, "rename", conversation=view, title=found.title, then=_then(then, view), error="")


@router.post("/conversations/{conversation}/rename")
async def rename(request: Request, principal: Writer, conversation: str) -> Response:
    """Gives it another title."""
    conversations = Conversations(database(request))
    sent = await form(request)
    title = sent.get("title", "")
    try:
        await conversations.update(principal, conversation, title=title)
    except InvalidInput as error:
        view = conversation_view(principal, await conversations.read(principal, conversation))
        then = _then(sent.get("then", ""), view)
        return show(
            request, "rename", error.status, conversation=view, title=title, then=then, error=error.message
        )
    return redirect(request, local_path(sent.get("then", "")) or "/conversations", flash="It has a new name.")


@router.post("/conversations/{conversation}/delete")
async def take_away(request: Request, principal: Writer, conversation: str) -> Response:
    """Takes it away; the list then offers to bring it back."""
    found = await delete(request, principal, conversation)
    return redirect(request, f"/conversations?deleted={format_id('conv', found.id)}")


@router.post("/conversations/{conversation}/restore")
async def restore(request: Request, principal: Writer, conversation: str) -> Response:
    """Brings a deleted one back."""
    await Conversations(database(request)).restore(principal, conversation)
    return redirect(request, "/conversations", flash="The conversation is back.")


@router.get("/conversations/{conversation}/share")
async def list_shares(request: Request, principal: Writer, conversation: str) -> Response:
    """A conversation's links, and a button for another."""
    return await _shares(request, principal, conversation)


@router.post("/conversations/{conversation}/share")
async def share(request: Request, principal: Writer, conversation: str) -> Response:
    """Makes a link, which is shown this once."""
    made, token = await Shares(database(request)).create(principal, conversation)
    url = f"{outer_url(request)}/shared/{token}"
    return await _shares(request, principal, conversation, url=url, made=format_id("shr", made.id))


@router.post("/conversations/{conversation}/audience")
async def choose_audience(request: Request, principal: Writer, conversation: str) -> Response:
    """Opens it to the workspace's members, or closes it to them."""
    opened = (await form(request)).get("audience") == "members"
    await Conversations(database(request)).update(
        principal, conversation, audience="members" if opened else "own"
    )
    flash = (
        "It is open to the members of this workspace." if opened else "Only you and the admins see it now."
    )
    return redirect(request, f"/conversations/{conversation}/share", flash=flash)


@router.post("/conversations/{conversation}/shares/{share}/revoke")
async def revoke(request: Request, principal: Writer, conversation: str, share: str) -> Response:
    """Closes a link."""
    await Shares(database(request)).revoke(principal, conversation, share)
    return redirect(
        request,
        f"/conversations/{conversation}/share",
        flash="The link is closed: nobody reads there any more.",
    )


@router.get("/shared/{token}", dependencies=[public()])
async def read_shared(request: Request, token: str) -> Response:
    """A conversation that somebody shared, for anybody who has its link."""
    shared = await Shares(database(request)).open(token)
    await visitor(request)
    speaker = in_short(shared.agent_title, 80)
    transcript = transcript_view(shared.messages, speaker, SHARED_CHARACTERS)
    response = show(
        request,
        "shared",
        nav="",
        title=in_short(shared.title, 120) or "A shared conversation",
        agent=shared.agent,
        speaker=speaker,
        created_at=shared.created_at,
        messages=msgspec.to_builtins(shared.messages),
        transcript=transcript,
        left_out=shared.left_out or is_cut(transcript, shared.messages),
    )
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@router.get("/shared/{token}/messages/{message}/parts/{part}", dependencies=[public()])
async def read_shared_file(
    request: Request, token: str, message: str, part: Annotated[int, Path(ge=0, le=1000)]
) -> Response:
    """A picture or file of a shared conversation, as long as its link is open."""
    found, content = await Shares(database(request)).file(token, message, part)
    return Response(content, headers=file_headers(found, keep=False))


async def _shares(
    request: Request, principal: Principal, conversation: str, *, url: str = "", made: str = ""
) -> Response:
    found = await Conversations(database(request)).read(principal, conversation)
    shares = await Shares(database(request)).page(principal, conversation)
    return show(
        request,
        "share",
        conversation=conversation_view(principal, found),
        shares=[share_view(each) for each in shares],
        url=url,
        made=made,
        empty=found.head_message_id is None,
        several=doors(request).multi_user,
        may_open=may_open(found),
    )


def show(request: Request, page: str, status: int = 200, **context: Any) -> Response:
    """One of the conversations' pages."""
    return render(request, f"conversations/{page}.html", status, **{"nav": "conversations", **context})


async def _new_chat(request: Request, principal: Principal) -> str:
    """Where another conversation begins: with the newest agent, as on the home page."""
    newest: list[Agent] = []
    if principal.allows("read", "agents"):
        newest = await agents_of(request).page(principal, before=None, limit=1)
    return f"/@{principal.workspace_handle}/{newest[0].handle}" if newest else "/agents"


def _then(sent: str, view: dict[str, Any]) -> str:
    """Where a form leads afterwards: the list, or the conversation itself."""
    return view["path"] if sent == "chat" or sent == view["path"] else "/conversations"
