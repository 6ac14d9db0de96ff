"""Messages that wait while their server is killed: each that was acknowledged is answered, once and in order."""

import asyncio
import random
from itertools import pairwise
from typing import Any

import pytest

from porch.contract.events import RunFinished
from tests.chaos.server import installed
from tests.chaos.wire import Wire
from tests.laws import check_run
from tests.runs.conftest import events_in

KILLS = 2


@pytest.mark.long
async def test_a_server_killed_between_answers_goes_on_with_those_who_wait() -> None:
    async with installed(lease_seconds=2) as server:
        workspace = server.credentials.workspace
        agents = f"/api/v1/workspaces/{workspace}/agents"
        async with Wire(server.url, server.credentials.token) as wire:
            await wire.make(
                agents,
                {"name": "patient", "instructions": "Act.", "model": "scripted:test", "concurrency": "queue"},
            )
            where = f"/api/v1/conversations/{(await wire.make(f'{agents}/patient/conversations'))['id']}"
            runs: list[str] = [
                (await wire.make(f"{where}/runs", {"input": f"[[say Number {at}.]] [[stall 0.1s]]"}))["run"]
                for at in range(12)
            ]
            for _ in range(KILLS):
                await asyncio.sleep(random.uniform(0.05, 0.4))
                await server.kill()
                await server.start()
            told: list[Any] = []
            async with asyncio.timeout(60):
                for run in runs:
                    told.append(events_in(await wire.replay(run)))
            for events in told:
                check_run(events)
                assert isinstance(events[-1], RunFinished)
            assert all(before[-1].ts <= after[0].ts for before, after in pairwise(told))
            said = (await wire.get(f"{where}/messages?limit=200"))["items"]
            answers = [message for message in said if message["role"] == "assistant"]
            assert len(said) == 2 * len(runs)
            assert {answer["run"] for answer in answers} == set(runs)
