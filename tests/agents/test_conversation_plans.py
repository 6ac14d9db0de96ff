"""What listing and searching cost among a hundred thousand messages: plans, and a bound on time."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from porch.agents import conversation_store as store
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.http.app import definer
from tests.postgres import TestServer

CONVERSATIONS, EACH = 5_000, 20
# Far above what it takes, far below what a scan of everything takes.
BOUND = 1.5


@dataclass
class Crowd:
    """Two workspaces, each with half of the messages, and the participant of one."""

    database: Database
    urls: PostgresUrls
    principal: Principal


@pytest.fixture(scope="module")
async def crowd(postgres: TestServer) -> AsyncIterator[Crowd]:
    urls = await postgres.create()
    database = await Database.connect(urls.app)
    user, workspaces = new_uuid(), [new_uuid(), new_uuid()]
    async with definer(urls) as connection:
        for at, workspace in enumerate(workspaces):
            await connection.execute(
                "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, $2, $2)", workspace, f"crowd{at}"
            )
    for workspace in workspaces:
        async with database.tenant(workspace) as connection:
            await fill(connection, workspace, user)
    async with definer(urls) as connection:
        await connection.execute("RESET ROLE")
        for table in ("conversations", "messages", "runs"):
            await connection.execute(f"ANALYZE porch.{table}")
    yield Crowd(
        database,
        urls,
        Principal("user", user, workspaces[0], "crowd0", "owner", frozenset({"admin:*"}), new_uuid()),
    )
    await database.close()
    await postgres.drop(urls)


async def fill(connection: Connection, workspace: UUID, user: UUID) -> None:
    """Half the crowd: messages of common words, one in a hundred with a rare one."""
    agent = new_uuid()
    await connection.execute(
        "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'a', '{}')",
        workspace,
        agent,
    )
    await connection.execute(
        "INSERT INTO porch.conversations"
        " (workspace_id, id, agent_id, participant_kind, participant_id, title, updated_at)"
        " SELECT $1, gen_random_uuid(), $2, 'user', $3, 'Conversation ' || n, now() - n * interval '1 minute'"
        " FROM generate_series(1, $4::int) n",
        workspace,
        agent,
        user,
        CONVERSATIONS // 2,
    )
    await connection.execute(MESSAGES, workspace, user, EACH)


# Every message has its words from the start, worked out once for all that say the same.
MESSAGES = """
WITH kinds AS (SELECT DISTINCT right(title, 2) AS kind FROM porch.conversations WHERE workspace_id = $1),
texts AS (
  SELECT kind, jsonb_build_array(jsonb_build_object('type', 'text', 'text',
      'the common words of message ' || n || ' speak about w' || (n * 7919 + hashtext(kind)) % 4000 || ' and '
      || repeat('lorem ipsum dolor sit amet ', 8)
      || CASE WHEN n = 1 AND kind = '42' THEN 'rarity' ELSE '' END)) AS parts
  FROM kinds, generate_series(1, $3::int) n),
worded AS MATERIALIZED (SELECT kind, parts, porch.message_words($1, $2, parts) AS words FROM texts)
INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts, words)
  SELECT $1, gen_random_uuid(), c.id, 'user', parts, words
  FROM porch.conversations c JOIN worded ON kind = right(c.title, 2) WHERE c.workspace_id = $1
"""


async def seconds(crowd: Crowd, text: str) -> tuple[float, int]:
    """The best of three: this machine does other things, too."""
    best, count = 9.0, 0
    for _ in range(3):
        started = time.perf_counter()
        async with crowd.database.tenant(crowd.principal.workspace) as connection:
            if text:
                rows = await store.search_conversations(connection, crowd.principal, text, None, None, 51)
            else:
                rows = await store.list_active(connection, crowd.principal, None, None, 51)
        best, count = min(best, time.perf_counter() - started), len(rows)
    return best, count


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 51), ("rarity", 25), ("common words", 51), ("lorem", 51), ("absent", 0), ("rar comm", 25)],
)
async def test_a_hundred_thousand_messages_are_searched_in_time(crowd: Crowd, text: str, count: int) -> None:
    took, found = await seconds(crowd, text)
    print(f"{text!r}: {took * 1000:.1f} ms, {found} conversations")
    assert found == count
    assert took < BOUND


async def test_the_definer_searches_by_the_index_of_words(crowd: Crowd) -> None:
    # As the app's role the planner may not: row-level security holds an operator back that is not leakproof.
    async with definer(crowd.urls) as connection:
        rows = await connection.fetch(
            "EXPLAIN SELECT m.id FROM porch.messages m WHERE m.workspace_id = $1"
            " AND m.words @@ porch.search_query($1, $2, 'rarity')",
            crowd.principal.workspace,
            crowd.principal.id,
        )
    assert "messages_words" in "\n".join(row[0] for row in rows)


async def test_the_list_goes_by_its_own_index_without_sorting(crowd: Crowd) -> None:
    async with crowd.database.tenant(crowd.principal.workspace) as connection:
        rows = await connection.fetch(
            "EXPLAIN SELECT id FROM porch.conversations c WHERE c.workspace_id = $1 AND c.participant_id = $2"
            " AND c.participant_kind = 'user' AND c.deleted_at IS NULL AND NOT c.draft AND c.expires_at IS NULL"
            " AND (c.updated_at, c.id) < ('infinity'::timestamptz, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)"
            " ORDER BY c.updated_at DESC, c.id DESC LIMIT 50",
            crowd.principal.workspace,
            crowd.principal.id,
        )
    plan = "\n".join(row[0] for row in rows)
    assert "conversations_activity" in plan
    assert "Sort" not in plan
