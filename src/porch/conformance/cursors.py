"""Coming back: replay, every cursor, and cursors that cannot be."""

import asyncio
import re
from contextlib import suppress
from itertools import product
from typing import Any, cast

from porch.conformance.case import Case
from porch.conformance.doors import LONG
from porch.conformance.recording import Recording, Told
from porch.conformance.server import EVENT_STREAM, LAST_EVENT_ID, Answer, Server
from porch.conformance.telling import HELLO
from porch.contract.schema import SCHEMA_URL, stream_schema

MOST_CURSORS = 16
FAR = 100_000
_OVERFLOW = re.compile(rb'^event: stream\.resync\n(?:.*\n)*?data: .*"overflow"', re.MULTILINE)
_ID = re.compile(rb"^id: (.+)$", re.MULTILINE)
GARBLED = ("abc", "1", "1-", "1-x", "-1-1", "1-" + "9" * 40)


async def check_replay(case: Case, recording: Recording) -> None:
    """The whole run once more."""
    if not recording.run:
        return
    replay = await case.server.replay(recording.run)
    first = next(
        (pair for pair in zip(recording.told, replay.told, strict=False) if pair[0].raw != pair[1].raw), None
    )
    case.expect(
        "replay",
        replay.data == recording.data,
        f"{len(recording.told)} events were streamed live, and replay gives {len(replay.told)}"
        + (f"; they differ at seq {first[0].event.seq}." if first else "."),
        *((first[0].raw, first[1].raw) if first else ()),
    )


