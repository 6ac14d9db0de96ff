"""The two ways of a search, through the last conversations and through the index of words, find the same."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from porch.agents.upkeep import Upkeep
from porch.contract.ids import new_uuid
from porch.storage.connection import Connection, Record
from porch.storage.database import Database
from tests.http.app import definer
from tests.postgres import TestServer

AT_ONCE, NEVER = timedelta(0), timedelta(hours=1)


@dataclass
class Library:
    """Two participants with sixty conversations each; every word is in one out of so many messages."""

    database: Database
    workspace: UUID
    me: UUID


@pytest.fixture(scope="module")
async def library(postgres: TestServer) -> AsyncIterator[Library]:
    urls = await postgres.create()
    database = await Database.connect(urls.app)
    workspace, me, other = new_uuid(), new_uuid(), new_uuid()
    async with definer(urls) as connection:
        await connection.execute(
            "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, 'library', 'library')", workspace
        )
    async with database.tenant(workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $1, 'a', '{}')", workspace
        )
        for participant in (me, other):
            await fill(connection, workspace, participant)
    await Upkeep(database).index()
    yield Library(database, workspace, me)
    await database.close()
    await postgres.drop(urls)


async def fill(connection: Connection, workspace: UUID, participant: UUID) -> None:
    # Five conversations share each moment. One of them is longer than what is looked through at a time.
    await connection.execute(
        "INSERT INTO porch.conversations"
        " (workspace_id, id, agent_id, participant_kind, participant_id, title, updated_at)"
        " SELECT $1, gen_random_uuid(), $1, 'user', $2, CASE n % 7 WHEN 0 THEN 'Titled ' || n ELSE '' END,"
        " now() - n / 5 * interval '1 minute' FROM generate_series(1, 60) n",
        workspace,
        participant,
    )
    await connection.execute(
        "WITH c AS (SELECT id, row_number() OVER (ORDER BY updated_at, id) AS n FROM porch.conversations"
        " WHERE participant_id = $2)"
        " INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts)"
        " SELECT $1, gen_random_uuid(), c.id, 'user', jsonb_build_array(jsonb_build_object('type', 'text', 'text',"
        "  'always' || CASE WHEN (c.n * 31 + m) % 5 = 0 THEN ' often titled' ELSE '' END"
        "  || CASE WHEN (c.n * 31 + m) % 97 = 0 THEN ' seldom' ELSE '' END"
        "  || CASE WHEN c.n = 30 AND m = 1 THEN ' once' ELSE '' END))"
        " FROM c, generate_series(1, CASE WHEN c.n = 30 THEN 200 ELSE 6 END) m",
        workspace,
        participant,
    )


async def search(
    library: Library, text: str, patience: timedelta, after: Record | None = None, limit: int = 200
) -> list[Record]:
    async with library.database.tenant(library.workspace) as connection:
        at: datetime | None = None
        if after is not None:
            at = await connection.fetchval(
                "SELECT updated_at FROM porch.conversations WHERE id = $1", after["conversation_id"]
            )
        return await connection.fetch(
            "SELECT * FROM porch.search_conversations('user', $1, NULL, $2, $3, $4, $5, $6)",
            library.me,
            text,
            at,
            after and after["conversation_id"],
            limit,
            patience,
        )


async def expected(library: Library, word: str) -> list[tuple[UUID, UUID | None]]:
    """Found by reading everything."""
    async with library.database.tenant(library.workspace) as connection:
        rows = await connection.fetch(
            "SELECT c.id, h.id AS message FROM porch.conversations c LEFT JOIN LATERAL ("
            " SELECT m.id FROM porch.messages m WHERE m.conversation_id = c.id"
            " AND m.parts -> 0 ->> 'text' LIKE '%' || $2 || '%' ORDER BY m.id DESC LIMIT 1) h ON true"
            " WHERE c.participant_id = $1 AND (h.id IS NOT NULL OR lower(c.title) LIKE '%' || $2 || '%')"
            " ORDER BY c.updated_at DESC, c.id DESC",
            library.me,
            word,
        )
    return [(row["id"], row["message"]) for row in rows]


@pytest.mark.parametrize("patience", [AT_ONCE, timedelta(milliseconds=1), NEVER], ids=str)
@pytest.mark.parametrize("word", ["always", "often", "seldom", "once", "titled", "absent"])
async def test_either_way_finds_what_there_is(library: Library, word: str, patience: timedelta) -> None:
    wanted = await expected(library, word)
    assert bool(wanted) == (word != "absent")
    rows = await search(library, word, patience)
    assert [(row["conversation_id"], row["message_id"]) for row in rows] == wanted
    for row in rows:
        assert row["message_id"] is None or word in row["snippet"]


@pytest.mark.parametrize("word", ["always", "often", "seldom", "titled"])
async def test_pages_follow_each_other_whichever_way_each_went(library: Library, word: str) -> None:
    seen: list[tuple[UUID, UUID | None]] = []
    last: Record | None = None
    for turn in range(100):
        rows = await search(library, word, (NEVER, AT_ONCE)[turn % 2], last, 3)
        if not rows:
            break
        seen += [(row["conversation_id"], row["message_id"]) for row in rows]
        last = rows[-1]
    assert seen == await expected(library, word)


async def test_a_search_without_a_word_finds_titles_alone(library: Library) -> None:
    assert await search(library, "!!", NEVER) == []
    rows = await search(library, "d 7", AT_ONCE)
    assert len(rows) == len(await search(library, "d 7", NEVER)) == 1


async def test_another_workspace_s_words_are_other_words(library: Library) -> None:
    async with library.database.tenant(library.workspace) as connection:
        keys = await connection.fetchrow(
            "SELECT porch.words_key($1) AS mine, porch.words_key($2) AS other,"
            ' porch.message_words($1, $3, \'[{"type": "text", "text": "a1 b"}]\')'
            "  @@ porch.search_query($1, $3, 'a1') AS here,"
            ' porch.message_words($2, $3, \'[{"type": "text", "text": "a1 b"}]\')'
            "  @@ porch.search_query($1, $3, 'a1') AS there",
            library.workspace,
            UUID(int=0x123456),
            library.me,
        )
    assert keys is not None
    assert keys["mine"].isalpha()
    assert keys["other"] == "hijklm"
    assert (keys["here"], keys["there"]) == (True, False)
