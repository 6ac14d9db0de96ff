"""A PostgreSQL of its own with many workspaces in it, for what `porch bench --walls` measures."""

import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.identity.authentication import Authenticator
from porch.identity.tokens import mint
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres, PostgresUrls
from porch.storage.migrate import migrate
from porch.storage.partitions import tend_partitions

# Messages of a conversation, and agents of a workspace.
LENGTH, AGENTS = 20, 5
BARE = "porch_bare"

# Messages come in the order of a busy server: each conversation says its next in turn.
FILL = """
CREATE TABLE bench_places AS
  SELECT n, gen_random_uuid() AS workspace, gen_random_uuid() AS person
  FROM generate_series(0, {workspaces} - 1) AS g (n);
CREATE UNIQUE INDEX ON bench_places (n);
INSERT INTO porch.users (id, name) SELECT person, 'p' || n FROM bench_places;
INSERT INTO porch.workspaces (id, handle, name) SELECT workspace, 'w' || n, 'w' || n FROM bench_places;
INSERT INTO porch.memberships (workspace_id, user_id, role) SELECT workspace, person, 'owner' FROM bench_places;
INSERT INTO porch.agents (workspace_id, id, handle, draft)
  SELECT workspace, md5('a' || n || '-' || a)::uuid, 'a' || a,
         '{{"name": "helper", "instructions": "Be brief.", "model": "scripted:test"}}'
  FROM bench_places, generate_series(0, {agents} - 1) AS g (a);
CREATE FUNCTION bench_id(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN
  (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
    || '8' || substr(md5(n::text), 4, 15))::uuid;
CREATE TABLE bench_conversations AS
  SELECT c, p.n, p.workspace, p.person, bench_id(c) AS id,
         bench_id(({length} - 1)::bigint * {conversations} + c) AS head
  FROM generate_series(0, {conversations} - 1) AS g (c) JOIN bench_places p ON p.n = c % {workspaces};
CREATE UNIQUE INDEX ON bench_conversations (c);
INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id, title, head_message_id,
                                 updated_at)
  SELECT workspace, id, md5('a' || n || '-' || c / {workspaces} % {agents})::uuid, 'user', person, 'On the porch', head,
         now() - c * interval '1 second'
  FROM bench_conversations;
INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, role, parts, words)
  SELECT b.workspace, bench_id(k * {conversations}::bigint + b.c), b.id,
         CASE WHEN k > 0 THEN bench_id((k - 1) * {conversations}::bigint + b.c) END,
         CASE WHEN k % 2 = 0 THEN 'user' ELSE 'assistant' END,
         jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat('the light is on ', 1 + (b.c + k) % 40))),
         ''
  FROM generate_series(0, {length} - 1) AS g (k) CROSS JOIN bench_conversations b ORDER BY k, b.c;
"""


class Chosen(NamedTuple):
    """A conversation, by the ids that queries ask with."""

    workspace: UUID
    conversation: UUID
    head: UUID
    person: UUID
    agent: UUID


@dataclass(frozen=True)
class Scene:
    """A filled database with two ways in: past the row-level security, and as the server comes."""

    database: Database
    ways: tuple[str, str]
    owner: Principal
    conversations: list[Chosen]
    token: str
    session: str


def _folder() -> Path:
    place = Path(tempfile.mkdtemp(prefix="porch-bench-"))
    place.chmod(0o755)  # PostgreSQL may run as somebody else
    return place


@asynccontextmanager
async def cluster() -> AsyncGenerator[PostgresUrls]:
    """A PostgreSQL with an empty database of Porch's, gone afterwards. Raises SetupError."""
    place = _folder()
    # The wait for a disk would hide what is looked for.
    postgres = EmbeddedPostgres(DataDir(place / "data"), settings={"synchronous_commit": "off"})
    try:
        urls = await postgres.start()
        await migrate(urls.owner)
        await tend_partitions(urls.owner)
        yield urls
    finally:
        await postgres.stop()
        shutil.rmtree(postgres.home, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


async def fill(admin: Connection, workspaces: int, conversations: int) -> None:
    """Write so many, `LENGTH` messages in each conversation."""
    await admin.execute("SET session_replication_role = replica; SET synchronous_commit = off; SET jit = off")
    sizes = {"workspaces": workspaces, "conversations": conversations, "length": LENGTH, "agents": AGENTS}
    await admin.execute(FILL.format(**sizes))
    await admin.execute("RESET session_replication_role")
    await admin.execute("VACUUM ANALYZE")
    await admin.execute("CHECKPOINT")


@asynccontextmanager
async def scene_of(urls: PostgresUrls, admin: Connection) -> AsyncGenerator[Scene]:
    """What is measured in a database that `fill` has filled."""
    parts = urlsplit(urls.app)
    await admin.execute(
        f"CREATE ROLE {BARE} LOGIN BYPASSRLS PASSWORD '{parts.password}' IN ROLE {parts.username}"
    )
    bare = urlunsplit(parts._replace(netloc=f"{BARE}:{parts.password}@"))
    place = await admin.fetchrow("SELECT workspace, person FROM bench_places WHERE n = 0")
    chosen = await admin.fetch(
        "SELECT b.workspace, b.id, b.head, b.person, c.agent_id FROM bench_conversations b"
        " JOIN porch.conversations c ON c.workspace_id = b.workspace AND c.id = b.id"
        " ORDER BY md5(b.c::text) LIMIT 500"
    )
    assert place is not None
    token, session = mint("pat"), mint("ses")
    await admin.execute(
        "INSERT INTO porch.tokens"
        " (workspace_id, id, user_id, kind, name, prefix, hash, scopes, expires_at, last_used_at)"
        " VALUES ($1, $2, $3, 'pat', 'bench', $4, $5, '{admin:*}', now() + interval '1 day', now())",
        place["workspace"], new_uuid(), place["person"], token.prefix, token.digest,
    )  # fmt: skip
    await admin.execute(
        "INSERT INTO porch.sessions (id, user_id, hash, expires_at, ends_at, last_used_at)"
        " VALUES ($1, $2, $3, now() + interval '1 day', now() + interval '1 day', now())",
        new_uuid(), place["person"], session.digest,
    )  # fmt: skip
    database = await Database.connect(urls.app, 1)
    try:
        owner = await Authenticator(database)(token.text)
        rows = [Chosen(*row) for row in chosen]
        yield Scene(database, (bare, urls.app), owner, rows, token.text, session.text)
    finally:
        await database.close()
