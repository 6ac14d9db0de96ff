"""The others in a conversation that is open to members: who is there just now, and word of what happens.

Whoever looks asks again and again, and is answered when something has changed, or after a while. To ask is to be there.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Generator
from datetime import timedelta
from uuid import UUID

import msgspec

from porch.agents.conversations import reach_conversation
from porch.agents.model import Conversation
from porch.contract.ids import format_id
from porch.contract.messages import Author
from porch.contract.principal import Principal
from porch.storage.bus import EVERYBODY, Bus
from porch.storage.connection import Connection
from porch.storage.database import Database

WAIT_SECONDS = 10.0
# Who asks comes again at once; a slow network may take its time.
PRESENT = timedelta(seconds=25)
MOST_SHOWN = 50
KEPT = timedelta(days=1)


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to see of the others.

    `version` is of all of this, `activity` of the conversation alone: they change with what they stand for.
    """

    version: str
    activity: str
    open: bool
    present: list[Author]


class Porches:
    """The conversations that somebody looks at here, and word of them from every process."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._waiting: dict[UUID, set[asyncio.Event]] = {}
        bus.listen("stir", self._stir)
        bus.on_up(self._stir_all)

    async def watch(
        self, principal: Principal, conversation: str, seen: str | None, seconds: float = WAIT_SECONDS
    ) -> Company:
        """What there is to see, as soon as it is something else than the version `seen`, or after so many seconds.

        Raises NotFound.
        """
        async with self._database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            if found.audience == "members" and principal.kind == "user":
                await _come(connection, principal, found.id)
        deadline = asyncio.get_running_loop().time() + seconds
        with self._listening(found.id) as word:
            while True:
                word.clear()
                company = await self._look(principal, conversation)
                if company.version != seen or not company.open:
                    return company
                try:
                    async with asyncio.timeout_at(deadline):
                        await word.wait()
                except TimeoutError:
                    return await self._look(principal, conversation)

    async def _look(self, principal: Principal, conversation: str) -> Company:
        async with self._database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            opened = found.audience == "members" and principal.kind == "user"
            present = await _present(connection, principal, found.id) if opened else []
        activity = _digest(_activity(found))
        people = ",".join(each.id for each in present)
        return Company(version=_digest(activity + people), activity=activity, open=opened, present=present)

    @contextlib.contextmanager
    def _listening(self, conversation: UUID) -> Generator[asyncio.Event]:
        word = asyncio.Event()
        self._waiting.setdefault(conversation, set()).add(word)
        try:
            yield word
        finally:
            waiting = self._waiting[conversation]
            waiting.discard(word)
            if not waiting:
                del self._waiting[conversation]

    def _stir(self, conversation: str) -> None:
        for word in self._waiting.get(UUID(hex=conversation), ()):
            word.set()

    def _stir_all(self) -> None:
        for waiting in self._waiting.values():
            for word in waiting:
                word.set()


def _activity(found: Conversation) -> str:
    return f"{found.updated_at.isoformat()} {found.active_run} {found.head_message_id} {found.title} {found.audience}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


async def _come(connection: Connection, principal: Principal, conversation: UUID) -> None:
    """Notes that somebody is there, and tells the others of who was not before."""
    before = await connection.fetchval(
        "SELECT seen_at > now() - $4::interval FROM porch.presence"
        " WHERE workspace_id = $1 AND conversation_id = $2 AND user_id = $3",
        principal.workspace,
        conversation,
        principal.id,
        PRESENT,
    )
    await connection.execute(
        "INSERT INTO porch.presence (workspace_id, conversation_id, user_id, seen_at) VALUES ($1, $2, $3, now())"
        " ON CONFLICT (workspace_id, conversation_id, user_id) DO UPDATE SET seen_at = excluded.seen_at",
        principal.workspace,
        conversation,
        principal.id,
    )
    if before:
        return
    await connection.execute(
        "DELETE FROM porch.presence WHERE workspace_id = $1 AND seen_at < now() - $2::interval",
        principal.workspace,
        KEPT,
    )
    told = msgspec.json.encode([["stir", conversation.hex]]).decode()
    await connection.execute("SELECT pg_notify($1, $2)", EVERYBODY, told)


async def _present(connection: Connection, principal: Principal, conversation: UUID) -> list[Author]:
    rows = await connection.fetch(
        "SELECT user_id, porch.member_name(user_id) AS name FROM porch.presence"
        " WHERE workspace_id = $1 AND conversation_id = $2 AND seen_at > now() - $3::interval"
        " ORDER BY user_id LIMIT $4",
        principal.workspace,
        conversation,
        PRESENT,
        MOST_SHOWN,
    )
    # Who left the workspace has no name here any more.
    return [
        Author(id=format_id("usr", row["user_id"]), name=row["name"], you=row["user_id"] == principal.id)
        for row in rows
        if row["name"] is not None
    ]
