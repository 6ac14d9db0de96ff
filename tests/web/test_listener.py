"""The server in front of the app: what a signal asks of it, once."""

import asyncio
import os
import signal
import socket

from fastapi import FastAPI

from porch.web.last_resort import PATIENCE_SECONDS
from porch.web.listener import listen


async def test_a_signal_that_ends_the_serving_is_not_raised_again_over_what_is_closed_behind_it() -> None:
    allowed: list[float] = []
    left: list[tuple[float, bool]] = []
    raised: list[int] = []
    ready = asyncio.Event()

    async def leave(seconds: float, patient: bool, hurry: asyncio.Event) -> None:
        left.append((seconds, patient))
        signal.raise_signal(signal.SIGINT)
        await hurry.wait()

    before = {sign: signal.signal(sign, lambda sign, _: raised.append(sign)) for sign in (2, 15)}
    try:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            serving = asyncio.create_task(listen(FastAPI(), leave, 3.0, [sock], ready.set, allowed.append))
            await ready.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(10):
                await serving
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    assert left == [(3.0, True)]
    assert allowed == [PATIENCE_SECONDS + 3.0, PATIENCE_SECONDS]
    assert raised == []


async def test_a_connection_outlasts_the_pauses_of_who_uses_it_and_holds_up_no_stop() -> None:
    ready = asyncio.Event()

    async def leave(seconds: float, patient: bool, hurry: asyncio.Event) -> None:
        """Nothing is at work."""

    with socket.create_server(("127.0.0.1", 0)) as sock:
        serving = asyncio.create_task(listen(FastAPI(), leave, 0.0, [sock], ready.set, lambda _: None))
        await ready.wait()
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        for pause in (
            6.0,
            0.0,
        ):  # clients of several kinds keep theirs for longer than uvicorn's own five seconds
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 404 ")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            await asyncio.sleep(pause)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(2):
            await serving
            assert await reader.read() == b""
        writer.close()