async def check_rest(case: Case, recording: Recording) -> None:
    """From many events on, by header and by query; and from the last there is nothing more."""
    told = recording.told
    step = max(1, len(told) // MOST_CURSORS)
    for place in range(0, len(told) - 1, step):
        rest = b"".join(later.raw for later in told[place + 1 :])
        cursor = told[place].cursor
        for how, answer in (
            ("Last-Event-ID", await _events(case.server, recording, after=cursor)),
            ("?after", await _events(case.server, recording, f"?after={cursor}")),
        ):
            says = f"{how} {cursor} does not give the rest of the run byte for byte."
            case.expect("rest", answer.body == rest, says, *_difference(told[place + 1], answer))
    if len(told) > 3:
        late = told[-2].cursor
        both = await _events(case.server, recording, f"?after={told[0].cursor}", after=late)
        says = f"With Last-Event-ID {late} and ?after={told[0].cursor} the header did not win."
        case.expect("stronger", both.body == told[-1].raw, says, both.shown)
    end = told[-1].cursor
    for answer in (
        await _events(case.server, recording, after=end),
        await _events(case.server, recording, f"?after={end}"),
    ):
        says = f"At the terminal event's cursor {end} the answer is {answer.status}, not an empty 204."
        case.expect("done", answer.status == 204 and not answer.body, says, answer.shown)


async def check_everywhere(case: Case) -> None:
    """A run that is over, on every replica."""
    recording = await case.tell(HELLO)
    for server in case.others:
        replay = await server.replay(str(recording.run))
        says = f"{server.url} replays other bytes than were streamed at {case.server.url}."
        evidence = (*recording.around(None), *replay.around(None))
        case.expect("everywhere", replay.data == recording.data, says, *evidence)


async def check_odd(case: Case, recording: Recording) -> None:
    """A cursor ahead of the run, and texts that are none."""
    last = recording.told[-1].event
    limit = case.pace.keep_alive[1] + case.pace.goes_on
    ahead = await _events(case.server, recording, f"?after={last.epoch}-{last.seq + 1000}", seconds=limit)
    says = f"A cursor ahead of a run that is over was neither answered within {limit:.0f} s nor refused with a problem."
    answered = ahead.status in (200, 204) or (400 <= ahead.status < 500 and ahead.is_problem)
    case.expect("ahead", answered, says, ahead.shown)
    for text in GARBLED:
        answer = await _events(case.server, recording, f"?after={text}")
        refused = answer.status in (400, 422) and answer.is_problem
        says = f"The cursor {text[:20]!r} was answered with {answer.status}, not refused with a problem."
        case.expect("garbled", refused, says, answer.shown)


async def check_future(case: Case) -> None:
    """Cursors that nobody was given, of a run that is at work: on each replica, at once or soon."""
    async with case.telling(LONG.format(pace=case.pace.word), 2) as recording:
        at = recording.told[-1].event
        cursors = f"{at.epoch}-{at.seq + FAR}", f"{at.epoch + 6}-{at.seq}"
        for server, cursor in product((case.server, *case.others), cursors):
            seen = Recording(recording.run)
            with suppress(TimeoutError):
                async with asyncio.timeout(case.pace.goes_on):
                    await server.follow(seen, cursor, enough=_is_answered)
            # What follows on a resync may come in the same read.
            refused = 400 <= seen.status < 500 or (seen.resyncs and not seen.resyncs[0].had)
            says = (
                f"The cursor {cursor}, which a run at work gave nobody, was neither refused nor taken back "
            )
            says += f"within {case.pace.goes_on:.0f} s."
            if not case.expect("future", refused, says, *seen.around(None)):
                break
        await case.server.ask("POST", f"/api/v1/runs/{recording.run}/cancel")


async def check_schema(case: Case, recording: Recording) -> None:
    """What is served for readers to be written by, against what readers of v1 were promised."""
    answer = await case.server.ask("GET", SCHEMA_URL)
    if answer.status != 200:
        case.report.breach("schema", f"{SCHEMA_URL} answers {answer.status}.", [answer.body])
        return
    try:
        broken = broken_promises(stream_schema(), answer.told, set(recording.types))
    except (KeyError, TypeError, AttributeError) as error:
        broken = [f"it is no schema of the contract ({type(error).__name__}: {error})"]
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    says = f"The served schema breaks readers: {'; '.join(broken[:3])}{more}."
    case.expect("schema", not broken, says)


def broken_promises(ours: dict[str, Any], served: dict[str, Any], seen: set[str]) -> list[str]:
    """What a reader of v1 would stumble over in a schema; `seen` are types that were streamed.

    Types and optional fields may be missing, as an older server has them, and new ones may be there.
    """
    types: dict[str, str] = served["discriminator"]["mapping"]
    found = [f"the type {name!r} is streamed and not in it" for name in sorted(seen - set(types))]
    for tag, ref in ours["discriminator"]["mapping"].items():
        if tag not in types:
            continue
        promised, told = ours["$defs"][ref.rpartition("/")[2]], served["$defs"][types[tag].rpartition("/")[2]]
        for name in promised["required"]:
            if name not in told["required"]:
                found.append(f"{name} of {tag} may be missing")
        for name, schema in promised["properties"].items():
            given = told["properties"].get(name, schema)
            if _bare(given) != _bare(schema):
                found.append(f"{name} of {tag} has another type")
    return found


def _bare(schema: Any) -> Any:
    """A schema without its words, and with its alternatives in one order."""
    match schema:
        case dict():
            items = cast("dict[str, Any]", schema)
            return {key: _bare(item) for key, item in items.items() if key not in ("title", "description")}
        case list():
            several = cast("list[Any]", schema)
            return sorted(map(_bare, several), key=repr)
        case _:
            return schema


def _is_answered(now: Recording) -> bool:
    return bool(now.resyncs or now.told)


async def _events(
    server: Server, recording: Recording, query: str = "", *, after: str = "", seconds: float = 30.0
) -> Answer:
    path = f"/api/v1/runs/{recording.run}/events{query}"
    headers = {"Accept": EVENT_STREAM} | ({LAST_EVENT_ID: after} if after else {})
    answer = await server.ask("GET", path, seconds=seconds, headers=headers)
    # Comments may stand anywhere.
    frames = [block for block in answer.body.split(b"\n\n") if not block.startswith(b":")]
    if len(frames) > 2 and _OVERFLOW.search(frames[-2]) and (last := _ID.search(frames[-3])):
        rest = await _events(server, recording, after=last[1].decode(), seconds=seconds)
        frames[-2:] = [rest.body]
    return answer._replace(body=b"\n\n".join(frames))


def _difference(due: Told, answer: Answer) -> tuple[bytes, ...]:
    return due.raw, answer.shown
