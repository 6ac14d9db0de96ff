"""Checks a PostgreSQL that Porch did not bring along, and says which SQL would mend what is missing."""

from dataclasses import dataclass

import asyncpg

from porch.contract.errors import SetupError
from porch.storage.connection import Connection, connected, describe
from porch.storage.provision import (
    APP,
    DATABASE,
    DEFINER,
    OWNER,
    create_database,
    inside_database,
    provisioning,
)

OLDEST = 16
PLACES = ("CHANGE-THIS-OWNER-PASSWORD", "CHANGE-THIS-APP-PASSWORD")

FACTS = """
SELECT current_setting('server_version_num')::int / 10000 AS major,
       current_setting('server_encoding') AS encoding,
       current_database() AS database,
       current_user AS role,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') AS vector_installed,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') AS vector_available,
       to_regnamespace('porch') IS NOT NULL AS schema,
       (SELECT array_agg(rolname::text) FROM pg_roles
         WHERE rolname IN ('porch_app', 'porch_definer', 'porch_owner')) AS roles,
       (SELECT array_agg(rolname::text) FROM pg_roles
         WHERE (rolsuper OR rolbypassrls) AND pg_has_role(current_user, oid, 'MEMBER')) AS bypassing,
       (SELECT pg_has_role(current_user, oid, 'USAGE') FROM pg_roles WHERE rolname = 'porch_app') AS is_app,
       (SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'porch_owner') AS is_owner,
       (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS administers,
       (SELECT oid = 10 FROM pg_roles WHERE rolname = current_user) AS bootstrap,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'porch' AND c.relname = 'migrations') AS migrated,
       (SELECT pg_has_role(current_user, oid, 'SET') FROM pg_roles
         WHERE rolname = 'porch_definer') AS sets_definer,
       (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'porch') AS schema_owner,
       (SELECT pg_has_role(current_user, nspowner, 'MEMBER') FROM pg_namespace
         WHERE nspname = 'porch') AS owns_schema,
       coalesce((SELECT has_schema_privilege(r.oid, n.oid, 'CREATE') FROM pg_roles r, pg_namespace n
         WHERE r.rolname = 'porch_definer' AND n.nspname = 'porch'), false) AS definer_creates
"""


@dataclass(frozen=True)
class External:
    """What was found of a server that passed."""

    major: int
    database: str
    app_role: str


@dataclass(frozen=True)
class Facts:
    """What one login can tell about its server, its database and itself."""

    major: int
    encoding: str
    database: str
    role: str
    vector_installed: bool
    vector_available: bool
    schema: bool
    roles: list[str] | None
    bypassing: list[str] | None
    is_app: bool | None
    is_owner: bool | None
    administers: bool
    bootstrap: bool
    migrated: bool
    sets_definer: bool | None
    schema_owner: str | None
    owns_schema: bool | None
    definer_creates: bool

    @property
    def missing(self) -> list[str]:
        """The roles that are not there; the owner need not be where somebody else owns the schema."""
        wanted = {APP, DEFINER} if self.schema else {APP, DEFINER, OWNER}
        return sorted(wanted - set(self.roles or ()))


@dataclass(frozen=True)
class Problem:
    """One thing missing, and the SQL that mends it, if SQL can."""

    what: str
    sql: str = ""


async def check_external(app_url: str, migration_url: str | None = None) -> External:
    """Checks version, encoding, pgvector, the roles behind both URLs, and that no pooler is in between.

    Superuser is not needed. Raises SetupError listing everything that is missing with the exact SQL, and
    DatabaseUnavailable when nobody answers.
    """
    pooled: list[Problem] = []
    owner: Facts | None = None
    try:
        async with connected(app_url) as connection:
            facts = await read_facts(connection)
            if await _is_transaction_pooled(connection, app_url):
                pooled.append(_pooled("--database-url"))
        if migration_url:
            async with connected(migration_url) as connection:
                owner = await read_facts(connection)
                if await _is_transaction_pooled(connection, migration_url):
                    pooled.append(_pooled("--migration-url"))
    except SetupError as error:
        raise SetupError(
            f"{error.message}\nOn a server that was never prepared for Porch, an administrator runs this "
            f"once with psql, with passwords of their own:\n\n{printed_provisioning()}"
        ) from error
    if problems := find_problems(facts, owner) + pooled:
        raise SetupError(_sentence(app_url, problems))
    return External(facts.major, facts.database, facts.role)


def printed_provisioning() -> str:
    """The whole script for an administrator, with places for the passwords."""
    return provisioning(*PLACES).as_script()


