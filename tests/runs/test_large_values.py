"""Values of 16 MB on their way through the journal, and none at all."""

import asyncio

import msgspec

from porch.agents.conversation_store import index_messages
from porch.contract.events import PartFinished, PartStarted, RunCancelled, StreamChunk, decode_event
from porch.contract.frames import frame_data, split_frames
from porch.contract.messages import TextPart
from porch.runs.claims import claim_runs
from porch.runs.journal import WRITE
from tests.laws import check_run
from tests.runs.conftest import Desk

LARGE = "Ω" * (8 * 1024 * 1024)


async def test_a_part_of_16_mb_is_journaled_taken_over_and_kept_whole(desk: Desk) -> None:
    started = await desk.start("[[stall 60s]]")
    live = desk.runs.carrier.get(started.run)
    assert live is not None
    part = PartFinished(step="s1", part="p1", kind="text", value=LARGE)
    live.emit(
        [PartStarted(step="s1", part="p1", kind="text"), StreamChunk(step="s1", part="p1", delta=LARGE)]
    )
    await live.commit([part])
    await desk.expire(desk.runs)
    following = await desk.another()
    async with asyncio.timeout(20):
        while (await following.get(desk.principal, started.run)).epoch == 1:
            await asyncio.sleep(0.05)
    await following.cancel(desk.principal, started.run)
    replayed = await desk.replay(started.run, runs=following)
    events = [event for frame in split_frames(replayed) if (event := decode_event(frame_data(frame)))]
    check_run(events)
    assert isinstance(events[-1], RunCancelled)
    assert [event.value for event in events if isinstance(event, PartFinished)] == [LARGE]
    assert replayed == await desk.replay(started.run, runs=following)


async def test_a_message_of_16_mb_is_kept_and_made_searchable(desk: Desk) -> None:
    conversation = await desk.conversation()
    started = await desk.start("Hello", conversation)
    await desk.replay(started.run)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts)"
            " VALUES ($1, gen_random_uuid(), $2, 'user', $3)",
            desk.principal.workspace,
            conversation,
            msgspec.json.encode([TextPart(text=LARGE)]),
        )
    assert await index_messages(desk.database, 10) == 3
    assert await index_messages(desk.database, 10) == 0


async def test_nothing_at_all_is_written_and_claimed_as_nothing(desk: Desk) -> None:
    async with desk.database.system() as connection:
        process = desk.runs.process
        assert await connection.fetch(WRITE, process, *([] for _ in range(WRITE.count("$") - 1))) == []
    assert await claim_runs(desk.database, process, 64, list) == []
    assert await claim_runs(desk.database, process, 0) == []
