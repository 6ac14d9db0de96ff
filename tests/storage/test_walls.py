"""The walls between tenants, read from the catalogue: what is added later stands behind them too."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from porch.contract.ids import new_uuid
from porch.storage.connection import connected
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.postgres import TestServer

# What may work before or across workspaces. A function is added here and to the migrations together.
DEFINER_FUNCTIONS = {
    "ensure_operator",
    "authenticate_token",
    "installation_id",
    "make_sign_in_link",
    "read_sign_in_link",
    "redeem_sign_in_link",
    "authenticate_session",
    "session_bound",
    "touch_session",
    "list_sessions",
    "end_session",
    "register_process",
    "heartbeat",
    "release_process",
    "claim_runs",
    "write_journal",
    "open_share",
    "search_conversations",
    "index_messages",
    "purge_conversations",
    "purge_drafts",
    "purge_expired",
    "find_workspace",
    "knows_origin",
    "authenticate_guest",
    "purge_guests",
    "find_unpacked",
    "store_packs",
    "find_overdue",
    "find_removals",
    "note_removal",
    "drain_process",
    "count_processes",
    "record_figures",
    "record_first_answers",
    "purge_figures",
    "find_queued",
    "quota_opens",
    "changed_quotas",
    "claim_paused",
    "authenticate_session_in",
    "switch_workspace",
    "begin_session",
    "list_workspaces",
    "make_workspace",
    "list_members",
    "change_member",
    "read_invitation",
    "accept_invitation",
    "count_people",
    "is_at_home",
    "is_member",
    "sign_up",
    "find_login",
    "read_login",
    "set_password",
    "rehash_password",
    "use_sign_in_limit",
    "member_name",
    "note_access_change",
    "access_changes_since",
    "authenticate_credential",
    "replace_token",
    "note_event",
    "note_person",
    "audit_row",
    "note_refused_sign_in",
    "purge_audit",
    "begin_oidc",
    "take_oidc",
    "begin_oidc_session",
    "sign_up_oidc",
    "link_oidc",
    "unlink_oidc",
    "list_oidc",
    "audit_identity",
    "set_recovery_codes",
    "count_recovery_codes",
    "find_recovery_code",
    "recover",
    "is_confirmed",
    "find_login_near",
    "confirm_session",
    "make_passkey_challenge",
    "use_passkey_challenge",
    "add_passkey",
    "list_passkeys",
    "find_passkey",
    "use_passkey",
    "begin_session_by_passkey",
    "remove_passkey",
    "take_handle",
    "leave_handles",
    "follow_handle",
    "former_handles",
    "change_handle",
    "delete_workspace",
    "list_deleted_workspaces",
    "restore_workspace",
    "purge_deleted_workspaces",
    "give_workspace",
    "audit_lifecycle",
}
# Those that triggers call, and nobody else.
TRIGGERED = {
    "audit_identity",
    "note_access_change",
    "audit_row",
    "note_event",
    "note_person",
    "take_handle",
    "leave_handles",
    "give_workspace",
    "audit_lifecycle",
}
# Those of another signature beside one that processes of an earlier version call.
OVERLOADS = ["write_journal"]
# Tables of no single workspace. porch_app reads them through functions alone.
SHARED = {
    "users",
    "sessions",
    "sign_in_links",
    "sign_in_limits",
    "installation",
    "processes",
    "migrations",
    "access_changes",
    "oidc_identities",
    "oidc_flows",
    "recovery_codes",
    "passkeys",
    "passkey_challenges",
    "workspace_handles",
}

TENANT_TABLES = """
  SELECT c.oid, c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced
  FROM pg_class c
  WHERE c.relnamespace = 'porch'::regnamespace AND c.relkind IN ('r', 'p') AND EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
      AND (a.attname = 'workspace_id' OR c.relname = 'workspaces'))
  ORDER BY c.relname
