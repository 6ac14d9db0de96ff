"""A workspace with a scripted agent, and the runs of one process in it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import pytest

from porch.contract.definition import Definition
from porch.contract.events import AnyEvent, decode_event
from porch.contract.frames import START, Cursor
from porch.contract.ids import new_uuid
from porch.contract.messages import TextPart
from porch.contract.principal import Principal
from porch.contract.sse import SseDecoder
from porch.egress import Egress
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs.service import Runs, Started
from porch.runs.stream import EventStream
from porch.storage.database import Database
from tests.home import EVERYBODY
from tests.runs.sink import Sink

LEASE = 4.0


@dataclass
class Desk:
    """What a test of runs has on its desk: one process' runs, and ways to ask and to read."""

    database: Database
    principal: Principal
    runs: Runs
    others: list[Runs] = field(default_factory=list[Runs])
    egress: Egress | None = None

    async def conversation(self, **changes: object) -> UUID:
        """A new conversation with a new scripted agent; keywords change its definition."""
        values: dict[str, object] = {"name": "actor", "instructions": "Act.", "model": "scripted:test"}
        definition = msgspec.convert({**values, **changes}, Definition)
        agent, conversation = new_uuid(), new_uuid()
        async with self.database.tenant(self.principal.workspace) as connection:
            await connection.execute(
                "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, $3, $4)",
                self.principal.workspace,
                agent,
                f"actor-{agent.hex[-8:]}",
                msgspec.json.encode(definition),
            )
            await connection.execute(
                "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id) "
                "VALUES ($1, $2, $3, 'user', $4)",
                self.principal.workspace,
                conversation,
                agent,
                self.principal.id,
            )
        return conversation

    async def start(self, text: str, conversation: UUID | None = None, **changes: object) -> Started:
        """Send a message, into a new conversation unless one is given."""
        where = conversation or await self.conversation(**changes)
        return await self.runs.start_run(self.principal, where, [TextPart(text=text)])

    async def ask(self, text: str, conversation: UUID | None = None, **changes: object) -> list[AnyEvent]:
        """Send a message and read its stream to the end."""
        started = await self.start(text, conversation, **changes)
        return events_in((await self.read(self.runs.follow_new(self.principal, started))).data)

    async def replay(self, run: UUID, cursor: Cursor = START, runs: Runs | None = None) -> bytes:
        """The bytes of a run's stream behind a cursor, waiting for its end."""
        stream = await (runs or self.runs).follow(self.principal, run, cursor)
        assert stream is not None
        return (await self.read(stream)).data

    @staticmethod
    async def read(stream: EventStream, sink: Sink | None = None) -> Sink:
        """Serve a stream into a sink until it ends."""
        sink = sink or Sink()
        async with asyncio.timeout(30):
            await stream({"type": "http"}, sink.receive, sink.send)
        return sink

    async def another(self, tools: Tools | None = None) -> Runs:
        """The runs of a second process on the same database."""
        assert self.egress
        runs = Runs(self.database, Models({}, self.egress, EVERYBODY), tools or Tools(), lease_seconds=LEASE)
        await runs.start()
        self.others.append(runs)
        return runs

    async def expire(self, runs: Runs) -> None:
        """End a process' lease as if its heartbeats had stopped long ago; it does not know of it yet."""
        async with self.database.system() as connection:
            await connection.execute("SELECT porch.release_process($1)", runs.process)


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    user, workspace = new_uuid(), new_uuid()
    async with database.system() as connection:
        await connection.execute("SELECT porch.ensure_operator($1, 'Ada', $2, 'ada')", user, workspace)
    principal = Principal("user", user, workspace, "ada", "owner", frozenset({"admin:*"}), new_uuid())
    async with Egress() as egress:
        runs = Runs(database, Models({}, egress, EVERYBODY), Tools(), lease_seconds=LEASE)
        desk = Desk(database, principal, runs, egress=egress)
        await runs.start()
        yield desk
        for every in (runs, *desk.others):
            await every.stop()


def events_in(data: bytes) -> list[AnyEvent]:
    """The contract events of a stream's bytes; transport frames are left out."""
    decoder = SseDecoder()
    found = [decode_event(event.data) for event in decoder.feed(data) if event.event != "stream.resync"]
    return [event for event in found if event is not None]


def types(events: Sequence[AnyEvent]) -> list[str]:
    """The wire names of events, in order."""
    return [str(event.__struct_config__.tag) for event in events]
