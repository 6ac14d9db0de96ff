"""What one can do with conversations and their messages.

A conversation is its participant's, and of those who hold `admin:conversations`. One that is open to the members of
its workspace all of these read, and go on with as far as their roles let them; others get NotFound.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal
from uuid import UUID

import msgspec

from porch.agents import conversation_store as store
from porch.agents import store as agents
from porch.agents.activity import Activity
from porch.agents.files import Attached, fill, has_files, read_file, with_urls, without_names
from porch.agents.model import Conversation, Hit
from porch.agents.obstacles import HERE, obstacle
from porch.agents.service import reach_agent
from porch.agents.together import may_keep, may_see, set_audience, tell_authors
from porch.contract.attachments import MAX_ATTACHED_BYTES
from porch.contract.definition import Definition
from porch.contract.errors import Conflict, ConversationBusy, Forbidden, InvalidInput, NotFound
from porch.contract.ids import format_id, parse_id
from porch.contract.messages import Message
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.identity.limits import CONVERSATIONS, use_limit
from porch.storage.connection import Connection, is_dangling
from porch.storage.database import Database
from porch.storage.retrying import retried

MAX_TITLE_BYTES = 400
MAX_SEARCH_BYTES = 800
# What is read at once of a conversation that is read whole.
PAGE_MESSAGES, PAGE_BYTES = 200, 200_000


@dataclass(frozen=True, slots=True)
class Conversations:
    """The conversations of a database."""

    database: Database

    @retried
    async def create(
        self, principal: Principal, agent: str, title: str = "", *, draft: bool = False
    ) -> Conversation:
        """A new conversation of the principal with an agent that it may run, or with its draft if it may write.

        Raises NotFound, Forbidden, and RateLimited for a guest who begins many.
        """
        title = check_title(title)
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "run")
            if draft:
                principal.require("write", "agents", format_id("agt", found.id))
            if principal.kind == "guest":
                await use_limit(connection, principal.workspace, CONVERSATIONS, principal.id)
            try:
                made = await store.insert_conversation(connection, principal, found, title, draft=draft)
            except Exception as error:
                if is_dangling(error):
                    raise NotFound(f"There is no agent {agent[:80]!r} any more.") from error
                raise
            return await _with_conduct(connection, principal.workspace, made)

    async def page(
        self, principal: Principal, agent: str, *, before: UUID | None, limit: int
    ) -> list[Conversation]:
        """Conversations with an agent, newest first: the principal's own, with `admin:conversations` all."""
        principal.require("read", "conversations")
        participant = None if principal.allows("admin", "conversations") else principal.id
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "read", "run")
            return await store.list_conversations(
                connection, principal.workspace, found.id, participant, before, limit
            )

    async def own(
        self,
        principal: Principal,
        *,
        search: str = "",
        agent: str | None = None,
        after: Activity | None = None,
        limit: int,
        begun: bool = False,
        audience: Literal["own", "members"] = "own",
    ) -> list[Hit]:
        """The principal's own conversations, the last active first; with `search` those that hold its words.

        With the `audience` of members instead all of the workspace's that are open to these.

        With `begun` those are left out that have neither a message nor a title: what a first message leaves that
        was refused.
        """
        principal.require("read", "conversations")
        search = check_text(search.strip(), "The search", MAX_SEARCH_BYTES)
        if search and audience == "members":
            raise InvalidInput(
                "A search finds your own conversations. Leave out either the words or the audience."
            )
        async with self.database.tenant(principal.workspace) as connection:
            which = (await reach_agent(connection, principal, agent, "read", "run")).id if agent else None
            among = (which,) if which else principal.agents
            if audience == "members":
                if principal.kind != "user":
                    return []
                rows = await store.list_open(connection, principal.workspace, among, after, limit)
                return [Hit(conversation=row) for row in rows]
            if search and among is not None and which is None:
                if len(among) > 1:
                    raise InvalidInput(
                        "This credential is good for some agents alone: say in which one's conversations to search."
                    )
                which = next(iter(among))
            if search:
                return await store.search_conversations(connection, principal, search, which, after, limit)
            rows = await store.list_active(connection, principal, among, after, limit, begun=begun)
        return [Hit(conversation=row) for row in rows]

    async def read(self, principal: Principal, conversation: str) -> Conversation:
        """One conversation by id. Raises NotFound."""
        principal.require("read", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            return await _with_conduct(connection, principal.workspace, found)

    @retried
    async def update(
        self,
        principal: Principal,
        conversation: str,
        *,
        title: str | None = None,
        head: str | None = None,
        audience: Literal["own", "members"] | None = None,
    ) -> Conversation:
        """The conversation with another title, another message as the end of its branch, or another audience.

        Raises NotFound, also for a message of another conversation, ConversationBusy for a head while a run is at
        work, Forbidden where it is only open to the principal, and Conflict for what cannot be opened.
        """
        principal.require("write", "conversations")
        workspace = principal.workspace
        async with self.database.tenant(workspace) as connection:
            found = await reach_conversation(connection, principal, conversation, lock=True, keep=True)
            if title is not None:
                await store.rename_conversation(connection, workspace, found.id, check_title(title))
            if audience is not None:
                await set_audience(connection, workspace, found, audience)
            if head is not None:
                if reason := await store.conversation_waits_for(connection, workspace, found.id):
                    raise ConversationBusy(obstacle(principal, reason, HERE, "switch to another branch"))
                if not await store.move_head(connection, workspace, found.id, parse_id("msg", head)):
                    raise NotFound(f"There is no message {head[:80]!r} in this conversation.")
            changed = await reach_conversation(connection, principal, conversation)
            return await _with_conduct(connection, workspace, changed)

    @retried
    async def delete(self, principal: Principal, conversation: str) -> Conversation:
        """Takes a conversation out of every read; for ten minutes it can be restored.

        Raises Conflict while a run is at work in it.
        """
        principal.require("write", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation, lock=True, keep=True)
            if reason := await store.conversation_waits_for(connection, principal.workspace, found.id):
                raise Conflict(obstacle(principal, reason, HERE, "delete the conversation"))
            await store.mark_deleted(connection, principal.workspace, found.id)
            return found

    @retried
    async def restore(self, principal: Principal, conversation: str) -> Conversation:
        """A deleted conversation as it was. Raises NotFound when it is too late, and for all others' as ever."""
        principal.require("write", "conversations")
        identifier = parse_id("conv", conversation)
        async with self.database.tenant(principal.workspace) as connection:
            found = await store.read_deleted(connection, principal.workspace, identifier, lock=True)
            if found is None or not may_keep(principal, found):
                raise NotFound(
                    f"There is no deleted conversation {conversation[:80]!r} to restore; that is possible for "
                    "ten minutes."
                )
            await store.unmark_deleted(connection, principal.workspace, found.id)
            return await _with_conduct(connection, principal.workspace, found)

    async def restorable(self, principal: Principal, conversation: str) -> Conversation | None:
        """A conversation deleted so shortly ago that it can be restored, or None."""
        principal.require("read", "conversations")
        try:
            identifier = parse_id("conv", conversation)
        except NotFound:
            return None
        async with self.database.tenant(principal.workspace) as connection:
            found = await store.read_deleted(connection, principal.workspace, identifier)
        return found if found is not None and may_keep(principal, found) else None

    async def branch(
        self, principal: Principal, conversation: str, *, limit: int | None = None, room: int | None = None
    ) -> tuple[Conversation, Definition, list[Message]]:
        """A conversation, its agent's definition, and the messages up to its head, oldest first.

        With `limit`, at most so many, the newest; with `room`, no more once they fill so many bytes.
        """
        principal.require("read", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            agent = await agent_of(connection, principal.workspace, found)
            if found.head_message_id is None:
                return found, agent, []
            messages = await store.read_branch(
                connection, principal.workspace, found.head_message_id, limit, room
            )
            messages = await tell_authors(connection, principal, found, messages)
            return found, agent, [with_urls(message, place_of(found)) for message in messages]

    async def whole_branch(
        self, principal: Principal, conversation: str
    ) -> tuple[Conversation, Definition, AsyncGenerator[list[Message]]]:
        """A conversation, its agent's definition, and all messages up to its head in pages, oldest first.

        A slow reader holds neither a connection nor a snapshot: a message never changes, so the branch of this
        head stays what it is. Only when the conversation is removed for good meanwhile do the pages end with
        NotFound.
        """
        principal.require("read", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            agent = await agent_of(connection, principal.workspace, found)
            head = found.head_message_id
            ids = await store.branch_ids(connection, principal.workspace, head) if head else b""
        return found, agent, self._pages(principal.workspace, ids)

    async def _pages(self, workspace: UUID, ids: bytes) -> AsyncGenerator[list[Message]]:
        at = 0
        while at < len(ids):
            wanted = ids[at : at + PAGE_MESSAGES * 16]
            names = [UUID(bytes=wanted[n : n + 16]) for n in range(0, len(wanted), 16)]
            async with self.database.tenant(workspace) as connection:
                page = await store.read_messages(connection, workspace, names, PAGE_BYTES)
            if not page:
                raise NotFound("The conversation was removed while it was read.")
            at += len(page) * 16
            for held, messages in groupby(page, key=lambda message: has_files(message.parts)):
                if not held:
                    yield list(messages)
                    continue
                for message in messages:  # one at a time: a message's files may be many megabytes
                    yield [await self._whole(workspace, message)]

    async def _whole(self, workspace: UUID, message: Message) -> Message:
        async with self.database.tenant(workspace) as connection:
            (parts,) = await fill(connection, workspace, [message.parts], MAX_ATTACHED_BYTES)
        return without_names(msgspec.structs.replace(message, parts=parts))

    async def messages(
        self, principal: Principal, conversation: str, *, after: UUID | None, limit: int, newest_first: bool
    ) -> list[Message]:
        """Messages of a conversation, all branches; each names its parent."""
        principal.require("read", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            messages = await store.list_messages(
                connection, principal.workspace, found.id, after, limit, newest_first=newest_first
            )
            messages = await tell_authors(connection, principal, found, messages)
        return [with_urls(message, place_of(found)) for message in messages]

    async def file(
        self, principal: Principal, conversation: str, message: str, at: int
    ) -> tuple[Attached, bytes]:
        """A picture or file of one of its messages, by its place among the parts, with its bytes. Raises NotFound."""
        principal.require("read", "conversations")
        which = parse_id("msg", message)
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            return await read_file(connection, principal.workspace, found.id, which, at)


async def reach_conversation(
    connection: Connection, principal: Principal, named: str, *, lock: bool = False, keep: bool = False
) -> Conversation:
    """The conversation with this id, if the principal may read it; with `keep` if it is the principal's to change.

    Raises NotFound for all others, and Forbidden for what one may read and not `keep`.
    """
    found = await store.read_conversation(connection, principal.workspace, parse_id("conv", named), lock=lock)
    if found is None or not may_see(principal, found):
        raise NotFound(f"There is no conversation {named[:80]!r} here.")
    if keep and not may_keep(principal, found):
        raise Forbidden(
            "This conversation is somebody else's, who opened it to you: they and the workspace's admins alone rename, "
            "share, open or delete it."
        )
    return found


def place_of(conversation: Conversation) -> str:
    """Below which path of the server a conversation's files are."""
    return f"/api/v1/conversations/{format_id('conv', conversation.id)}"


async def agent_of(connection: Connection, workspace: UUID, conversation: Conversation) -> Definition:
    """What the conversation's agent says of itself: its latest version, or else its draft."""
    agent = await agents.find_agent(
        connection, workspace, identifier=conversation.agent_id, handle=conversation.agent_handle
    )
    assert agent  # it goes with its conversations
    if agent.latest_version is None or conversation.draft:
        return agent.draft
    version = await agents.read_version(connection, workspace, agent.id, agent.latest_version)
    return version.definition if version else agent.draft


async def _with_conduct(connection: Connection, workspace: UUID, found: Conversation) -> Conversation:
    agent = await agent_of(connection, workspace, found)
    return msgspec.structs.replace(found, concurrency=agent.concurrency or "reject")


def check_title(title: str) -> str:
    """A title on one line. Raises InvalidInput for one that is too long or cannot be stored."""
    return check_text(" ".join(title.split()), "The title", MAX_TITLE_BYTES)