"""


@pytest.fixture(scope="module")
async def urls(postgres: TestServer) -> AsyncIterator[PostgresUrls]:
    """A migrated database for all of this module."""
    urls = await postgres.create()
    yield urls
    await postgres.drop(urls)


@pytest.fixture(scope="module")
async def database(urls: PostgresUrls) -> AsyncIterator[Database]:
    """The same as the app's role."""
    database = await Database.connect(urls.app)
    yield database
    await database.close()


async def add_workspace(urls: PostgresUrls) -> UUID:
    workspace = new_uuid()
    async with connected(urls.owner) as connection:
        await connection.execute("SET ROLE porch_definer")
        await connection.execute(
            "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, $2, $2)", workspace, workspace.hex
        )
    return workspace


async def rows(urls: PostgresUrls, query: str, *args: Any) -> list[dict[str, Any]]:
    async with connected(urls.owner) as connection:
        return [dict(row.items()) for row in await connection.fetch(query, *args)]


async def test_every_table_is_a_tenant_s_or_listed_as_shared(urls: PostgresUrls) -> None:
    found = await rows(
        urls,
        "SELECT relname FROM pg_class WHERE relnamespace = 'porch'::regnamespace "
        " AND relkind IN ('r', 'p', 'v', 'm', 'f')",
    )
    tenants = {row["name"] for row in await rows(urls, TENANT_TABLES)}
    assert {"workspaces", "agents", "journal", "idempotency_keys"} <= tenants
    assert {row["relname"] for row in found} == tenants | SHARED


async def test_every_tenant_table_has_row_level_security_enabled_and_forced(urls: PostgresUrls) -> None:
    tables = await rows(urls, TENANT_TABLES)
    assert [table["name"] for table in tables if not (table["enabled"] and table["forced"])] == []


async def test_every_tenant_table_shows_the_app_the_set_workspace_and_nothing_else(
    urls: PostgresUrls,
) -> None:
    for table in await rows(urls, TENANT_TABLES):
        policies = await rows(
            urls,
            "SELECT p.polname, p.polcmd::text AS command, p.polpermissive, pg_get_expr(p.polqual, p.polrelid) AS reads,"
            " pg_get_expr(p.polwithcheck, p.polrelid) AS writes FROM pg_policy p"
            " WHERE p.polrelid = $1 AND ('porch_app'::regrole = ANY (p.polroles) OR 0 = ANY (p.polroles))",
            table["oid"],
        )
        column = "id" if table["name"] == "workspaces" else "workspace_id"
        condition = f"({column} = porch.current_workspace())"
        assert policies == [
            {
                "polname": "tenant",
                "command": "*",
                "polpermissive": True,
                # A deleted workspace is not there.
                "reads": f"({condition} AND (ends_at IS NULL))" if column == "id" else condition,
                "writes": condition,
            }
        ], table["name"]


async def test_policies_for_all_rows_are_the_definer_s_alone(urls: PostgresUrls) -> None:
    open_to = await rows(
        urls,
        "SELECT p.polrelid::regclass::text AS table, p.polroles::regrole[]::text[] AS roles FROM pg_policy p"
        " WHERE pg_get_expr(p.polqual, p.polrelid) = 'true'",
    )
    assert open_to
    assert {tuple(row["roles"]) for row in open_to} == {("porch_definer",)}


async def test_every_tenant_table_leads_its_primary_key_with_the_workspace(urls: PostgresUrls) -> None:
    for table in await rows(urls, TENANT_TABLES):
        (key,) = await rows(
            urls,
            "SELECT (SELECT attname::text FROM pg_attribute"
            "  WHERE attrelid = i.indrelid AND attnum = i.indkey[0]) AS first"
            " FROM pg_index i WHERE i.indrelid = $1 AND i.indisprimary",
            table["oid"],
        )
        assert key["first"] == ("id" if table["name"] == "workspaces" else "workspace_id"), table["name"]


