"""The SQL that prepares a server for Porch: run by the embedded PostgreSQL, printed for everybody else's.

Three roles. `porch_owner` owns the database and migrates it; `porch_app` serves, owns nothing and bypasses
nothing; `porch_definer` cannot log in and owns the few SECURITY DEFINER functions. Every statement may be run
again on a server that was prepared before.
"""

from dataclasses import dataclass

DATABASE = "porch"
OWNER, APP, DEFINER = "porch_owner", "porch_app", "porch_definer"


@dataclass(frozen=True)
class Provisioning:
    """Three parts, in order: as administrator on any database, then alone, then inside the new database."""

    roles: str
    database: str
    inside: str

    def as_script(self) -> str:
        """One script for psql, run as a superuser or a managed service's administrator."""
        return f"{self.roles}\n{self.database}\n\\connect {DATABASE}\n\n{self.inside}"


def provisioning(owner_password: str, app_password: str) -> Provisioning:
    """The SQL for a PostgreSQL >= 16 with pgvector. Needs CREATEROLE and CREATEDB, not superuser."""
    return Provisioning(
        roles="\n".join(
            (
                _role(OWNER, f"LOGIN PASSWORD {quote(owner_password)}"),
                _role(APP, f"LOGIN PASSWORD {quote(app_password)}"),
                _role(DEFINER, "NOLOGIN"),
                f"GRANT {DEFINER} TO {OWNER} WITH INHERIT FALSE, SET TRUE;",
                f"GRANT {OWNER} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;",
                f"ALTER ROLE {APP} SET statement_timeout = '30s';",
                f"ALTER ROLE {APP} SET lock_timeout = '10s';",
                f"ALTER ROLE {APP} SET idle_in_transaction_session_timeout = '60s';",
            )
        ),
        database=create_database(DATABASE),
        inside=inside_database(DATABASE),
    )


def create_database(name: str) -> str:
    """The statement that makes the database; it runs alone."""
    return f"CREATE DATABASE {name} OWNER {OWNER} ENCODING 'UTF8' TEMPLATE template0;"


def inside_database(database: str) -> str:
    """The part that belongs to one database: the extension, the schema, and who may do what in it."""
    return "\n".join(
        (
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC;",
            f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {OWNER};",
            f"GRANT CONNECT ON DATABASE {database} TO {APP};",
            "CREATE EXTENSION IF NOT EXISTS vector;",
            f"CREATE SCHEMA IF NOT EXISTS porch AUTHORIZATION {OWNER};",
            f"GRANT USAGE, CREATE ON SCHEMA porch TO {DEFINER};",
            f"GRANT USAGE ON SCHEMA porch TO {APP};",
        )
    )


def quote(text: str) -> str:
    """An SQL string literal."""
    if "\\" in text or "\0" in text:
        raise ValueError("a literal without backslashes and NULs is expected")
    return "'" + text.replace("'", "''") + "'"


def _role(name: str, attributes: str) -> str:
    attributes = f"{attributes} NOCREATEDB NOCREATEROLE"
    return (
        f"DO $$ BEGIN CREATE ROLE {name} {attributes}; "
        f"EXCEPTION WHEN duplicate_object THEN ALTER ROLE {name} {attributes}; END $$;"
    )
