"""Readers that leave, wait, come together, or do not read (laws 12 and 13)."""

import asyncio
import os
import statistics

from porch.conformance.case import Case, spoken
from porch.conformance.doors import LONG
from porch.conformance.recording import Recording
from porch.conformance.server import IDEMPOTENCY_KEY
from porch.conformance.telling import HELLO

SOME, MORE = "[[tokens 60 itl={pace}]]", "[[tokens 100 itl={pace}]]"
FLOOD = "[[stall {wait}]] [[tokens {count}]]"
SILENT = "[[say One moment.]] [[stall {seconds}s]] [[say Done.]]"
POLL_SECONDS = 0.1


async def check_leaving(case: Case) -> None:
    """The only reader goes away in mid-answer."""
    path, seen = await case.conversation(), Recording()
    said = {"input": SOME.format(pace=case.pace.word)}
    await case.server.record(seen, "POST", path, said, enough=lambda now: spoken(now) >= 5)
    if seen.ended or not seen.run:
        case.report.skip("the answer was over before its reader left", "leaving")
        return
    async with case.limited("leaving", "A run without a reader did not end."):
        while True:
            if (await case.state(seen.run)).get("status") != "running":
                break
            await asyncio.sleep(POLL_SECONDS)
        whole = await case.server.replay(seen.run)
        case.judge(whole)
        finished = whole.types[-1:] == ["run.finished"]
        case.expect("leaving", finished, "A run whose reader left did not finish.", *whole.around(None))
        says = "What was read before leaving is not what the run's replay begins with."
        case.expect("leaving", whole.data.startswith(seen.data), says, *seen.around(None))


async def check_together(case: Case) -> None:
    """Several readers of one run, who come at different times."""
    others: list[Recording] = []
    async with asyncio.TaskGroup() as group, case.telling(SOME.format(pace=case.pace.word), 2) as first:
        for words in (2, 15, 30):
            await first.until(lambda now, words=words: spoken(now) >= words)
            other = Recording(first.run, offset=5 if words == 30 else 0)
            others.append(other)
            group.create_task(case.server.follow(other, first.told[4].cursor if other.offset else None))
    case.judge(first)
    for other in others:
        case.judge(other, whole=not other.offset)
        same = other.data == b"".join(told.raw for told in first.told[other.offset :])
        says = "A second reader of a live run got other bytes than the first."
        case.expect("readers", same, says, *first.around(None), *other.around(None))


async def check_silence(case: Case) -> None:
    """A model that says nothing for a while."""
    low, high = case.pace.keep_alive
    most = high + case.pace.slack
    text = SILENT.format(seconds=f"{most + 2 * case.pace.slack:.1f}")
    async with case.telling(text, 2) as recording:
        await asyncio.sleep(min(case.pace.slack, low) / 2)  # the words behind the second
        since = recording.told[-1].at
        try:
            async with asyncio.timeout(most):
                await recording.until(lambda now: any(at > since for at in now.comments))
        except TimeoutError:
            says = (
                f"Nothing came in {most:.0f} s of silence; a comment is due every {low:.0f} to {high:.0f} s."
            )
            case.report.breach("silence", says, recording.around(None))
        else:
            gap = next(at for at in recording.comments if at > since) - since
            says = f"A keep-alive came after {gap:.1f} s; they are due every {low:.0f} to {high:.0f} s."
            if case.expect("silence", low - case.pace.slack <= gap <= most, says):
                case.report.ok("silence", f"after {gap:.1f} s")
        await case.server.ask("POST", f"/api/v1/runs/{recording.run}/cancel")


async def check_slow(case: Case) -> None:
    """A reader that stops reading while another reads everything."""
    text = FLOOD.format(wait=f"{case.pace.slack:.1f}s", count=case.pace.flood)
    fast, slow = Recording(), Recording()
    path = await case.conversation()
    async with case.limited("slow", "Beside a reader that does not read, another did not get to the end."):
        reading = asyncio.create_task(case.server.record(fast, "POST", path, {"input": text}))
        try:
            await fast.until(lambda now: len(now.told) > 0)
            slow.run = fast.run
            await case.server.follow(slow, idle=lambda: asyncio.wait([reading]))
            await reading
            told_off = [back for back in slow.resyncs if back.reason == "overflow"]
            closed = slow.ended or bool(told_off)
            says = "A slow reader was closed without its events and without stream.resync {overflow}."
            case.expect("slow", closed, says, *slow.around(None))
            await case.server.follow_to_the_end(slow)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        case.judge(fast)
        case.judge(slow)
        says = "What a slow reader got, and what it came back for, is not the run."
        if case.expect("slow", fast.ended and slow.data == fast.data, says, *slow.around(None)):
            got = f"told to come back after {told_off[0].had:,} of {len(fast.told):,}" if told_off else ""
            case.report.ok("slow", got)


async def check_elsewhere(case: Case) -> None:
    """A run of this server, read live on the others."""
    recordings: list[Recording] = []
    async with asyncio.TaskGroup() as group, case.telling(MORE.format(pace=case.pace.word), 2) as here:
        for other in case.others:
            recordings.append(Recording(here.run))
            group.create_task(other.follow(recordings[-1]))
    for there in recordings:
        case.judge(there)
        says = "Another replica gave other bytes of a live run than the one that holds it."
        case.expect("elsewhere", there.data == here.data, says, *here.around(None), *there.around(None))
        # A reader of what is over would have got its first word with the last.
        behind = [b.at - a.at for a, b in zip(here.told[10:], there.told[10:], strict=False)]
        live = len(there.told) > 10 and there.told[10].at < here.told[len(here.told) * 3 // 4].at
        says = "Another replica gave a run's events only when it was over."
        if case.expect("elsewhere", live, says) and behind:
            case.report.ok("elsewhere", f"{statistics.median(behind) * 1000:.0f} ms behind, by the median")


async def check_reaching(case: Case) -> None:
    """Cancel by a replica that does not hold the run, and one write sent to two of them."""
    for other in case.others:
        async with case.telling(LONG.format(pace=case.pace.word), 10) as recording:
            answer = await other.ask("POST", f"/api/v1/runs/{recording.run}/cancel")
            says = f"A cancel sent to another replica did not end the run within {case.pace.ends:.0f} s."
            async with case.limited("reaching", says, case.pace.ends):
                await recording.until(lambda now: now.ended)
            if not recording.ended:
                await case.server.ask("POST", f"/api/v1/runs/{recording.run}/cancel")
        cancelled = recording.types[-1:] == ["run.cancelled"]
        says = "A run cancelled by another replica did not end as run.cancelled."
        case.expect("reaching", cancelled, says, answer.shown, *recording.around(None))
        path, keyed = await case.conversation(), {IDEMPOTENCY_KEY: os.urandom(12).hex()}
        both = [
            await server.ask("POST", path, {"input": HELLO}, headers=keyed) for server in (case.server, other)
        ]
        same = both[0].told.get("run") and both[0].told.get("run") == both[1].told.get("run")
        says = "The same write, sent to two replicas under one key, made two runs."
        case.expect("reaching", same, says, *(answer.shown for answer in both))
