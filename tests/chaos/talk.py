"""People who talk while everything around them is killed: they send each message until it is acknowledged,
read in several ways at once, and remember what they were told."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from uuid import uuid4

from porch.client import AsyncPorch
from porch.client.items import Resync
from porch.contract.events import AnyEvent
from tests.chaos.wire import LOST, Answer, Story, Wire, check_problem

PAUSE_SECONDS = 0.1
SCRIPTS = (
    "[[tokens {many} itl={pace}ms]]",
    "[[think {name} asks again.]] [[tokens {many} itl={pace}ms]]",
    "[[call clock]] [[tokens {some} itl={pace}ms]] [[next]] [[call clock {{}}]] [[tokens {some} itl={pace}ms]]",
    '[[tokens {some} itl={pace}ms]] [[call clock]] [[call clock {{"timezone": "Europe/Paris"}}]]'
    " [[tokens {many} itl={pace}ms]]",
    "[[tokens {some} itl={pace}ms]] [[stall 900ms]] [[tokens {some} itl={pace}ms]]",
    "[[pace {pace}ms]] [[cut after={many}]]",
)


@dataclass
class Sent:
    """A message and everything that was seen of it."""

    text: str
    conversation: str
    key: str = field(default_factory=lambda: uuid4().hex)
    run: str = ""
    acknowledged: bool = False
    tries: int = 0
    stories: list[Story] = field(default_factory=list[Story])
    tales: list[list[AnyEvent]] = field(default_factory=list[list[AnyEvent]])

    @property
    def path(self) -> str:
        """Where it is sent."""
        return f"/api/v1/conversations/{self.conversation}/runs"

    @property
    def answering(self) -> bool:
        """Whether its answer is half told, as far as its readers know."""
        return any(len(story.frames) > 4 and not story.ended for story in self.stories)


class Talk:
    """Somebody who says one thing after the other until it is `enough`."""

    def __init__(
        self, wire: Wire, porch: AsyncPorch, chance: random.Random, conversations: list[str], bundled: bool
    ) -> None:
        """The conversations take turns. `bundled` ones are with the bundled model, which takes no cues."""
        self.sent: list[Sent] = []
        self.enough = False
        self._wire = wire
        self._porch = porch
        self._chance = chance
        self._conversations = cycle(conversations)
        self.bundled = bundled
        self._texts = self._write()

    @property
    def answering(self) -> bool:
        """Whether an answer is half told here."""
        return bool(self.sent) and self.sent[-1].answering

    async def go(self) -> None:
        """Talk until it is enough; every answer is read to its end."""
        while not self.enough:
            sent = Sent(next(self._texts), next(self._conversations))
            self.sent.append(sent)
            way = self._chance.choice((self._stream, self._accept, self._ask_client, self._leave))
            await way(sent)

    def _write(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            name = f"Number {number}:"
            if self.bundled:
                yield f"{name} tell me a story about a house with a porch."
                continue
            figures = {"many": self._chance.randint(40, 90), "some": self._chance.randint(10, 30)}
            script = self._chance.choice(SCRIPTS)
            yield f"{name} " + script.format(name=name, pace=self._chance.randint(12, 30), **figures)

    # -- ways to send and to read

    async def _stream(self, sent: Sent) -> None:
        """Send and read in one; a second reader comes later and reads from the start."""
        story = Story()
        sent.stories.append(story)
        late = asyncio.create_task(self._read_late(sent, story))
        while not story.frames:
            answer = await self._try(sent, story)
            if answer is not None:
                await self._wait_for(answer)
        sent.run, sent.acknowledged = story.run, True
        await self._wire.follow(story)
        await late
        await self._send_again(sent)

    async def _accept(self, sent: Sent) -> None:
        """Send, take the receipt, and then read."""
        await self._get_receipt(sent)
        story = Story(sent.run)
        sent.stories.append(story)
        await asyncio.gather(self._wire.follow(story), self._read_late(sent, story))
        await self._send_again(sent)

    async def _ask_client(self, sent: Sent) -> None:
        """Send and read through the client library, which comes back by itself."""
        tale: list[AnyEvent] = []
        sent.tales.append(tale)
        stream = self._porch.stream(sent.conversation, sent.text)
        story = Story()
        reading: asyncio.Task[None] | None = None
        async with stream:
            async for item in stream:
                if isinstance(item, Resync):
                    tale[:] = [event for event in tale if event.seq <= item.keep_through]
                else:
                    tale.append(item)
                    if reading is None:
                        sent.run = story.run = item.run
                        sent.acknowledged = True
                        sent.stories.append(story)
                        reading = asyncio.create_task(self._wire.follow(story))
        assert reading, f"the client gave up on {sent.text!r}"
        await reading

    async def _leave(self, sent: Sent) -> None:
        """Send, read a little, leave; the run goes on without a reader, and its story is read afterwards."""
        await self._get_receipt(sent)
        story = Story(sent.run, went_away=True)
        sent.stories.append(story)
        try:
            path = f"/api/v1/runs/{sent.run}/events"
            await self._wire.stream_once(story, "GET", path, until=self._chance.randint(3, 30))
        except LOST:
            pass
        while True:
            try:
                answer = await self._wire.ask("GET", f"/api/v1/runs/{sent.run}")
                if answer.status == 200 and answer.json["status"] != "running":
                    break
                assert answer.status == 200 or check_problem(answer), answer
            except LOST:
                pass
            await asyncio.sleep(PAUSE_SECONDS)
        await self._wire.follow(story)

    async def _read_late(self, sent: Sent, first: Story) -> None:
        await first.reaches(self._chance.randint(1, 40))
        story = Story(first.run)
        sent.stories.append(story)
        await self._wire.follow(story)

    # -- sending

    async def _get_receipt(self, sent: Sent) -> None:
        while not sent.acknowledged:
            answer = await self._try(sent)
            if answer is not None and answer.status == 202:
                sent.run, sent.acknowledged = answer.json["run"], True
            elif answer is not None:
                await self._wait_for(answer)

    async def _send_again(self, sent: Sent) -> None:
        """The same write once more, as a program does that is not sure: it must be the same run."""
        if self._chance.random() < 0.3:
            while True:
                answer = await self._try(sent)
                if answer is not None and answer.status == 202:
                    assert answer.json["run"] == sent.run, "one key, one run"
                    assert answer.headers["idempotency-replayed"] == "true"
                    return
                if answer is not None:
                    await self._wait_for(answer)

    async def _try(self, sent: Sent, story: Story | None = None) -> Answer | None:
        """Send the message under its key; None when it was streamed, or when the connection was lost."""
        sent.tries += 1
        headers, body = {"Idempotency-Key": sent.key}, {"input": sent.text}
        try:
            if story is not None:
                return await self._wire.stream_once(story, "POST", sent.path, body, headers=headers)
            return await self._wire.ask("POST", sent.path, body, headers=headers)
        except LOST:
            await asyncio.sleep(PAUSE_SECONDS)
            return None

    async def _wait_for(self, answer: Answer) -> None:
        """What stands in the way must be something that passes."""
        code = check_problem(answer)
        assert code in ("unavailable", "database_unavailable", "in_progress"), answer
        await asyncio.sleep(PAUSE_SECONDS)
