"""A stream ends within a second of the right to read it, whoever took that away and however: the database says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from porch.contract.ids import format_id, new_uuid
from porch.identity.access import AccessChanges
from porch.identity.tokens import digest
from porch.runs import guard
from porch.storage.connection import connected
from tests.http.app import definer
from tests.http.client import Answer, Client
from tests.http.visitors import SITE, embed, visit
from tests.postgres import TestServer
from tests.web.conftest import STREAM, House, furnished

ENDLESS = "[[tokens 3]] [[stall]]"
_numbers = count(1)


@pytest.fixture(scope="module")
async def standing(postgres: TestServer) -> AsyncIterator[House]:
    """The app for all of this module. Nobody is looked at in turn: what ends a stream is what the database notes."""
    urls = await postgres.create()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "RECHECK_SECONDS", 3600.0)
        async with furnished(urls, {}) as house:
            # Nobody tells anybody: not this process itself, nor others by the bus.
            house.world.app.state.authenticate.on_forget = lambda: None
            yield house
    await postgres.drop(urls)


@pytest.fixture
async def house(standing: House) -> AsyncIterator[House]:
    """The same with a tenant of the test's own, and other people."""
    with standing.world.several_people():
        yield replace(standing, ada=await standing.world.tenant(f"access-{next(_numbers)}"))


@dataclass(frozen=True)
class Member:
    """Somebody in Ada's workspace."""

    id: UUID
    token: str
    client: Client

    @property
    def name(self) -> str:
        return format_id("usr", self.id)


async def join(house: House, role: Any) -> Member:
    user = await house.world.join(house.ada.workspace, role)
    token = await house.world.token(house.ada.workspace, user)
    return Member(user, token, Client(house.world.app, token))


async def begin(house: House, asker: Client) -> tuple[str, str]:
    """The paths of a conversation, and of a run in it that never ends by itself."""
    made = await house.conversation()  # for its agent
    handle = (await house.ada.client.get(made)).json["agent"].partition("/")[2]
    opened = await asker.post(f"{house.ada.path}/agents/{handle}/conversations")
    conversation = f"/api/v1/conversations/{opened.json['id']}"
    answer = await asker.post(f"{conversation}/runs", json={"input": ENDLESS})
    assert answer.status == 202, answer.body
    return conversation, answer.headers["location"]


class Reading:
    """A stream that is being read, and has been looked at once, since it was new."""

    def __init__(self, task: asyncio.Task[Answer], reader: Any) -> None:
        self.task = task
        self.reader = reader

    @classmethod
    async def of(cls, house: House, ask: Callable[[], Awaitable[Answer]]) -> "Reading":
        before = set(house.runs.readers)
        task: asyncio.Task[Answer] = asyncio.ensure_future(ask())  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            while not (new := [each for each in house.runs.readers - before if each.check_at]):
                assert not task.done(), task.result().body
                await asyncio.sleep(0.01)
        return cls(task, new[0])

    async def over(self) -> Answer:
        """Its end, which nothing but the change can have brought."""
        async with asyncio.timeout(5):
            answer = await self.task
        for ending in (b"run.finished", b"run.cancelled", b"run.failed"):
            assert ending not in answer.body
        return answer


async def follow(house: House, client: Client, run: str) -> Reading:
    return await Reading.of(house, lambda: client.get(f"{run}/events", headers=STREAM))


async def stop(house: House, run: str, *stayed: Reading) -> None:
    """Ends the run, which those who still read are told, though something later has been noticed meanwhile."""
    later = await join(house, "admin")
    reading = await follow(house, later.client, run)
    await house.ada.client.delete(f"{house.ada.path}/members/{later.name}")
    await reading.over()
    assert not any(reading.task.done() for reading in stayed)
    assert (await house.ada.client.post(f"{run}/cancel")).status == 202
    for reading in stayed:
        async with asyncio.timeout(5):
            assert b"run.cancelled" in (await reading.task).body


async def elsewhere(house: House, statement: str, *values: object) -> None:
    """What another program does to the database, past every server."""
    async with connected(house.world.urls.admin) as connection:
        assert not (await connection.execute(statement, *values)).endswith(" 0")


async def test_an_admin_who_is_lowered_reads_nobody_else_s_conversation_any_more(house: House) -> None:
    admin, other = await join(house, "admin"), await join(house, "admin")
    _, run = await begin(house, house.ada.client)
    lowered, stays = await follow(house, admin.client, run), await follow(house, other.client, run)
    answer = await house.ada.client.patch(f"{house.ada.path}/members/{admin.name}", json={"role": "runner"})
    assert answer.status == 204, answer.body
    await lowered.over()
    await stop(house, run, stays)


async def test_whoever_is_lowered_goes_on_reading_what_is_their_own(house: House) -> None:
    editor = await join(house, "editor")
    _, run = await begin(house, editor.client)
    own = await follow(house, editor.client, run)
    await house.ada.client.patch(f"{house.ada.path}/members/{editor.name}", json={"role": "viewer"})
    await stop(house, run, own)


