"""How many answers and streams there may be at once, whose they are, and what is told beyond that."""

import asyncio
from dataclasses import replace

import pytest

from porch.contract.errors import Overloaded
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.http.pressure import Pressure
from porch.runs.limits import RunLimits
from porch.runs.places import GUEST_STREAMS, PAGE_STREAMS, SURE_STREAMS, Places, TooManyStreams, place_of
from tests.runs.conftest import Desk
from tests.runs.sink import Sink

PROGRAM = Principal("user", new_uuid(), new_uuid(), "ada", "owner", frozenset(), new_uuid())
BROWSER = replace(PROGRAM, via="session", credential=new_uuid())
GUEST = replace(PROGRAM, kind="guest", id=new_uuid())


def opened(places: Places, principal: Principal) -> int:
    """How many streams it gets, one after the other, until it is refused. They stay open."""
    for count in range(10_000):
        try:
            places.check_stream(principal)
        except (Overloaded, TooManyStreams):
            return count
        places.take(place_of(principal))
    raise AssertionError("it was never refused")


def test_everybody_gets_so_many_and_the_tokens_of_one_person_count_together() -> None:
    places = Places(RunLimits(streams_each=20), Pressure())
    assert opened(places, PROGRAM) == 20
    assert opened(places, replace(PROGRAM, credential=new_uuid())) == 0
    assert opened(places, GUEST) == GUEST_STREAMS
    assert opened(places, BROWSER) == PAGE_STREAMS
    with pytest.raises(TooManyStreams, match="20 streams open"):
        places.check_stream(PROGRAM)


def test_a_browser_gets_its_streams_when_all_others_places_are_taken_and_memory_is_short() -> None:
    pressure = Pressure()
    places = Places(RunLimits(streams=30, streams_each=30), pressure)
    assert opened(places, PROGRAM) == 30
    pressure.shedding = True
    with pytest.raises(Overloaded):
        places.check_stream(GUEST)
    assert opened(places, BROWSER) == SURE_STREAMS


async def test_places_are_free_again_when_streams_end_or_their_readers_leave(desk: Desk) -> None:
    desk.runs.places = Places(RunLimits(streams_each=2), desk.runs.pressure)
    started = await desk.start("[[tokens 2000 itl=2ms]]")
    sinks = [Sink(), Sink()]
    reading: list[asyncio.Task[Sink]] = []
    for sink in sinks:
        stream = await desk.runs.follow(desk.principal, started.run)
        assert stream is not None
        reading.append(asyncio.create_task(desk.read(stream, sink)))
        await sink.until(b"id: 1-5\n")
    with pytest.raises(TooManyStreams):
        await desk.runs.follow(desk.principal, started.run)
    sinks[0].leave()
    await reading[0]
    assert await desk.runs.follow(desk.principal, started.run) is not None
    await desk.runs.cancel(desk.principal, started.run)
    await reading[1]
    assert desk.runs.places.streams == 0


async def test_no_more_runs_are_begun_than_a_process_may_carry(desk: Desk) -> None:
    desk.runs.places = Places(RunLimits(runs=2), desk.runs.pressure)
    tries = [desk.start("[[stall]]") for _ in range(6)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert len(refused) == 4, outcomes
    assert "works on 2 answers" in refused[0].message
    assert refused[0].retry_after > 0
    assert desk.runs.active == 2
