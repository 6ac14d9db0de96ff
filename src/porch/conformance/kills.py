"""The process that holds a run is killed in mid-answer, and the others must go on with it."""

import asyncio
import time
from itertools import pairwise

from porch.conformance.case import Case, spoken
from porch.conformance.ledger import Ledger
from porch.conformance.recording import Recording, Told
from porch.conformance.server import Server
from porch.contract.events import RunResumed, StepDiscarded, ToolCallFinished, ToolResultFinished

ANSWER = "[[call clock]] [[tokens 200 itl={pace}]]"
WORDS = 40
KEYS = ("goes-on", "told", "resync", "whole", "once")


async def check_kill(case: Case) -> None:
    """Kill the server of the first address, which began the run."""
    assert case.kill
    survivors = case.others or [case.server]
    path, mine = await case.conversation(), Recording()
    text = ANSWER.format(pace=case.pace.word)
    reading = [asyncio.create_task(case.server.record(mine, "POST", path, {"input": text}))]
    watchers: list[Recording] = []
    try:
        async with asyncio.timeout(case.pace.answer):
            await mine.until(lambda now: spoken(now) >= 1)
            for server in case.others:
                watchers.append(Recording(mine.run))
                reading.append(asyncio.create_task(server.follow_to_the_end(watchers[-1])))
            for recording in (mine, *watchers):
                await recording.until(lambda now: spoken(now) >= WORDS)
        case.kill()
        killed = time.monotonic()
        if not case.others and not await _is_back(case):
            case.report.skip(
                f"nobody started the server again within {case.pace.back:.0f} s: give --also", *KEYS
            )
            return
        async with asyncio.timeout(case.pace.answer):
            await reading[0]
            await survivors[0].follow_to_the_end(mine)
            await asyncio.gather(*reading)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    await _judge(case, killed, [mine, *watchers], survivors)


async def _judge(case: Case, killed: float, stories: list[Recording], survivors: list[Server]) -> None:
    whole = await survivors[0].replay(str(stories[0].run))
    taken = next((new for old, new in pairwise(whole.told) if new.event.epoch > old.event.epoch), None)
    if taken is None:
        case.report.skip("the run went on by itself: the killed process did not hold it", *KEYS)
        return
    _judge_time(case, killed, stories, taken)
    _judge_words(case, whole, taken)
    for story in stories:
        case.judge(story)
        _judge_resync(case, story, taken)
        says = "A reader of a run that was taken over holds other bytes than its replay."
        case.expect("whole", story.data == whole.data, says, *story.around(taken.event.seq))
    for server in survivors:
        replay = await server.replay(str(whole.run))
        case.judge(replay)
        says = "Two replicas replay a run that was taken over differently."
        case.expect("whole", replay.data == whole.data, says, *replay.around(taken.event.seq))
        await _judge_cursors(case, server, whole, taken)
    _judge_calls(case, whole, stories, taken)


def _judge_time(case: Case, killed: float, stories: list[Recording], taken: Told) -> None:
    if not case.others:
        case.report.skip("how soon another goes on shows with --also alone", "goes-on")
        return
    for story in stories[1:]:
        first = next((told.at for told in story.told if told.event.epoch == taken.event.epoch), story.last)
        took, most = first - killed, case.pace.goes_on
        says = f"The run went on {took:.1f} s after the kill; {most:.0f} s are allowed."
        if case.expect("goes-on", took <= most, says, taken.raw):
            case.report.ok("goes-on", f"after {took:.1f} s")


def _judge_words(case: Case, whole: Recording, taken: Told) -> None:
    """The new epoch begins by saying so, and takes back the step that was open."""
    ledger, place = Ledger(), taken.event.seq - 1
    for told in whole.told[:place]:
        list(ledger.take(told.event))
    first, second = whole.events[place], whole.events[place + 1]
    resumed = isinstance(first, RunResumed) and first.reason == "takeover"
    says = "A run that was taken over does not say run.resumed {takeover} first."
    case.expect("told", resumed, says, *whole.around(taken.event.seq))
    if ledger.steps:
        discarded = isinstance(second, StepDiscarded) and second.step in ledger.steps
        says = "The step that was open when the process died is not taken back after run.resumed."
        case.expect("told", discarded, says, *whole.around(taken.event.seq + 1))


def _judge_resync(case: Case, story: Recording, taken: Told) -> None:
    """A reader who was ahead of what is kept is told so, once; one who was not is not."""
    told = [back for back in story.resyncs if back.reason == "takeover"]
    keep = taken.event.seq - 1
    for back in told:
        says = f"stream.resync says to keep {back.keep}, and the run goes on from {keep}."
        case.expect("resync", back.keep == keep, says, back.raw, taken.raw)
        says = f"A reader with {back.had} events was told to forget what follows {keep}."
        case.expect("resync", back.had > keep, says, back.raw)
    case.expect("resync", len(told) <= 1, "A reader was told twice to forget.", *(back.raw for back in told))


async def _judge_cursors(case: Case, server: Server, whole: Recording, taken: Told) -> None:
    """Afterwards: cursors of the old epoch, at the boundary and beyond it."""
    epoch, keep = whole.told[taken.event.seq - 2].event.epoch, taken.event.seq - 1
    for seq, wanted in ((keep, 0), (keep + 1, 1), (keep + 7, 1)):
        behind = Recording(whole.run, offset=seq)
        await server.follow(behind, f"{epoch}-{seq}")
        told = [back for back in behind.resyncs if back.reason == "takeover"]
        says = f"A reader at {epoch}-{seq} got {len(told)} resyncs, where {wanted} to {keep} were due."
        fine = len(told) == wanted and all(back.keep == keep for back in told)
        case.expect("resync", fine, says, *(back.raw for back in behind.resyncs), taken.raw)
        rest = b"".join(told.raw for told in whole.told[keep:])
        says = f"A reader at {epoch}-{seq} did not get the rest of a run that was taken over."
        case.expect("whole", behind.data == rest, says, *behind.around(None))


def _judge_calls(case: Case, whole: Recording, stories: list[Recording], taken: Told) -> None:
    """The tool ran before the kill, its result was seen, and it stands as it was seen."""
    calls = [told for told in whole.told if isinstance(told.event, ToolCallFinished)]
    results = [told for told in whole.told if isinstance(told.event, ToolResultFinished)]
    before = [told for told in results if told.event.seq < taken.event.seq]
    says = f"One call was asked for, and {len(calls)} calls with {len(results)} results stand in the run."
    shown = [told.raw for told in (*calls, *results)]
    case.expect("once", len(calls) == len(results) == len(before) == 1, says, *shown)
    kept = all(told.raw in story.data for told in before for story in stories)
    case.expect("once", kept, "A result that was seen before the kill is another one after it.", *shown)


async def _is_back(case: Case) -> bool:
    """Whether the killed server answers again; a supervisor may start it."""
    deadline = time.monotonic() + case.pace.back
    while time.monotonic() < deadline:
        if (await case.server.ask("GET", "/healthz", seconds=1.0)).status == 200:
            return True
        await asyncio.sleep(0.2)
    return False
