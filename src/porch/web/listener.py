"""The HTTP server in front of the application."""

import socket
from collections.abc import Awaitable, Callable

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from porch.http.scope import RAW_SEND
from porch.web.app import build_app

GRACE_SECONDS = 5

__all__ = ["build_app", "listen"]


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens, and ending streams before it waits for their connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        end_streams: Callable[[], Awaitable[None]],
        on_listening: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._end_streams()
        await super().shutdown(sockets)


def _with_raw_send(app: FastAPI) -> ASGIApp:
    """The app, with the server's own `send` in each request's scope."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope[RAW_SEND] = send
        await app(scope, receive, send)

    return call


async def listen(
    app: FastAPI,
    end_streams: Callable[[], Awaitable[None]],
    sockets: list[socket.socket],
    on_listening: Callable[[], None],
) -> None:
    """Serve on these sockets until SIGINT or SIGTERM; `end_streams` is awaited before connections are."""
    config = uvicorn.Config(
        _with_raw_send(app),
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=2048,
    )
    await _Server(config, end_streams, on_listening).serve(sockets=sockets)
