"""Links under which anybody reads a conversation: made, listed, revoked, opened.

A link shows title and branch as they stood when the link was made; what is said later is not under it.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

import msgspec

from porch.agents import conversation_store, share_store
from porch.agents.conversations import agent_of, reach_conversation
from porch.agents.files import Attached, read_file, with_urls
from porch.agents.model import Conversation, Share, SharedConversation
from porch.agents.obstacles import HERE, obstacle
from porch.agents.share_store import ShareTarget
from porch.contract.errors import Conflict, ConversationBusy, NotFound
from porch.contract.ids import parse_id
from porch.contract.messages import Message, ReasoningPart
from porch.contract.principal import Principal
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import retried

# 24 random bytes: nobody guesses one, and SHA-256 of it is what is stored.
TOKEN_BYTES = 24
TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
MAX_SHARES = 200
# Anybody who has a link may ask for its page as often as they like.
MAX_SHOWN, MAX_SHOWN_BYTES = 1000, 300_000


@dataclass(frozen=True, slots=True)
class Shares:
    """The shared links of a database."""

    database: Database

    @retried
    async def create(self, principal: Principal, conversation: str) -> tuple[Share, str]:
        """A link to a conversation as it stands, and its token, which is shown this once.

        Raises NotFound, ConversationBusy while an answer is being written, Conflict when there is nothing to
        show or there are too many links already.
        """
        principal.require("write", "conversations")
        workspace = principal.workspace
        token = secrets.token_urlsafe(TOKEN_BYTES)
        async with self.database.tenant(workspace) as connection:
            found = await reach_conversation(connection, principal, conversation, lock=True, keep=True)
            if reason := await conversation_store.conversation_waits_for(connection, workspace, found.id):
                raise ConversationBusy(obstacle(principal, reason, HERE, "share the conversation"))
            if found.head_message_id is None:
                raise Conflict("There is nothing in this conversation yet. Say something, then share it.")
            if len(await share_store.list_shares(connection, workspace, found.id, MAX_SHARES)) == MAX_SHARES:
                raise Conflict(
                    f"This conversation has {MAX_SHARES} shared links. Revoke some, then make another."
                )
            share = await share_store.insert_share(
                connection, principal, found.id, found.head_message_id, found.title, digest(token)
            )
        return share, token

    async def page(self, principal: Principal, conversation: str) -> list[Share]:
        """A conversation's links that are not revoked, newest first."""
        principal.require("read", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation, keep=True)
            return await share_store.list_shares(connection, principal.workspace, found.id, MAX_SHARES)

    @retried
    async def revoke(self, principal: Principal, conversation: str, share: str) -> None:
        """Closes a link at once. Raises NotFound."""
        principal.require("write", "conversations")
        identifier = parse_id("shr", share)
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation, keep=True)
            if not await share_store.revoke_share(connection, principal.workspace, found.id, identifier):
                raise NotFound(
                    f"This conversation has no shared link {share[:80]!r}, or it is revoked already."
                )

    async def open(self, token: str) -> SharedConversation:
        """What a link shows, to whoever holds it. Raises NotFound for one that is unknown or revoked."""
        target = await self._target(token)
        async with self.database.tenant(target.workspace) as connection:
            conversation = await _conversation(connection, target)
            agent = await agent_of(connection, target.workspace, conversation)
            messages = await conversation_store.read_branch(
                connection, target.workspace, target.message, MAX_SHOWN, MAX_SHOWN_BYTES
            )
        return SharedConversation(
            title=target.title,
            agent=f"@{target.handle}/{conversation.agent_handle}",
            agent_title=agent.title or conversation.agent_handle,
            created_at=target.created_at,
            messages=[public_message(with_urls(message, f"/shared/{token}")) for message in messages],
            left_out=bool(messages) and messages[0].parent is not None,
        )

    async def file(self, token: str, message: str, at: int) -> tuple[Attached, bytes]:
        """A picture or file of a message that a link shows, with its bytes. Raises NotFound."""
        target = await self._target(token)
        which = parse_id("msg", message)
        async with self.database.tenant(target.workspace) as connection:
            await _conversation(connection, target)
            shown = await conversation_store.branch_ids(connection, target.workspace, target.message)
            if which.bytes not in {shown[at : at + 16] for at in range(0, len(shown), 16)}:
                raise NotFound("This link shows no such message.")
            return await read_file(connection, target.workspace, target.conversation, which, at)

    async def _target(self, token: str) -> ShareTarget:
        target = None
        if TOKEN.fullmatch(token):
            target = await share_store.open_share(self.database, digest(token))
        if target is None:
            raise NotFound(
                "There is nothing under this link: it was revoked, or its conversation was deleted. "
                "Ask whoever sent it for another."
            )
        return target


async def _conversation(connection: Connection, target: ShareTarget) -> Conversation:
    found = await conversation_store.read_conversation(connection, target.workspace, target.conversation)
    if found is None:  # deleted in between
        raise NotFound("The conversation under this link was deleted. Ask whoever sent it for another.")
    return found


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def public_message(message: Message) -> Message:
    """A message without what only this server and a provider need: its run, sealed reasoning."""
    parts = [part for part in message.parts if not isinstance(part, ReasoningPart) or part.text]
    bare = [ReasoningPart(text=part.text) if isinstance(part, ReasoningPart) else part for part in parts]
    return msgspec.structs.replace(message, parts=bare, run=None)
