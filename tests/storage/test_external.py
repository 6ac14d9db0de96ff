"""Against whichever server the session has; what needs to make roles runs where we have an administrator."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from porch.contract.errors import SetupError
from porch.storage.connection import Connection, connected
from porch.storage.embedded import PostgresUrls
from porch.storage.external import Facts, check_external, find_problems, printed_provisioning, read_facts
from porch.storage.provision import inside_database, provisioning
from tests.conftest import FreshUrls
from tests.postgres import TestServer, with_login

ROLE = f"stranger_{os.getpid()}"


@pytest.fixture(autouse=True)
def _administered(postgres: TestServer) -> None:
    if postgres.urls.admin == postgres.urls.owner:
        pytest.skip("this external server gives us no administrator")


@asynccontextmanager
async def role(urls: PostgresUrls, attributes: str = "LOGIN") -> AsyncGenerator[str]:
    """The URL of a login of its own in the database of `urls`."""
    async with connected(urls.admin) as admin:
        await admin.execute(f"CREATE ROLE {ROLE} {attributes} PASSWORD 'secret'")
    try:
        yield with_login(urls.app, ROLE, "secret")
    finally:
        async with connected(urls.admin) as admin:
            await admin.execute(
                f"REASSIGN OWNED BY {ROLE} TO porch_owner; DROP OWNED BY {ROLE}; DROP ROLE {ROLE}"
            )


async def failure(app: str, migration: str | None = None) -> str:
    with pytest.raises(SetupError) as caught:
        await check_external(app, migration)
    assert "secret" not in caught.value.message
    return caught.value.message


async def repair(admin: Connection, message: str) -> None:
    """Runs the SQL that a message prints, exactly."""
    await admin.execute(message.partition("runs this in that database:\n")[2])


async def test_a_prepared_server_passes(fresh_urls: FreshUrls) -> None:
    for urls in (await fresh_urls(), await fresh_urls(migrated=False)):
        found = await check_external(urls.app, urls.owner)
        assert found.app_role == "porch_app"
        assert found.major >= 16


async def test_the_printed_sql_mends_an_empty_database(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    async with connected(urls.admin) as admin:
        await admin.execute("DROP SCHEMA porch CASCADE; DROP EXTENSION vector")
        message = await failure(urls.app, urls.owner)
        assert "There is no schema 'porch'." in message
        assert "CREATE EXTENSION vector;" in message
        await repair(admin, message)
    await check_external(urls.app, urls.owner)


async def test_a_server_without_the_roles_is_told_all_at_once(fresh_urls: FreshUrls) -> None:
    """In a transaction, for which alone the session's server has none of the three roles."""
    urls = await fresh_urls(migrated=False)
    async with connected(urls.admin) as admin:
        await admin.execute("BEGIN")
        await admin.execute("DROP SCHEMA porch CASCADE; DROP EXTENSION vector")
        for name in ("owner", "app", "definer"):
            await admin.execute(f"ALTER ROLE porch_{name} RENAME TO elsewhere_{name}")
        await admin.execute("CREATE ROLE serving LOGIN; CREATE ROLE migrating LOGIN")

        async def look(role: str) -> Facts:
            await admin.execute(f"SET LOCAL ROLE {role}")
            facts = await read_facts(admin)
            await admin.execute("RESET ROLE")
            return facts

        problems = find_problems(await look("serving"), await look("migrating"))
        said = " ".join(problem.what for problem in problems)
        for words in (
            "no roles porch_app, porch_definer and porch_owner",
            "no schema 'porch'",
            "extension vector",
        ):
            assert words in said
        for problem in problems:
            await admin.execute(problem.sql)
        assert find_problems(await look("serving"), await look("migrating")) == []
        await admin.execute("SET LOCAL ROLE migrating; CREATE TABLE porch.there (); RESET ROLE")
        await admin.execute("ROLLBACK")


async def test_an_administrator_of_a_new_server_is_told_to_log_in_as_somebody_else(
    fresh_urls: FreshUrls,
) -> None:
    async with connected((await fresh_urls(migrated=False)).admin) as admin:
        facts = await read_facts(admin)
    told = find_problems(replace(facts, roles=None, is_app=None, schema=False), None)
    assert "administers the server: tenants would not be apart. Log in there as porch_app." in told[-1].what
    assert not any("NOSUPERUSER" in problem.sql for problem in told)