async def test_foreign_keys_between_tenant_tables_carry_the_workspace_on_both_sides(
    urls: PostgresUrls,
) -> None:
    tables = {table["oid"]: table["name"] for table in await rows(urls, TENANT_TABLES)}
    keys = await rows(
        urls,
        "SELECT conname, conrelid, confrelid,"
        " ARRAY (SELECT a.attname::text FROM unnest(conkey) WITH ORDINALITY AS k (number, place)"
        "   JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.number ORDER BY place) AS columns,"
        " ARRAY (SELECT a.attname::text FROM unnest(confkey) WITH ORDINALITY AS k (number, place)"
        "   JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = k.number ORDER BY place) AS referred"
        " FROM pg_constraint WHERE contype = 'f' AND connamespace = 'porch'::regnamespace",
    )
    between = [key for key in keys if key["conrelid"] in tables and key["confrelid"] in tables]
    assert len(between) > 8
    for key in between:
        workspace = "id" if tables[key["confrelid"]] == "workspaces" else "workspace_id"
        assert (key["columns"][0], key["referred"][0]) == ("workspace_id", workspace), key["conname"]


async def test_the_app_owns_nothing_and_bypasses_nothing(urls: PostgresUrls) -> None:
    for role in ("porch_app", "porch_definer"):
        (found,) = await rows(
            urls,
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,"
            " (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) AS memberships"
            " FROM pg_roles r WHERE rolname = $1",
            role,
        )
        assert set(found.values()) == {False}, role
    owned = await rows(
        urls,
        "SELECT relname FROM pg_class WHERE relowner = 'porch_app'::regrole"
        " UNION ALL SELECT proname FROM pg_proc WHERE proowner = 'porch_app'::regrole",
    )
    assert owned == []


async def test_the_definer_cannot_log_in_and_owns_its_functions_alone(urls: PostgresUrls) -> None:
    (role,) = await rows(urls, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'porch_definer'")
    assert role["rolcanlogin"] is False
    owned = await rows(urls, "SELECT relname FROM pg_class WHERE relowner = 'porch_definer'::regrole")
    assert owned == []


async def test_the_definer_functions_are_the_listed_ones_and_each_is_closed(urls: PostgresUrls) -> None:
    found = await rows(
        urls,
        "SELECT p.proname::text AS name, p.proowner::regrole::text AS owner, p.proconfig AS settings,"
        " has_function_privilege('porch_app', p.oid, 'EXECUTE') AS app,"
        " EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        "  WHERE a.grantee = 0) AS anybody"
        " FROM pg_proc p WHERE p.prosecdef AND p.pronamespace NOT IN ('pg_catalog'::regnamespace)",
    )
    assert {row["name"] for row in found} == DEFINER_FUNCTIONS
    assert len(found) == len(DEFINER_FUNCTIONS) + len(OVERLOADS)
    for row in found:
        assert row["owner"] == "porch_definer", row["name"]
        assert row["settings"][0] == "search_path=pg_catalog, pg_temp", row["name"]
        assert row["app"] == (row["name"] not in TRIGGERED), row["name"]
        assert not row["anybody"], row["name"]


async def test_no_function_of_ours_is_open_to_everybody(urls: PostgresUrls) -> None:
    found = await rows(
        urls,
        "SELECT proname FROM pg_proc p WHERE pronamespace = 'porch'::regnamespace AND EXISTS ("
        " SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)",
    )
    assert found == []


async def test_the_workspace_is_read_by_a_stable_function(urls: PostgresUrls) -> None:
    (found,) = await rows(
        urls,
        "SELECT provolatile::text AS kind FROM pg_proc WHERE oid = 'porch.current_workspace()'::regprocedure",
    )
    assert found["kind"] == "s"


