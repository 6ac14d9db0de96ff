"""An event loop in a thread of its own, for callers that have none."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any, TypeVar

from porch.client.errors import Closed

T = TypeVar("T")
LOOK_SECONDS = 0.5


class Background:
    """Runs coroutines for threads that wait for them. The thread starts with the first, and ends with `close`."""

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`last` is what the loop does before it ends."""
        self._last = last
        # Reentrant, since the garbage collector may call `soon` wherever we are.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine answers or raises. When waiting is interrupted, by Ctrl-C too, it is cancelled.

        It is made in the loop's thread, so that none is left over where Ctrl-C comes between. Raises Closed.
        """
        future: futures.Future[T] = futures.Future()
        try:
            self._submit(make, future)
            # A signal that comes just before a wait begins does not end it: Ctrl-C is looked for again.
            while not futures.wait((future,), LOOK_SECONDS).done:
                pass
            return future.result()
        except futures.CancelledError as error:
            raise Closed("The client was closed while it waited.") from error
        except BaseException:
            future.cancel()
            raise

    def soon(self, callback: Callable[[], object]) -> None:
        """Have the loop's thread do this, and wait for nothing. After `close` nothing is done."""
        with self._lock:
            if self._loop and not self._closed:
                self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """Cancel what still runs and end the thread; again is fine."""
        with self._lock:
            closed, self._closed = self._closed, True
            loop, thread = self._loop, self._thread
        if loop and not closed:
            loop.call_soon_threadsafe(loop.stop)
        # The garbage collector may call this from the very thread.
        if thread and thread is not threading.current_thread():
            thread.join()

    def _submit(self, make: Callable[[], Coroutine[Any, Any, T]], future: "futures.Future[T]") -> None:
        if threading.current_thread() is self._thread:
            raise Closed("A callback of the client cannot wait for the client; use AsyncPorch there.")
        with self._lock:
            if self._closed:
                raise Closed("The client is closed. Make a new one.")
            if self._loop is None:
                self._loop = self._start()
            self._loop.call_soon_threadsafe(_begin, self._loop, make, future)

    def _start(self) -> asyncio.AbstractEventLoop:
        runner = asyncio.Runner()
        loop = runner.get_loop()
        # A program that ends without closing us must not be kept alive.
        self._thread = threading.Thread(
            target=_serve, args=(runner, self._last), name="porch-client", daemon=True
        )
        self._thread.start()
        return loop


def _serve(runner: asyncio.Runner, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = runner.get_loop()
    with contextlib.closing(runner):
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        runner.run(last())


def _begin(
    loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]], future: "futures.Future[T]"
) -> None:
    """Run what is made, in the loop's thread; `future` tells how it ended, or that nobody waits for that any more."""
    if future.cancelled():
        return
    task = loop.create_task(make())

    def stop(waited_for: "futures.Future[T]") -> None:
        if waited_for.cancelled():
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the task
                loop.call_soon_threadsafe(task.cancel)

    def tell(ended: "asyncio.Task[T]") -> None:
        error = None if ended.cancelled() else ended.exception()
        if ended.cancelled():
            future.cancel()
        # Whoever waits hears of a cancelled one by this.
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(ended.result())

    future.add_done_callback(stop)
    task.add_done_callback(tell)
