"""Looking at an address without waiting for one that is silent."""

import asyncio
from dataclasses import dataclass, field

import pytest

from porch.egress import Egress
from porch.models import Availability, Models
from porch.models.lookout import KEPT_SECONDS, LOOK_SECONDS, Lookout
from tests.home import AT_HOME, HOME
from tests.providers.upstream import hang, upstream

DEAD = Availability("ollama", "Ollama", False, "nothing there", [])
ALIVE = Availability("ollama", "Ollama", True, "answers", ["ollama:qwen3"])
UNSEEN = Availability("ollama", "Ollama", False, "no answer yet", [])


@dataclass
class Address:
    """What a look finds, and when."""

    found: Availability = DEAD
    silent: bool = False
    looks: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    now: float = 1000.0

    async def look(self, seconds: float) -> Availability:
        assert seconds == LOOK_SECONDS
        self.looks += 1
        if self.silent:
            await self.answered.wait()
        return self.found

    def lookout(self) -> Lookout:
        return Lookout(self.look, lambda: UNSEEN, lambda: self.now)


async def test_an_address_that_answers_is_told_as_it_is_now() -> None:
    address = Address()
    lookout = address.lookout()
    assert await lookout.see(1) == DEAD
    address.found = ALIVE
    assert await lookout.see(1) == ALIVE
    assert address.looks == 2


async def test_one_look_serves_all_who_ask_meanwhile_and_goes_on_when_nobody_waits() -> None:
    address = Address(silent=True, found=ALIVE)
    lookout = address.lookout()
    assert await asyncio.gather(*(lookout.see(0.01) for _ in range(5))) == [UNSEEN] * 5
    address.answered.set()
    assert await lookout.see(1) == ALIVE
    assert address.looks == 1


async def test_what_was_found_before_is_told_with_its_age_while_the_address_is_silent() -> None:
    address = Address(found=ALIVE)
    lookout = address.lookout()
    await lookout.see(1)
    address.silent, address.now = True, address.now + 12
    told = await asyncio.wait_for(lookout.see(600), 5)
    assert (told.ready, told.models) == (True, ["ollama:qwen3"])
    assert told.note == "answers (as of 12 seconds ago; being looked at again)"


async def test_what_was_found_long_ago_is_not_told_any_more() -> None:
    address = Address(found=ALIVE)
    lookout = address.lookout()
    await lookout.see(1)
    address.silent, address.now = True, address.now + KEPT_SECONDS + 1
    assert await lookout.see(0.01) == UNSEEN


async def test_a_look_that_breaks_is_followed_by_another() -> None:
    address = Address()
    broken = [True]

    async def look(seconds: float) -> Availability:
        if broken.pop():
            raise ValueError
        return await address.look(seconds)

    lookout = Lookout(look, lambda: UNSEEN)
    with pytest.raises(ValueError):
        await lookout.see(1)
    broken[:] = [False]
    assert await lookout.see(1) == DEAD


async def test_a_silent_ollama_is_waited_for_once() -> None:
    async with Egress() as egress, upstream(hang) as place:
        models = Models({"OLLAMA_HOST": place.url.removesuffix("/v1")}, egress, AT_HOME)

        async def note(seconds: float) -> str:
            found = await models.available(HOME, seconds=seconds)
            return next(item.note for item in found if item.provider == "ollama")

        assert "no answer yet" in await note(0.01)
        assert "nothing answers" in await note(10)
        assert len(place.requests) == 1
        assert "being looked at again" in await asyncio.wait_for(note(600), 5)
