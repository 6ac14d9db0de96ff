"""The HTTP server in front of the application."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from porch.http.scope import RAW_SEND, STAY, Stay
from porch.web.app import build_app
from porch.web.connection import Connection, watch_departure, writer
from porch.web.last_resort import PATIENCE_SECONDS

GRACE_SECONDS = 5
# Balancers and clients keep theirs for 60: whoever closes first may close on a request that is on its way.
IDLE_SECONDS = 75

Leave = Callable[[float, bool, asyncio.Event], Awaitable[None]]

__all__ = ["build_app", "listen"]


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens, and ending streams before it waits for their connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        leave: Leave,
        drain_seconds: float,
        on_listening: Callable[[], None],
        allow: Callable[[float], None],
    ) -> None:
        super().__init__(config)
        self._leave = leave
        self._drain_seconds = drain_seconds
        self._on_listening = on_listening
        self._allow = allow
        self._patient = False
        self._hurry = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks to stop, SIGTERM patiently; the second one cannot wait."""
        if self.should_exit:
            self._loop.call_soon_threadsafe(self._hurry.set)
            self._allow(PATIENCE_SECONDS)
        else:
            self._patient = sig == signal.SIGTERM
            self._allow(PATIENCE_SECONDS + self._drain_seconds * self._patient)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._leave(self._drain_seconds, self._patient, self._hurry)
        await super().shutdown(sockets)
        # Raised once more, as uvicorn would, they cut short the closing of what is still open.
        self._captured_signals.clear()


def with_raw_send(app: ASGIApp) -> ASGIApp:
    """The app, with the server's own `send` in each request's scope, and what of an answer is left behind it."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope[RAW_SEND] = send
        stay = scope[STAY] = Stay(receive, send, watch_departure, writer(send))
        await app(scope, receive, send)
        # What holds itself stays until it is collected.
        del scope[RAW_SEND], scope[STAY]
        rest = stay.left() if stay.left is not None else None
        del stay
        if rest is not None:
            await rest

    return call


async def listen(
    app: FastAPI,
    leave: Leave,
    drain_seconds: float,
    sockets: list[socket.socket],
    on_listening: Callable[[], None],
    allow: Callable[[float], None],
) -> None:
    """Serve on these sockets until SIGINT or SIGTERM.

    `leave` is awaited before connections are: how long it has, whether it has at all, and an event that says when
    there is no time left. `allow` hears at each signal how long the end may take; it may do nothing that waits.
    """
    config = uvicorn.Config(
        with_raw_send(app),
        loop="none",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=2048,
    )
    await _Server(config, leave, drain_seconds, on_listening, allow).serve(sockets=sockets)
