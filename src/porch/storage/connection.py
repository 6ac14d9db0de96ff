"""A connection to PostgreSQL as the rest of Porch sees it. asyncpg is imported in this room alone.

jsonb travels as the bytes of its JSON text in both directions, so that msgspec encodes and decodes it once:
`msgspec.json.encode(value)` is an argument, and `msgspec.json.decode(row["column"], type=T)` reads it back.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

import asyncpg

from porch.contract.errors import DatabaseUnavailable, SetupError

# What holds for every session. A day is 24 hours, also where a server's own time zone knows summer time.
SESSION = {"application_name": "porch", "TimeZone": "UTC"}

# It has no stubs; the Protocols below stand for them.
driver: Any = asyncpg

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
)

# What a connection may fail by, whatever became of its statement.
FAULTS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Record(Protocol):
    """One row, by column name or position. Values are as untyped as SQL is; stores turn rows into Structs."""

    def __getitem__(self, key: str | int) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def get(self, key: str, default: Any = None) -> Any: ...
    def keys(self) -> Iterator[str]: ...
    def values(self) -> Iterator[Any]: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...


class Connection(Protocol):
    """What may be done with a connection: asyncpg's methods, typed. Arguments are `$1`, `$2`…"""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str: ...  # noqa: ASYNC109
    async def executemany(self, command: str, args: Iterable[Sequence[Any]]) -> None: ...
    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Record]: ...  # noqa: ASYNC109
    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Record | None: ...  # noqa: ASYNC109
    async def fetchval(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...  # noqa: ASYNC109
    def transaction(self) -> AbstractAsyncContextManager[None]: ...
    async def add_listener(self, channel: str, callback: Callable[..., Any]) -> None: ...
    async def remove_listener(self, channel: str, callback: Callable[..., Any]) -> None: ...
    def add_termination_listener(self, callback: Callable[..., Any]) -> None: ...
    def get_server_pid(self) -> int: ...
    def is_in_transaction(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self, *, timeout: float | None = None) -> None: ...  # noqa: ASYNC109


async def connect(url: str, *, seconds: float = 10) -> Connection:
    """One connection of its own, with the codecs of this module; the caller closes it.

    Raises DatabaseUnavailable when nobody answers, SetupError when the server turns us away.
    """
    with setup_errors(url):
        connection = cast(
            "Connection",
            await driver.connect(url, timeout=seconds, server_settings=SESSION, command_timeout=None),
        )
        try:
            await prepare(connection)
        except BaseException:
            drop(connection)
            raise
    return connection


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    """A connection for the length of a block."""
    connection = await connect(url)
    try:
        yield connection
    finally:
        # It is closed all the same, and what the block raised is what counts.
        with contextlib.suppress(*FAULTS):
            await connection.close(timeout=5)


async def prepare(connection: Any) -> None:
    """Sets the codecs up; it asks the server nothing."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_encode_jsonb, decoder=_decode_jsonb
    )


def _encode_jsonb(value: bytes | str) -> bytes:
    return b"\x01" + (value.encode() if isinstance(value, str) else value)


def _decode_jsonb(value: bytes) -> bytes:
    return bytes(value[1:])


class setup_errors:  # noqa: N801 - used like a function, as a context manager
    """Turns what connecting to `url` may raise into sentences; the URL's password never appears."""

    def __init__(self, url: str) -> None:
        self.place = describe(url)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case asyncpg.InvalidAuthorizationSpecificationError():
                raise SetupError(
                    f"PostgreSQL at {self.place} refuses this user or password: {error}. Correct the URL's."
                ) from error
            case asyncpg.InvalidCatalogNameError():
                raise SetupError(
                    f"PostgreSQL at {self.place} has no such database: {error}. "
                    "Create it, or correct the URL."
                ) from error
            case asyncpg.ClientConfigurationError() | ValueError():
                raise SetupError(f"The database URL cannot be used: {_without_password(error)}.") from error
            case _ if isinstance(error, FAULTS):
                raise DatabaseUnavailable(
                    f"PostgreSQL at {self.place} does not answer: {first_words(error)}. "
                    "Check that it runs and that the URL is right, then try again."
                ) from error
            case _:
                return


def describe(url: str) -> str:
    """`host:port/database` of a URL, without user and password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
        return f"{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return "the given URL"


def _without_password(error: BaseException) -> str:
    return str(error).partition("://")[0].rstrip() or type(error).__name__


def first_words(error: BaseException) -> str:
    """What an error says, without PostgreSQL's details and hints below it, for use inside a sentence."""
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def is_lost(error: BaseException, connection: Connection) -> bool:
    """Whether an error means that the connection is gone, and not that the statement was wrong."""
    return isinstance(error, LOST) or (
        isinstance(error, asyncpg.InterfaceError | OSError) and is_gone(connection)
    )


def drop(connection: Connection) -> None:
    """Closes a connection at once. After a server's last words asyncpg would take it for a usable one."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


def is_gone(connection: Connection) -> bool:
    """Whether a connection is closed, or was taken back by its pool."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool takes a broken connection back under our feet.
        return True


def is_dangling(error: BaseException) -> bool:
    """Whether a row was refused because one that it refers to is gone."""
    return isinstance(error, asyncpg.ForeignKeyViolationError)


def shortage(error: BaseException) -> str | None:
    """A sentence when PostgreSQL lacks something for now: room on its disk, memory, time; else None."""
    match error:
        case asyncpg.DiskFullError():
            return "The disk that holds the database is full, so nothing can be saved. Make room, then try again."
        case asyncpg.InsufficientResourcesError():
            return f"PostgreSQL has not what it needs: {error}. Try again; if it lasts, give it more."
        case asyncpg.QueryCanceledError() | TimeoutError():
            return "PostgreSQL took too long over this and was stopped. Try again."
        case _:
            return None


def is_full(error: BaseException) -> bool:
    """Whether PostgreSQL found no room on its disk."""
    return isinstance(error, asyncpg.DiskFullError)


def is_refusal(error: BaseException) -> bool:
    """Whether PostgreSQL will refuse this statement with these values however often it is sent."""
    return isinstance(error, (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError))
