"""A real server with little memory: it takes what it can carry, refuses the rest, and takes it again afterwards."""

import asyncio
import base64
import os

import pytest

from tests.chaos.server import installed
from tests.chaos.wire import Answer, Wire, check_problem

MIB = 1 << 20
LIMIT = 320 * MIB
MOST = 30
LEASE = 30.0
LATE = 3


@pytest.mark.long
async def test_messages_that_fill_the_memory_are_refused_until_there_is_room_again() -> None:
    text = base64.b64encode(base64.b64encode(os.urandom(7 * MIB))).decode()
    file = {"type": "file", "media_type": "text/plain", "data": text}
    large = {"input": [{"type": "text", "text": "[[stall]]"}, file]}
    # Its lease outlasts what many large messages at once do to a busy machine: a server that is not sure of it
    # answers `unavailable`, rightly, and what full memory answers would not be seen.
    async with installed(memory_limit=LIMIT, local_model=False, lease_seconds=LEASE) as server:
        credentials = server.credentials
        async with Wire(server.url, credentials.token) as wire:
            agents = f"/api/v1/workspaces/{credentials.workspace}/agents"
            await wire.make(agents, {"name": "actor", "instructions": "Act.", "model": "scripted:test"})

            async def ask(body: object) -> Answer:
                made = await wire.make(f"{agents}/actor/conversations")
                return await wire.ask("POST", f"/api/v1/conversations/{made['id']}/runs", body)

            taken: list[str] = []
            refused, late = None, 0
            while refused is None and len(taken) < MOST:
                answer = await ask(large)
                if answer.status == 202:
                    taken.append(answer.json["run"])
                elif check_problem(answer) == "unavailable" and late < LATE:
                    late += 1
                    await asyncio.sleep(
                        int(answer.headers["retry-after"])
                    )  # as everybody does who is told so
                else:
                    refused = answer
            assert refused is not None, "the memory was never full"
            assert taken, "nothing was taken at all"
            assert check_problem(refused) == "overloaded"
            assert refused.headers["retry-after"]
            ready = await wire.ask("GET", "/readyz")
            assert (ready.status, ready.json["memory"]) == (200, "short")
            assert (await wire.get(f"/api/v1/runs/{taken[0]}"))["status"] == "running"
            words = server.words()
            assert f"MiB of {LIMIT // MIB} MiB in use, so no new work is taken" in words
            assert f"{len(taken):,} runs with" in words
            for run in taken:
                assert (await wire.ask("POST", f"/api/v1/runs/{run}/cancel")).status == 202
            async with asyncio.timeout(30):
                while (await wire.ask("GET", "/readyz")).json["memory"] != "ok":
                    await asyncio.sleep(0.1)
            assert (await ask({"input": "[[say Hi]]"})).status == 202