def quote_name(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


async def read_facts(connection: Connection) -> Facts:
    """What the login of a connection can tell."""
    row = await connection.fetchrow(FACTS)
    assert row is not None
    return Facts(**dict(row.items()))


def find_problems(app: Facts, owner: Facts | None) -> list[Problem]:
    """All that is missing for the logins of both URLs, in the order in which its SQL works."""
    found = _server_problems(app)
    if owner is not None:
        found += _owner_problems(app, owner)
    elif not app.migrated:
        found.append(
            Problem(
                "Its tables are not made yet, which --database-url may not do: give --migration-url too, the same "
                f"database as {OWNER}."
            )
        )
    # Last, since it may take from a role what it needs to run the rest.
    return found + _app_problems(app)


def _server_problems(facts: Facts) -> list[Problem]:
    found: list[Problem] = []
    readable = facts.encoding == "UTF8"
    if facts.major < OLDEST:
        found.append(Problem(f"It is PostgreSQL {facts.major}; Porch needs {OLDEST} or newer."))
    if not facts.vector_available and not facts.vector_installed:
        found.append(
            Problem(
                "The extension pgvector is not installed on the server's machine: install the package "
                f"(Debian: postgresql-{facts.major}-pgvector), then run what is below.",
                "CREATE EXTENSION vector;" if readable else "",
            )
        )
    elif not facts.vector_installed and readable:
        found.append(Problem("The extension vector is not in this database.", "CREATE EXTENSION vector;"))
    if facts.missing:
        *others, last = facts.missing
        names = f"roles {', '.join(others)} and {last}" if others else f"role {last}"
        found.append(
            Problem(
                f"There {'are' if others else 'is'} no {names}. Choose passwords below; then --database-url logs in "
                f"as {APP} and --migration-url as {OWNER}.",
                provisioning(*PLACES).roles,
            )
        )
    if not readable:
        name = DATABASE if facts.database != DATABASE else f"{DATABASE}_utf8"
        found.append(
            Problem(
                f"The database {facts.database!r} is encoded in {facts.encoding}; Porch needs UTF8. Make another one "
                f"and name it in the URLs: {name!r}.",
                f"{create_database(name)}\n\\connect {name}\n{inside_database(name)}",
            )
        )
    elif not facts.schema:
        found.append(Problem("There is no schema 'porch'.", inside_database(quote_name(facts.database))))
    elif facts.missing:
        found.append(Problem("They may not use this database.", inside_database(quote_name(facts.database))))
    elif not facts.definer_creates:
        found.append(
            Problem(
                f"The role {DEFINER} may not own functions in the schema 'porch'.",
                f"GRANT USAGE, CREATE ON SCHEMA porch TO {DEFINER};",
            )
        )
    return found


def _app_problems(facts: Facts) -> list[Problem]:
    role, login = quote_name(facts.role), f"The role {facts.role!r} of --database-url"
    if facts.role == OWNER or facts.bootstrap or (facts.missing and facts.administers):
        why = "owns the tables" if facts.role == OWNER else "administers the server"
        return [Problem(f"{login} {why}: tenants would not be apart. Log in there as {APP}.")]
    found: list[Problem] = []
    if not facts.is_app:
        found.append(Problem(f"{login} is not {APP}.", f"GRANT {APP} TO {role};"))
    for name in facts.bypassing or ():
        sql = f"ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS;"
        if name != facts.role:
            sql = f"REVOKE {quote_name(name)} FROM {role};"
        found.append(
            Problem(
                f"{login} can pass by row level security"
                f"{'' if name == facts.role else f' as a member of {name!r}'}: tenants would not be apart.",
                sql,
            )
        )
    owner = facts.schema_owner or OWNER
    if (facts.owns_schema if facts.schema else facts.is_owner) and not facts.bypassing:
        found.append(
            Problem(
                f"{login} owns the schema 'porch' or is a member of its owner {owner!r}; serving and owning are two "
                "roles.",
                f"ALTER SCHEMA porch OWNER TO {OWNER};"
                if owner == facts.role
                else f"REVOKE {quote_name(owner)} FROM {role};",
            )
        )
    return found


def _owner_problems(app: Facts, owner: Facts) -> list[Problem]:
    found: list[Problem] = []
    role, login = quote_name(owner.role), f"The role {owner.role!r} of --migration-url"
    if owner.database != app.database:
        found.append(
            Problem(
                f"--database-url names the database {app.database!r} and --migration-url {owner.database!r}; "
                "both must name one."
            )
        )
    if owner.role == app.role:
        found.append(
            Problem(
                f"--database-url and --migration-url log in as the same role {app.role!r}; Porch migrates as "
                f"{OWNER} and serves as {APP}."
            )
        )
        return found
    if owner.schema and not owner.owns_schema:
        found.append(
            Problem(
                f"{login} does not own the schema 'porch'.",
                f"GRANT {quote_name(str(owner.schema_owner))} TO {role};",
            )
        )
    elif not owner.schema and not owner.is_owner and owner.role != OWNER:
        found.append(
            Problem(f"{login} is not {OWNER}, who owns the schema 'porch'.", f"GRANT {OWNER} TO {role};")
        )
    # Whoever is made a member of the owner above may do what that one may.
    if owner.sets_definer is False or (owner.sets_definer is None and owner.schema):
        found.append(
            Problem(
                f"{login} may not give functions to {DEFINER}.",
                f"GRANT {DEFINER} TO {role} WITH INHERIT FALSE, SET TRUE;",
            )
        )
    return found


async def _is_transaction_pooled(first: Connection, url: str) -> bool:
    """Whether two clients get each other's server process, as in PgBouncer's transaction mode.

    A pooler is there when the process id of the greeting is not that of the server that answers. Then, if a
    second client in a transaction gets the process that answered the first, sessions are not kept.
    """
    ask = "SELECT pg_backend_pid()"
    try:
        answered = int(await first.fetchval(ask))
        if answered == first.get_server_pid():
            return False
        async with connected(url) as second, second.transaction():
            taken = int(await second.fetchval(ask))
            return taken == answered or int(await first.fetchval(ask)) != answered
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        return True


def _pooled(option: str) -> Problem:
    return Problem(
        f"{option} leads through a pooler in transaction mode (PgBouncer?), where LISTEN, prepared "
        "statements and session locks do not survive. Name the server itself, or a pool in session mode."
    )


def _sentence(url: str, problems: list[Problem]) -> str:
    lines = [f"PostgreSQL at {describe(url)} is not ready for Porch:"]
    lines += [f"- {problem.what}" for problem in problems]
    statements = [problem.sql for problem in problems if problem.sql]
    if statements:
        lines += ["", "An administrator runs this in that database:", "", *statements]
    return "\n".join(lines)
