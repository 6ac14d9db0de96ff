"""What telling who asks costs, and what the wall between workspaces costs: for `porch bench --walls`.

Measured in a PostgreSQL of its own, in a folder that is gone afterwards: no installation is asked, or filled.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from porch.agents import conversation_store as store
from porch.agents import routes as agent_routes
from porch.agents.model import Agent, Conversation
from porch.cli.walls_scene import LENGTH, Chosen, Scene, cluster, fill, scene_of
from porch.contract.errors import PorchError
from porch.contract.principal import Principal
from porch.http.application import create_app
from porch.http.cookies import NAME
from porch.identity.authentication import ANYWHERE, Authenticator, Place
from porch.identity.doors import Doors
from porch.identity.sessions import instance
from porch.storage.connection import Connection, connected
from porch.storage.database import Database

PAIRS, LAPS, LAP, WARM = 12, 10, 25, 60
HOT = ("conversations", "messages", "agents")
# Measurements behind each median.
TIMES = PAIRS * LAPS * LAP


class Cost(NamedTuple):
    """Medians in milliseconds of the same thing, without and with."""

    name: str
    without: float
    with_it: float

    @property
    def added(self) -> float:
        """Milliseconds."""
        return self.with_it - self.without

    @property
    def ratio(self) -> float:
        """How many times as long."""
        return self.with_it / self.without


class Walls(msgspec.Struct, frozen=True):
    """What was found; milliseconds. `scanned` names the tables that a query read whole."""

    workspaces: int
    messages: int
    credentials: list[Cost]
    queries: list[Cost]
    scanned: list[str]


Transaction = Callable[[UUID], AbstractAsyncContextManager[Connection]]
Query = Callable[[Connection, Chosen], Awaitable[object]]


async def measure_walls(workspaces: int, messages: int, say: Callable[[str], None]) -> Walls:
    """Make a database of that size and measure both. Raises SetupError where PostgreSQL cannot be started."""
    conversations = max(messages // LENGTH, workspaces)
    async with cluster() as urls:
        say("Making a database for it …")
        async with connected(urls.admin) as admin:
            say(f"Writing {conversations * LENGTH:,} messages of {workspaces:,} workspaces …")
            await fill(admin, workspaces, conversations)
            async with scene_of(urls, admin) as scene:
                say("Measuring what a credential costs …")
                credentials = await _credentials(scene)
                before = await _scans(admin)
                say("Measuring what the wall costs …")
                queries = [await _query(name, query, scene) for name, query in QUERIES.items()]
            after = await _scans(admin)
    scanned = [table for table in HOT if after[table] > before[table]]
    return Walls(workspaces, conversations * LENGTH, credentials, queries, scanned)


async def _scans(admin: Connection) -> dict[str, int]:
    # What connections did is told when they have ended, or are idle for a second.
    await asyncio.sleep(1.5)
    rows = await admin.fetch(
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE schemaname = 'porch' AND relname = ANY($1)",
        HOT,
    )
    return {row["relname"]: row["seq_scan"] for row in rows}


# ---------------------------------------------------------------- who asks


class Trusting:
    """Takes everybody for one and the same, and asks nobody."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def __call__(self, token: str, address: str | None = None) -> Principal:
        """Whom it takes them for."""
        return self._principal

    async def session(self, secret: str, address: str | None = None, place: Place = ANYWHERE) -> Principal:
        """Whom it takes them for."""
        return self._principal

    async def guest(self, token: str, origin: str | None = None) -> Principal:
        """Whom it takes them for."""
        return self._principal

    def forget(self) -> None:
        """It knows nothing."""


