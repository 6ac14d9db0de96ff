"""Frames through a real Valkey: in order, joined, dropped and taken up again when it dies, never after the lease."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from porch import background
from porch.contract.ids import new_uuid
from porch.storage import valkey as valkey_module
from porch.storage.post import Stretch
from porch.storage.valkey import ValkeyPost
from tests.valkey import PASSWORD, ValkeyServer, valkey_server


class Inbox:
    """One process's post, and what came with it."""

    def __init__(self, url: str) -> None:
        self.may_send = True
        self.address = new_uuid()
        self.post = ValkeyPost(url, self.address, may_send=lambda: self.may_send)
        self.heard: list[Stretch] = []
        self._changed = asyncio.Event()
        self.post.watch(hear=self._hear, on_change=self._changed.set)

    def _hear(self, stretch: Stretch) -> None:
        self.heard.append(stretch)
        self._changed.set()

    async def until(self, count: int) -> None:
        """Wait for so many stretches."""
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()

    async def there(self, *, yes: bool) -> None:
        """Wait until Valkey is there for it, or away."""
        async with asyncio.timeout(15):
            while not (self.post.sends is self.post.hears is yes):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def valkey() -> AsyncIterator[ValkeyServer]:
    async with valkey_server() as server:
        yield server


@pytest.fixture
async def two(valkey: ValkeyServer) -> AsyncIterator[tuple[Inbox, Inbox]]:
    one, other = Inbox(valkey.url), Inbox(valkey.url)
    await one.post.start()
    await other.post.start()
    yield one, other
    await one.post.stop()
    await other.post.stop()


async def test_frames_reach_the_inbox_they_are_for_in_order_and_joined(two: tuple[Inbox, Inbox]) -> None:
    one, other = two
    run, second = new_uuid(), new_uuid()
    for seq in range(1, 51):
        one.post.send(other.address, Stretch(run, 1, seq, seq, b"frame %d\n\n" % seq))
        one.post.send(other.address, Stretch(second, 3, seq + 7, seq + 7, b"%d;" % seq))
    await other.until(2)
    assert other.heard == [
        Stretch(run, 1, 1, 50, b"".join(b"frame %d\n\n" % seq for seq in range(1, 51))),
        Stretch(second, 3, 8, 57, b"".join(b"%d;" % seq for seq in range(1, 51))),
    ]
    assert one.heard == []


async def test_another_epoch_a_gap_and_an_end_are_not_joined(two: tuple[Inbox, Inbox]) -> None:
    one, other = two
    run = new_uuid()
    sent = [
        Stretch(run, 1, 1, 2, b"a"),
        Stretch(run, 1, 4, 4, b"b"),
        Stretch(run, 2, 5, 5, b"c"),
        Stretch(run, 2, 6, 5, b""),
    ]
    for stretch in sent:
        one.post.send(other.address, stretch)
    await other.until(4)
    assert other.heard == sent


async def test_nothing_leaves_a_process_that_may_not_show_anything_any_more(two: tuple[Inbox, Inbox]) -> None:
    one, other = two
    run = new_uuid()
    one.may_send = False
    one.post.send(other.address, Stretch(run, 1, 1, 1, b"too late"))
    await asyncio.sleep(0.1)
    one.may_send = True
    one.post.send(other.address, Stretch(run, 1, 2, 2, b"again"))
    await other.until(1)
    assert [stretch.frames for stretch in other.heard] == [b"again"]


async def test_one_that_does_not_answer_is_told_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(valkey_module, "PATIENCE_SECONDS", 0.05)
    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        inbox = Inbox(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await inbox.post.start()
        await inbox.post.stop()
    assert [record.message for record in caplog.records if "Valkey is away" in record.message] == [
        "Valkey is away, so streams follow by the journal: TimeoutError"
    ]


async def test_a_valkey_that_dies_is_told_once_and_taken_up_again(
    valkey: ValkeyServer, two: tuple[Inbox, Inbox], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two
    await valkey.kill()
    await one.there(yes=False)
    one.post.send(other.address, Stretch(new_uuid(), 1, 1, 1, b"lost"))
    await asyncio.sleep(0.8)
    told = [record for record in caplog.records if "Valkey is away" in record.message]
    assert 1 <= len(told) <= 2, "once for each of two processes"
    await valkey.start()
    await one.there(yes=True)
    await other.there(yes=True)
    one.post.send(other.address, Stretch(new_uuid(), 1, 1, 1, b"found"))
    await other.until(1)
    assert [stretch.frames for stretch in other.heard] == [b"found"]
    assert PASSWORD not in caplog.text


async def test_a_wrong_password_keeps_nobody_from_starting_and_is_not_told(
    valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox(valkey.url.replace(PASSWORD, "guessed"))
    await inbox.post.start()
    assert not inbox.post.sends
    assert not inbox.post.hears
    await inbox.post.stop()
    assert "Valkey is away" in caplog.text
    assert "guessed" not in caplog.text


async def test_a_post_that_stops_in_the_midst_of_sending_ends_at_its_first_cancel(
    valkey: ValkeyServer,
) -> None:
    for ticks in range(20):
        inbox = Inbox(valkey.url)
        await inbox.post.start()
        inbox.post.send(new_uuid(), Stretch(new_uuid(), 1, 1, 1, b"x"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        async with asyncio.timeout(background.AGAIN_SECONDS * 0.8):
            await inbox.post.stop()
