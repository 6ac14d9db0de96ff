"""A client's end of an ASGI response, which can be slow, stop reading, or leave."""

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any

PATIENCE_SECONDS = 30.0


class Sink:
    """Collects what a response sends. While `gate` is closed it takes nothing, like a full socket."""

    def __init__(self) -> None:
        self.data = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._grown = asyncio.Event()
        self._left = asyncio.Event()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """ASGI send."""
        if not self.gate.is_set():
            await self.gate.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.data += message["body"]
            self.ended = not message.get("more_body", False)
        self._grown.set()

    async def receive(self) -> dict[str, Any]:
        """ASGI receive: the request has no body, and the client stays until it leaves."""
        await self._left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        """The client goes away."""
        self._left.set()

    async def until(self, mark: bytes) -> None:
        """Wait until this was received; fails with what was received instead."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while mark not in self.data:
                    self._grown.clear()
                    await self._grown.wait()
        assert mark in self.data, f"no {mark!r} within {PATIENCE_SECONDS:g} s in: {self.data[-4000:]!r}"