async def test_a_transaction_sees_and_writes_its_own_workspace_alone(
    database: Database, urls: PostgresUrls
) -> None:
    ada, eve = await add_workspace(urls), await add_workspace(urls)
    insert = "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'a', '{}')"
    for workspace in (ada, eve):
        async with database.tenant(workspace) as connection:
            await connection.execute(insert, workspace, new_uuid())
    async with database.tenant(ada) as connection:
        assert await connection.fetchval("SELECT array_agg(workspace_id) FROM porch.agents") == [ada]
        assert await connection.fetchval("SELECT array_agg(id) FROM porch.workspaces") == [ada]
        assert await connection.execute("UPDATE porch.agents SET handle = 'mine'") == "UPDATE 1"
        assert await connection.execute("DELETE FROM porch.agents WHERE workspace_id = $1", eve) == "DELETE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenant(ada) as connection:
            await connection.execute(insert, eve, new_uuid())


async def test_without_a_workspace_nothing_is_seen_also_after_one_was_set(
    database: Database, urls: PostgresUrls
) -> None:
    workspace = await add_workspace(urls)
    async with database.tenant(workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.workspaces") == 1
    async with database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.workspaces") == 0
        assert await connection.fetchval("SELECT porch.current_workspace()") is None


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE porch_definer",
        "SET ROLE porch_owner",
        "SET SESSION AUTHORIZATION porch_owner",
        "ALTER TABLE porch.agents DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE porch.agents NO FORCE ROW LEVEL SECURITY",
        "ALTER ROLE porch_app BYPASSRLS",
        "CREATE POLICY mine ON porch.agents TO porch_app USING (true)",
        "CREATE FUNCTION porch.mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE TABLE porch.mine (id int)",
        "CREATE OR REPLACE FUNCTION porch.current_workspace() RETURNS uuid LANGUAGE sql RETURN NULL",
        "SELECT * FROM porch.users",
        "SELECT * FROM porch.sessions",
        "SELECT * FROM porch.sign_in_links",
        "SELECT * FROM porch.installation",
        "UPDATE porch.sign_in_links SET used_at = NULL",
        "INSERT INTO porch.sessions (id, user_id, hash, expires_at, ends_at)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), decode(repeat('00', 32), 'hex'), 'infinity', 'infinity')",
        "SELECT * FROM porch.passkeys",
        "SELECT * FROM porch.passkey_challenges",
        "UPDATE porch.passkeys SET sign_count = 0",
        "SELECT * FROM porch.processes",
        "DELETE FROM porch.tokens",
        "UPDATE porch.tokens SET scopes = '{admin:*}'",
        "UPDATE porch.tokens SET hash = decode(repeat('00', 32), 'hex')",
        "UPDATE porch.workspaces SET handle = 'mine'",
        "INSERT INTO porch.workspaces (id, handle, name) VALUES (gen_random_uuid(), 'x', 'x')",
        "INSERT INTO porch.memberships (workspace_id, user_id, role)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'owner')",
        "UPDATE porch.memberships SET role = 'owner'",
        "UPDATE porch.messages SET parts = '[]'",
        "UPDATE porch.messages SET words = ''",
        "UPDATE porch.journal SET frames = ''",
        "DELETE FROM porch.journal",
        "DELETE FROM porch.runs",
        "DELETE FROM porch.conversations",
        "UPDATE porch.conversations SET participant_id = gen_random_uuid()",
        "UPDATE porch.conversations SET draft = true",
        "DELETE FROM porch.conversation_shares",
        "UPDATE porch.conversation_shares SET hash = decode(repeat('00', 32), 'hex')",
        "UPDATE porch.conversation_shares SET message_id = gen_random_uuid()",
        "UPDATE porch.agent_origins SET origin = 'https://evil.example'",
        "DELETE FROM porch.guests",
        "UPDATE porch.guests SET agent_id = gen_random_uuid()",
        "DELETE FROM porch.guest_tokens",
        "UPDATE porch.guest_tokens SET expires_at = 'infinity'",
        "UPDATE porch.guest_tokens SET hash = decode(repeat('00', 32), 'hex')",
        "DELETE FROM porch.rate_limits",
    ],
)
async def test_the_app_s_role_may_not(database: Database, statement: str) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError)):
        async with database.tenant(new_uuid()) as connection:
            await connection.execute(statement)