async def _credentials(scene: Scene) -> list[Cost]:
    app = create_app([agent_routes.router])
    authenticator, trusting = Authenticator(scene.database), Trusting(scene.owner)
    app.state.database, app.state.home = scene.database, scene.owner.workspace
    app.state.doors = Doors(multi_user=True)
    path = f"/api/v1/workspaces/{scene.owner.workspace_handle}/agents/a0"
    sent = {
        "token": (b"authorization", f"Bearer {scene.token}".encode()),
        "session": (b"cookie", f"{NAME}{await instance(scene.database)}={scene.session}".encode()),
    }

    async def ask(credential: str, known: bool | None) -> float:
        app.state.authenticate = trusting if known is None else authenticator
        if known is False:
            authenticator.forget_here()
        began = time.perf_counter()
        await _get(app, path, sent[credential])
        return (time.perf_counter() - began) * 1000

    found: list[Cost] = []
    for credential in sent:
        for name, known in (("known for less than a second", True), ("asked of the database", False)):
            took: tuple[list[float], list[float]] = ([], [])
            for _ in range(PAIRS):
                await _take(took, partial(ask, credential, None), partial(ask, credential, known))
            found.append(Cost(f"{credential}, {name}", median(took[0]), median(took[1])))
    await authenticator.close()
    return found


async def _get(app: Any, path: str, header: tuple[bytes, bytes]) -> None:
    """One request, without a socket: what that costs would hide what is looked for."""
    statuses: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), header, (b"sec-fetch-site", b"same-origin")],
        "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    if statuses != [200]:
        raise PorchError(f"The request that is measured was answered with {statuses}.")


# ---------------------------------------------------------------- the wall


async def _open_conversation(connection: Connection, one: Chosen) -> Conversation:
    row = await connection.fetchrow(
        "SELECT id, handle, revision, latest_version, created_at, updated_at, draft FROM porch.agents"
        " WHERE workspace_id = $1 AND id = $2",
        one.workspace,
        one.agent,
    )
    assert row is not None
    agent = msgspec.convert({**dict(row.items()), "draft": msgspec.json.decode(row["draft"])}, Agent)
    return await store.insert_conversation(connection, _person(one), agent, "", draft=True)


def _person(one: Chosen) -> Principal:
    return Principal("user", one.person, one.workspace, "w", "owner", frozenset({"admin:*"}), one.person)


QUERIES: dict[str, Query] = {
    "a conversation": lambda at, one: store.read_conversation(at, one.workspace, one.conversation),
    "its newest messages": lambda at, one: store.list_messages(
        at, one.workspace, one.conversation, None, 50, newest_first=True
    ),
    "its branch, for a page": lambda at, one: store.read_branch(at, one.workspace, one.head, 200),
    "an agent's conversations": lambda at, one: store.list_conversations(
        at, one.workspace, one.agent, None, None, 20
    ),
    "one's own, the last active first": lambda at, one: store.list_active(at, _person(one), None, None, 30),
    "a new conversation": _open_conversation,
}


async def _query(name: str, query: Query, scene: Scene) -> Cost:
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(PAIRS):
        # New connections each turn: which processor one of them keeps to weighs more than what is looked for.
        bare, walled = [await Database.connect(url, 1) for url in scene.ways]
        try:
            await _take(
                took,
                _asking(query, lambda _, bare=bare: _unwalled(bare), scene, f"{name} {turn}"),
                _asking(query, walled.tenant, scene, f"{name} {turn}"),
            )
        finally:
            await bare.close()
            await walled.close()
    return Cost(name, median(took[0]), median(took[1]))


@asynccontextmanager
async def _unwalled(database: Database) -> AsyncGenerator[Connection]:
    """A transaction that names no workspace."""
    async with database.system() as connection:
        await connection.execute("BEGIN")
        yield connection
        await connection.execute("COMMIT")


def _asking(
    query: Query, transaction: Transaction, scene: Scene, seed: str
) -> Callable[[], Awaitable[float]]:
    # With one seed the same objects in the same order.
    chosen = random.Random(seed)  # noqa: S311 - nothing secret

    async def ask() -> float:
        one = chosen.choice(scene.conversations)
        began = time.perf_counter()
        async with transaction(one.workspace) as connection:
            await query(connection, one)
        return (time.perf_counter() - began) * 1000

    return ask


async def _take(
    took: tuple[list[float], list[float]],
    without: Callable[[], Awaitable[float]],
    with_it: Callable[[], Awaitable[float]],
) -> None:
    """Both, in turns, so that what else the machine does falls on both."""
    both = without, with_it
    for one in both:
        for _ in range(WARM):
            await one()
    for lap in range(LAPS):
        for side in (lap % 2, 1 - lap % 2):
            took[side].extend([await both[side]() for _ in range(LAP)])
