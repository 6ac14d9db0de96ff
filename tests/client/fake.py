"""A tiny server that speaks the contract as scripted: each request takes the next act of its script."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from porch.client import AsyncPorch
from porch.contract.events import Event
from porch.contract.frames import encode_frame

RUN = "run_0199a0b1c2d3e4f5a6b7c8d9e0f1a2b3"
Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


def frames(*events: Event, first: int = 1, epoch: int = 1) -> bytes:
    """These events as they stand in a stream."""
    return b"".join(
        encode_frame(event, RUN.encode(), epoch, seq, 1_700_000_000_000_000_000)
        for seq, event in enumerate(events, first)
    )


def streams(*chunks: bytes, cut: bool = False, silent: bool = False) -> Act:
    """An answer that sends these bytes; `cut` breaks the connection after them, `silent` keeps it open."""

    async def act(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Porch-Run": RUN})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if silent:
            await asyncio.Event().wait()
        if cut:
            assert request.transport
            request.transport.abort()
        return response

    return act


def answers(status: int, body: object = None, **headers: str) -> Act:
    """A JSON answer."""

    async def act(_: web.Request) -> web.StreamResponse:
        if body is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return act


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Breaks the connection instead of answering."""
    assert request.transport
    request.transport.abort()
    return web.Response()


def problem(status: int, code: str, detail: str, **headers: str) -> Act:
    """An answer that says what is wrong."""
    body = {"type": "about:blank", "title": "x", "status": status, "code": code, "detail": detail}
    return answers(status, body, **headers)


class Fake:
    """What was asked of the server, in order, with what each request carried."""

    def __init__(self, acts: list[Act]) -> None:
        self.acts = acts
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.read())
        return await self.acts.pop(0)(request)


@asynccontextmanager
async def serving(*acts: Act) -> AsyncGenerator[tuple[AsyncPorch, Fake]]:
    """A client whose server acts like this."""
    fake = Fake(list(acts))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with AsyncPorch(f"http://{host}:{port}", "porch_pat_x") as porch:
            yield porch, fake
    finally:
        await runner.cleanup()