async def test_a_database_without_tables_takes_the_second_url(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    assert "give --migration-url too" in await failure(urls.app)
    await check_external((await fresh_urls()).app)


async def test_a_login_that_is_not_the_app_role_gets_the_grant(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls()
    async with role(urls) as url, connected(urls.admin) as admin:
        message = await failure(url, urls.owner)
        assert f'GRANT porch_app TO "{ROLE}";' in message
        await repair(admin, message)
        assert (await check_external(url, urls.owner)).app_role == ROLE


@pytest.mark.parametrize("power", ["SUPERUSER", "BYPASSRLS"])
async def test_an_app_role_that_passes_by_the_walls_is_refused(fresh_urls: FreshUrls, power: str) -> None:
    urls = await fresh_urls()
    async with role(urls, f"LOGIN {power} IN ROLE porch_app") as url, connected(urls.admin) as admin:
        message = await failure(url, urls.owner)
        assert "can pass by row level security" in message
        await repair(admin, message)
        await check_external(url, urls.owner)


async def test_an_app_role_that_is_a_member_of_the_owner_is_refused(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls()
    async with role(urls, "LOGIN IN ROLE porch_app, porch_owner") as url, connected(urls.admin) as admin:
        message = await failure(url, urls.owner)
        assert f'REVOKE "porch_owner" FROM "{ROLE}";' in message
        await repair(admin, message)
        await check_external(url, urls.owner)


async def test_one_login_for_both_is_refused(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls()
    assert "as the same role 'porch_owner'" in await failure(urls.owner, urls.owner)
    assert "as the same role 'porch_app'" in await failure(urls.app, urls.app)


async def test_two_databases_are_refused(fresh_urls: FreshUrls) -> None:
    first, second = await fresh_urls(), await fresh_urls()
    assert "both must name one" in await failure(first.app, second.owner)


async def test_a_migrating_role_that_may_not_give_functions_away_gets_the_grant(
    fresh_urls: FreshUrls,
) -> None:
    urls = await fresh_urls()
    async with role(urls, "LOGIN IN ROLE porch_owner") as url, connected(urls.admin) as admin:
        # A member of the owner is a member of what the owner may become.
        await check_external(urls.app, url)
        await admin.execute(f"REVOKE porch_owner FROM {ROLE}")
        message = await failure(urls.app, url)
        assert f'GRANT porch_definer TO "{ROLE}" WITH INHERIT FALSE, SET TRUE;' in message
        await repair(admin, message)
        await check_external(urls.app, url)


async def test_another_encoding_is_named(fresh_urls: FreshUrls, postgres: TestServer) -> None:
    name = f"latin_{os.getpid()}"
    async with connected(postgres.urls.maintenance) as admin:
        await admin.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
        )
        try:
            url = urlsplit(postgres.urls.app)._replace(path=f"/{name}").geturl()
            message = await failure(url)
            assert f"The database '{name}' is encoded in LATIN1" in message
            assert "ENCODING 'UTF8' TEMPLATE template0;" in message
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_server_never_prepared_gets_the_whole_script(postgres: TestServer) -> None:
    url = urlsplit(postgres.urls.app)._replace(path="/nowhere").geturl()
    message = await failure(url)
    assert 'database "nowhere" does not exist' in message
    assert message.endswith(printed_provisioning())


async def test_the_script_runs_again_and_needs_no_superuser(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls()
    password = urlsplit(urls.owner).password or "", urlsplit(urls.app).password or ""
    parts = provisioning(*password)
    attributes = "LOGIN CREATEROLE CREATEDB"
    async with role(urls, attributes) as url, connected(urls.admin) as admin:
        # What a managed service's administrator has: it made the roles and the database.
        await admin.execute(
            f"GRANT porch_owner, porch_app, porch_definer TO {ROLE} WITH ADMIN OPTION, INHERIT FALSE"
        )
        async with connected(url) as managed:
            await managed.execute(parts.roles)
            await managed.execute(inside_database(urlsplit(url).path[1:]))
    await check_external(urls.app, replace(urls).owner)
