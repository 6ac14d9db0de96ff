"""A server as another command's child: its settings come, and its news go, over one socket.

When the other end closes, for whatever reason, the server stops: it never outlives who started it.
Run as `python -m porch.cli.child FD`.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from porch.cli.main import START_THRESHOLDS
from porch.contract.errors import PorchError
from porch.settings import Settings
from porch.web.last_resort import CLOSING_SECONDS, PATIENCE_SECONDS, LastResort


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from the child: what it is doing, where it serves, or why it cannot."""

    doing: str | None = None
    url: str | None = None
    seconds: float | None = None
    error: str | None = None


def encode_settings(settings: Settings) -> bytes:
    """Settings as one line. They hold passwords, so they travel neither as arguments nor as variables."""
    return msgspec.json.encode(settings, enc_hook=str) + b"\n"


def decode_settings(line: bytes) -> Settings:
    """The reverse."""
    return msgspec.json.decode(line, type=Settings, dec_hook=_path)


def main() -> None:
    """Serve until told to stop; the exit code is 0, or 1 after `error` was told."""
    gc.set_threshold(*START_THRESHOLDS)
    sys.exit(serve_for(socket.socket(fileno=int(sys.argv[1]))))


def serve_for(parent: socket.socket) -> int:
    """Read the settings, serve, and tell the news."""
    with parent:
        settings = decode_settings(parent.makefile("rb").readline())

        def tell(news: News) -> None:
            # When nobody listens any more, the watch below stops us.
            with contextlib.suppress(OSError):
                parent.sendall(msgspec.json.encode(news) + b"\n")

        try:
            run_server(partial(_serve, settings, parent, tell))
        except PorchError as error:
            tell(News(error=error.message))
            return 1
    return 0


def run_server(serving: Callable[[LastResort], Coroutine[Any, Any, None]]) -> None:
    """Run a server's coroutine on the fastest event loop there is, until it ends or a signal asks it to.

    SIGINT and SIGTERM unwind what has been opened, at any moment of the start, too; the third one that does not meet
    uvicorn at work gives up, and so does the last resort, which the server's coroutine is given, when that takes too
    long. So the process has to end behind it.
    """
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None
    asked = 0
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        loop = runner.get_loop()
        resort = LastResort(loop)
        task = loop.create_task(serving(resort), name="server")

        def stop(number: int, _: object) -> None:
            nonlocal asked
            asked += 1
            if asked > 2:
                os._exit(128 + number)
            resort.allow(PATIENCE_SECONDS)
            loop.call_soon_threadsafe(task.cancel)

        # Not loop.add_signal_handler: uvicorn takes these over while it serves, and hands them back after.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        finally:
            resort.allow(CLOSING_SECONDS)


async def _serve(
    settings: Settings, parent: socket.socket, tell: Callable[[News], None], resort: LastResort
) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(parent, _stop, loop, parent)
    from porch.web.logs import configure_logging
    from porch.web.server import ServerInfo, serve

    configure_logging(settings)

    def ready(info: ServerInfo) -> None:
        tell(News(url=info.url, seconds=info.seconds))

    await serve(
        settings,
        on_ready=ready,
        progress=lambda sentence: tell(News(doing=sentence)),
        lasting=False,
        allow=resort.allow,
    )


def _stop(loop: asyncio.AbstractEventLoop, parent: socket.socket) -> None:
    loop.remove_reader(parent)
    os.kill(os.getpid(), signal.SIGTERM)


def _path(kind: type[Any], value: Any) -> Any:
    return Path(value) if kind is Path else value


if __name__ == "__main__":
    main()
