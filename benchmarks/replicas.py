"""How far a reader at another server lags behind the one who makes an answer: by NOTIFY and journal, and by Valkey.

`python -m benchmarks.replicas` starts PostgreSQL, two processes' runs in one loop each way, and prints p50 and p99.
"""

import asyncio
import tempfile
import time
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from tests.valkey import valkey_server

from porch.contract.definition import Definition
from porch.contract.ids import new_uuid
from porch.contract.messages import TextPart
from porch.contract.principal import Principal
from porch.egress import Egress
from porch.models.service import Models
from porch.models.sharing import Sharing
from porch.plugins.service import Tools
from porch.runs.service import Runs
from porch.storage.database import Database
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.migrate import migrate

RUNS = 20
TEXT = "[[tokens 200 itl=20ms]]"


class Clock:
    """A socket that notes when each event came."""

    def __init__(self) -> None:
        self.came: dict[bytes, float] = {}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """ASGI send."""
        now = time.perf_counter()
        for line in message.get("body", b"").split(b"\n"):
            if line.startswith(b"id: "):
                self.came[line] = now

    async def receive(self) -> dict[str, Any]:
        """ASGI receive: the client stays."""
        await asyncio.Event().wait()
        raise AssertionError


async def lags(
    database: Database, principal: Principal, conversations: list[Any], url: str | None
) -> list[float]:
    """Seconds between an event's arrival at a reader of its own process and at one of the other."""
    async with Egress() as egress, AsyncExitStack() as stack:
        both: list[Runs] = []
        for _ in range(2):
            runs = Runs(database, Models({}, egress, Sharing(principal.workspace)), Tools(), live_url=url)
            await runs.start()
            stack.push_async_callback(runs.stop)
            both.append(runs)

        async def one(conversation: Any) -> list[float]:
            started = await both[0].start_run(principal, conversation, [TextPart(text=TEXT)])
            near, far = Clock(), Clock()
            stream = await both[1].follow(principal, started.run)
            assert stream is not None
            own = both[0].follow_new(principal, started)
            await asyncio.gather(
                *(s({"type": "http"}, c.receive, c.send) for s, c in ((own, near), (stream, far)))
            )
            seen = list(near.came.items())[40:]  # the beginning is a replay for whoever comes a moment later
            return [far.came[name] - at for name, at in seen]

        return sorted(lag for each in await asyncio.gather(*map(one, conversations)) for lag in each)


async def main() -> None:
    """Measure both ways, and print a row each."""
    with tempfile.TemporaryDirectory(prefix="porch-bench-") as place:
        Path(place).chmod(0o755)
        postgres = EmbeddedPostgres(Path(place) / "data")
        urls = await postgres.start()
        try:
            await migrate(urls.owner)
            database = await Database.connect(urls.app)
            async with valkey_server() as valkey:
                for name, url in (("NOTIFY and journal", None), ("Valkey", valkey.url)):
                    principal, conversations = await prepare(database)
                    found = await lags(database, principal, conversations, url)
                    p50, p99 = (found[int(len(found) * q)] * 1000 for q in (0.5, 0.99))
                    print(f"{name:20} {len(found)} events  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms")
            await database.close()
        finally:
            await postgres.stop()


async def prepare(database: Database) -> tuple[Principal, list[Any]]:
    """A workspace with an agent that obeys cues, and conversations in it."""
    user, workspace, agent = new_uuid(), new_uuid(), new_uuid()
    async with database.system() as connection:
        found = await connection.fetchrow(
            "SELECT * FROM porch.ensure_operator($1, 'Ada', $2, 'ada')", user, workspace
        )
    assert found is not None
    user, workspace = found["user_id"], found["workspace_id"]
    conversations = [new_uuid() for _ in range(RUNS)]
    definition = Definition(name="actor", instructions="Act.", model="scripted:test")
    async with database.tenant(workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, $3, $4)",
            workspace,
            agent,
            f"actor-{agent.hex[-8:]}",
            msgspec.json.encode(definition),
        )
        for conversation in conversations:
            await connection.execute(
                "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)"
                " VALUES ($1, $2, $3, 'user', $4)",
                workspace,
                conversation,
                agent,
                user,
            )
    return Principal(
        "user", user, workspace, "ada", "owner", frozenset({"admin:*"}), new_uuid()
    ), conversations


if __name__ == "__main__":
    asyncio.run(main())