@pytest.mark.parametrize("way", ["follows", "asks"])
async def test_a_member_who_is_removed_reads_no_more(house: House, way: str) -> None:
    runner = await join(house, "runner")
    conversation, run = await begin(house, runner.client)
    if way == "follows":
        reading = await follow(house, runner.client, run)
    else:
        await house.ada.client.post(f"{run}/cancel")
        await house.ada.client.get(f"{run}/events", headers=STREAM)  # to its end
        body = {"input": ENDLESS}
        reading = await Reading.of(
            house, lambda: runner.client.post(f"{conversation}/runs", json=body, headers=STREAM)
        )
    assert (await house.ada.client.delete(f"{house.ada.path}/members/{runner.name}")).status == 204
    await reading.over()


async def test_a_conversation_that_is_closed_to_members_ends_for_them_alone(house: House) -> None:
    editor, guest = await join(house, "editor"), await join(house, "viewer")
    conversation, run = await begin(house, editor.client)
    await editor.client.patch(conversation, json={"audience": "members"})
    theirs, own = await follow(house, guest.client, run), await follow(house, editor.client, run)
    assert (await editor.client.patch(conversation, json={"audience": "own"})).status == 200
    await theirs.over()
    await stop(house, run, own)


async def test_a_token_revoked_past_every_server_ends_its_streams(house: House) -> None:
    reader, other = await join(house, "admin"), await join(house, "admin")
    _, run = await begin(house, house.ada.client)
    ends, stays = await follow(house, reader.client, run), await follow(house, other.client, run)
    await elsewhere(house, "UPDATE porch.tokens SET revoked_at = now() WHERE hash = $1", digest(reader.token))
    await ends.over()
    await stop(house, run, stays)


async def test_a_token_that_expires_ends_its_streams_though_nothing_changes(house: House) -> None:
    reader = await join(house, "admin")
    _, run = await begin(house, house.ada.client)
    await elsewhere(
        house,
        "UPDATE porch.tokens SET expires_at = now() + interval '2 seconds' WHERE hash = $1",
        digest(reader.token),
    )
    house.world.app.state.authenticate.forget_here()
    reading = await follow(house, reader.client, run)
    assert reading.reader.permit.ends is not None
    await reading.over()


async def test_a_visitor_of_a_site_that_the_agent_has_left_reads_no_more(house: House) -> None:
    visitor = await visit(house.world.app, await embed(house.ada, SITE))
    where = await visitor.begin()
    reading = await Reading.of(
        house, lambda: visitor.ask("POST", f"{where}/runs", json={"input": ENDLESS}, headers=STREAM)
    )
    await elsewhere(house, "DELETE FROM porch.agent_origins WHERE workspace_id = $1", house.ada.workspace)
    await reading.over()


async def test_an_answer_that_is_waited_for_as_a_whole_is_given_up(house: House) -> None:
    runner = await join(house, "runner")
    _, run = await begin(house, runner.client)
    record = (await runner.client.get(run)).json
    body = {"model": record["agent"], "messages": [{"role": "user", "content": ENDLESS}]}
    reading = await Reading.of(house, lambda: runner.client.post("/openai/v1/chat/completions", json=body))
    await elsewhere(house, "UPDATE porch.tokens SET revoked_at = now() WHERE hash = $1", digest(runner.token))
    assert (await reading.over()).status == 503


# -- what the database notes


@pytest.fixture
async def changes(house: House) -> AccessChanges:
    changes = AccessChanges(house.world.database)
    assert await changes.look() == frozenset()
    return changes


async def test_each_change_is_told_once_though_a_later_one_was_committed_first(
    house: House, changes: AccessChanges
) -> None:
    first, second, third = new_uuid(), new_uuid(), new_uuid()
    insert = "INSERT INTO porch.access_changes (subject) VALUES ($1)"
    async with definer(house.world.urls) as slow, definer(house.world.urls) as quick:
        async with slow.transaction():
            await slow.execute(insert, first)
            await quick.execute(insert, second)
            assert await changes.look() == {second}
            assert await changes.look() == frozenset()
        assert await changes.look() == {first}
        with contextlib.suppress(ZeroDivisionError):
            async with quick.transaction():
                await quick.execute(insert, third)
                raise ZeroDivisionError
    assert await changes.look() == frozenset()


async def test_what_everybody_has_seen_is_swept_out(house: House, changes: AccessChanges) -> None:
    async with definer(house.world.urls) as connection:
        await connection.execute(
            "INSERT INTO porch.access_changes (xid, subject, at)"
            " SELECT '3', gen_random_uuid(), now() - interval '2 hours' FROM generate_series(1, 15)"
        )
    member = await join(house, "editor")
    await house.ada.client.patch(f"{house.ada.path}/members/{member.name}", json={"role": "viewer"})
    assert member.id in await changes.look()
    async with definer(house.world.urls) as connection:
        old = "SELECT count(*) FROM porch.access_changes WHERE at < now() - interval '1 hour'"
        assert await connection.fetchval(old) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE porch.tokens SET last_used_at = now(), name = 'renamed'",
        "UPDATE porch.conversations SET title = 'Other', updated_at = now()",
        "UPDATE porch.conversations SET audience = 'members'",
        "UPDATE porch.sessions SET last_used_at = now(), expires_at = expires_at + interval '1 minute'",
    ],
)
async def test_what_takes_nobody_s_access_is_not_noted(
    house: House, changes: AccessChanges, statement: str
) -> None:
    await begin(house, house.ada.client)
    async with connected(house.world.urls.admin) as connection:
        await connection.execute(statement)
    assert await changes.look() == frozenset()
