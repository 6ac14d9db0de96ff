"""Messages between processes: batched, split, heard by those they are for, and again after a break."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from porch.contract.ids import new_uuid
from porch.storage import bus as module
from porch.storage.bus import Bus
from porch.storage.database import Database


class Ear:
    """What one process has heard."""

    def __init__(self, bus: Bus) -> None:
        self.heard: list[tuple[str, ...]] = []
        self._grown = asyncio.Event()
        bus.listen("say", self)

    def __call__(self, *words: str) -> None:
        self.heard.append(words)
        self._grown.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._grown.clear()
                await self._grown.wait()


@pytest.fixture
async def three(database: Database) -> AsyncIterator[list[tuple[Bus, Ear]]]:
    buses = [Bus(database) for _ in range(3)]
    found = [(bus, Ear(bus)) for bus in buses]
    for bus in buses:
        await bus.start()
    yield found
    for bus in buses:
        await bus.stop()


async def test_everybody_else_hears_what_one_process_tells(three: list[tuple[Bus, Ear]]) -> None:
    (speaker, own), (_, second), (_, third) = three
    speaker.tell("say", "good", "morning")
    await second.until(1)
    await third.until(1)
    assert second.heard == third.heard == [("good", "morning")]
    assert own.heard == []


async def test_a_message_to_an_address_is_heard_there_alone(three: list[tuple[Bus, Ear]]) -> None:
    (speaker, _), (addressee, second), (_, third) = three
    speaker.tell("say", "to you", to=addressee.id)
    speaker.tell("say", "to nobody", to=new_uuid())
    speaker.tell("say", "to all")
    await second.until(2)
    await third.until(1)
    assert sorted(second.heard) == [("to all",), ("to you",)]
    assert third.heard == [("to all",)]


async def test_many_messages_of_a_moment_share_few_notifications_none_too_long(
    three: list[tuple[Bus, Ear]],
) -> None:
    (speaker, _), (_, second), _ = three
    words = [f"{number} and Grüße für \U0001f3e0" * 3 for number in range(2000)]
    for word in words:
        speaker.tell("say", word)
    await second.until(len(words))
    assert second.heard == [(word,) for word in words]
    # About a hundred bytes each, 7,800 a notification: pg_notify itself refuses what is longer.
    assert speaker.sent < len(words) / 40


async def test_notifications_leave_no_oftener_than_every_25_ms(
    three: list[tuple[Bus, Ear]],
) -> None:
    (speaker, _), (_, second), _ = three
    loop = asyncio.get_running_loop()
    began, count = loop.time(), 0
    while loop.time() < began + 0.3:
        speaker.tell("say", str(count))
        count += 1
        await asyncio.sleep(0.001)
    await second.until(count)
    assert 1 <= speaker.sent <= (loop.time() - began) / module.BATCH_SECONDS + 1


async def test_a_message_beyond_what_postgresql_takes_is_refused_to_the_one_who_tells(
    three: list[tuple[Bus, Ear]],
) -> None:
    with pytest.raises(ValueError, match="too long"):
        three[0][0].tell("say", "a" * 8000)


async def test_a_verb_that_a_process_does_not_know_is_passed_over(three: list[tuple[Bus, Ear]]) -> None:
    (speaker, _), (_, second), _ = three
    speaker.tell("dance", "now")
    speaker.tell("say", "still here")
    await second.until(1)
    assert second.heard == [("still here",)]


async def test_an_ear_that_fails_costs_the_others_nothing(
    three: list[tuple[Bus, Ear]], caplog: pytest.LogCaptureFixture
) -> None:
    (speaker, _), (listener, second), _ = three

    def fail(*_: str) -> None:
        raise RuntimeError("no")

    listener.listen("fail", fail)
    speaker.tell("fail")
    speaker.tell("say", "on")
    await second.until(1)
    assert "could not be followed" in caplog.text


async def test_payloads_of_others_that_are_no_messages_are_passed_over(
    database: Database, three: list[tuple[Bus, Ear]], caplog: pytest.LogCaptureFixture
) -> None:
    async with database.system() as connection:
        await connection.execute("SELECT pg_notify('porch_live', '{')")
    three[0][0].tell("say", "on")
    await three[1][1].until(1)
    assert "could not be read" in caplog.text


async def test_a_broken_connection_is_opened_anew_and_whoever_relies_on_it_is_told(
    database: Database, three: list[tuple[Bus, Ear]]
) -> None:
    (speaker, _), (listener, second), _ = three
    again = asyncio.Event()
    listener.on_up(again.set)
    async with database.system() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE 'LISTEN %' AND pid <> pg_backend_pid()"
        )
    async with asyncio.timeout(10):
        await again.wait()
        while not speaker.up:
            await asyncio.sleep(0.01)
    speaker.tell("say", "again")
    await second.until(1)
    assert second.heard == [("again",)]


async def test_what_was_told_last_is_sent_before_it_closes(three: list[tuple[Bus, Ear]]) -> None:
    (speaker, _), (_, second), _ = three
    speaker.tell("say", "first")
    await second.until(1)
    speaker.tell("say", "farewell")
    await speaker.stop()
    await second.until(2)
    assert second.heard[-1] == ("farewell",)


async def test_a_bus_that_is_down_drops_what_it_is_told(database: Database) -> None:
    bus = Bus(database)
    bus.tell("say", "nobody hears")
    assert not bus.up
    await bus.start()
    assert bus.up
    await bus.stop()
    assert not bus.up
    assert bus.sent == 0
