"""People who talk to a fleet: each request may reach another server, and readers behave badly on purpose."""

import asyncio
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

from tests.chaos.talk import Sent, Talk
from tests.chaos.wire import LOST, Story, check_problem

RECONNECTIONS = 50
SLOW_SECONDS = 3.0
# How many of the messages after the first one lead to a call that waits.
ASKS = 0.25
SCRIPTS = (
    "[[tokens {many} itl={pace}ms]]",
    '[[tokens {some} itl={pace}ms]] [[call leave_mark {{"n": "{mark}"}}]] [[tokens {some} itl={pace}ms]]',
    '[[call look_around {{"n": "{mark}"}}]] [[call leave_mark {{"n": "{mark}b"}}]] [[tokens {some} itl={pace}ms]]'
    ' [[next]] [[call leave_mark {{"n": "{mark}c"}}]] [[tokens {some} itl={pace}ms]]',
    "[[tokens {some} itl={pace}ms]] [[stall 700ms]] [[tokens {some} itl={pace}ms]]",
    "[[think Let me see.]] [[pace {pace}ms]] [[cut after={some}]]",
    "[[tokens {some} itl={pace}ms]] [[fail after=5 overloaded]]",
)
# What waits for somebody: one call, and two of one step beside one that does not, with another one after them.
ASKING = (
    '[[tokens {some} itl={pace}ms]] [[call carve_mark {{"n": "{mark}"}}]] [[tokens {some} itl={pace}ms]]',
    '[[call carve_mark {{"n": "{mark}"}}]] [[call leave_mark {{"n": "{mark}b"}}]]'
    ' [[call carve_mark {{"n": "{mark}c"}}]] [[next]] [[call look_around {{"n": "{mark}d"}}]]'
    " [[tokens {some} itl={pace}ms]]",
)


class Wanderer(Talk):
    """Somebody who says one thing after the other, to whichever server answers."""

    slow_readers = 0
    odd_cursors = 0
    reconnections = 0

    async def go(self) -> None:
        """Talk until it is enough; every answer is read to its end."""
        ways = (self._stream, self._accept, self._leave, self._come_back, self._ask_oddly, self._read_slowly)
        while not self.enough:
            sent = Sent(next(self._texts), next(self._conversations))
            self.sent.append(sent)
            await self._chance.choice(ways)(sent)

    def _write(self) -> Iterator[str]:
        number, name = 0, uuid4().hex[:8]
        while True:
            number += 1
            figures = {"many": self._chance.randint(30, 70), "some": self._chance.randint(6, 20)}
            asks = number == 1 or self._chance.random() < ASKS
            script = self._chance.choice(ASKING if asks else SCRIPTS)
            cues = script.format(mark=uuid4().hex[:12], pace=self._chance.randint(8, 20), **figures)
            yield f"{name} says number {number}: {cues}"

    async def _come_back(self, sent: Sent) -> None:
        """Vanish and come back, fifty times within one answer if it lasts so long."""
        await self._get_receipt(sent)
        story = Story(sent.run, went_away=True)
        sent.stories.append(story)
        path = f"/api/v1/runs/{sent.run}/events"
        for _ in range(RECONNECTIONS):
            if story.ended:
                break
            try:
                await self._wire.stream_once(
                    story, "GET", path, until=len(story.frames) + self._chance.randint(1, 3)
                )
                self.reconnections += 1
            except LOST:
                await asyncio.sleep(0.02)
        await self._wire.follow(story)

    async def _ask_oddly(self, sent: Sent) -> None:
        """Come with cursors from the future, from an epoch that is not there, and with words that are none."""
        await self._get_receipt(sent)
        story = Story(sent.run)
        sent.stories.append(story)
        following = asyncio.create_task(self._wire.follow(story))
        path = f"/api/v1/runs/{sent.run}/events"
        for cursor in ("1-2000000000", "9-1", "0-0", "x", "1-", "-1--1", "1-99999999999999999999"):
            odd = Story(sent.run)
            try:
                async with asyncio.timeout(1.5):
                    answer = await self._wire.stream_once(odd, "GET", f"{path}?after={cursor}", until=1)
            except (*LOST, AssertionError):
                continue  # frames behind a place where none is: only their end matters here
            if answer is not None and answer.status != 204:
                assert answer.status in (400, 409, 422, 503), answer
                check_problem(answer)
            self.odd_cursors += 1
        await following

    async def _read_slowly(self, sent: Sent) -> None:
        """Read ten bytes a second for a while, then leave; nobody else notices."""
        await self._get_receipt(sent)
        story = Story(sent.run)
        sent.stories.append(story)
        await asyncio.gather(self._wire.follow(story), asyncio.to_thread(self._dribble, sent.run))

    def _dribble(self, run: str) -> None:
        where = urlsplit(self._wire.url)
        assert where.hostname
        assert where.port
        try:
            with socket.create_connection((where.hostname, where.port), timeout=SLOW_SECONDS) as line:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                line.sendall(
                    f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: {where.netloc}\r\n"
                    f"Authorization: {self._wire.authorization}\r\n\r\n".encode()
                )
                for _ in range(int(SLOW_SECONDS)):
                    line.recv(10)
                    line.settimeout(1.0)
            self.slow_readers += 1
        except OSError:
            pass
