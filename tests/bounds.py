"""No test and no fixture waits without a bound, and what did not end is named.

pytest-timeout raises once, out of whatever the main thread does just then. It ends no coroutine: the one that still
waits keeps the loop's runner to itself, and the end of the next fixture would wait for it without a clock, since an
alarm rings once, and any failure stops it. So here every async test and fixture has a bound inside its loop, which
cancels it where it waits, and every teardown has a clock of its own, at whose end the worker is given up.
"""

import asyncio
import contextlib
import functools
import inspect
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from porch.background import describe_all

# So long before the alarm of pytest-timeout rings, what waits is cancelled inside its loop.
EARLIER_SECONDS = 10.0
# The most for the end of one fixture, for all that a test leaves to be ended, and until its process is given up.
FIXTURE_SECONDS, TEARDOWN_SECONDS = 60.0, 120.0
LAST = 2


class Clock:
    """How long the test at hand may take, and until when."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.until = 0.0

    def set(self, seconds: float) -> None:
        """Begin to count."""
        self.seconds = seconds
        self.until = time.monotonic() + seconds - min(EARLIER_SECONDS, seconds / 2)

    @property
    def left(self) -> float | None:
        """Seconds that are left for what goes before the teardown; None without a bound."""
        return self.until - time.monotonic() if self.seconds else None

    @property
    def end(self) -> float | None:
        """Seconds for the end of one fixture."""
        return min(FIXTURE_SECONDS, self.seconds / 2) if self.seconds else None

    def postpone(self) -> None:
        """Lets no alarm ring into the telling of what did not end."""
        if self.seconds and signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, self.seconds)


CLOCK = Clock()
# Standard error as it is where pytest does not hold it.
OUTSIDE = pytest.StashKey[int]()
# What pytest-timeout knows of a test, which it does not export as a type.
SETTINGS = pytest.StashKey[Any]()


@contextlib.asynccontextmanager
async def bounded(what: str, seconds: float | None) -> AsyncGenerator[None]:
    """Cancels the block after so long, and says what every task of the loop waited for until then."""
    told: list[str] = []

    def look() -> None:
        CLOCK.postpone()
        told.append(describe_all(asyncio.all_tasks()))
        bound.reschedule(loop.time())

    bound, loop = asyncio.timeout(None), asyncio.get_running_loop()
    timer = None if seconds is None else loop.call_later(seconds, look)
    try:
        async with bound:
            yield
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise TimeoutError(f"{what} did not end in its time. What waited: {'; '.join(told)}") from error
    finally:
        if timer:
            timer.cancel()


def bound_test(test: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same test, which fails where it waits when its time is over."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with bounded(name, CLOCK.left):
            await test(*args, **kwargs)

    return run


def bound_fixture(fixture: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same fixture, whose beginning and end fail where they wait when their time is over."""
    if inspect.iscoroutinefunction(fixture):

        @functools.wraps(fixture)
        async def make(*args: Any, **kwargs: Any) -> Any:
            async with bounded(f"The fixture {name}", CLOCK.left):
                return await fixture(*args, **kwargs)

        return make

    @functools.wraps(fixture)
    async def lend(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        made = fixture(*args, **kwargs)
        async with bounded(f"The fixture {name}", CLOCK.left):
            value = await anext(made)
        yield value
        async with bounded(f"The end of the fixture {name}", CLOCK.end):
            with contextlib.suppress(StopAsyncIteration):
                await anext(made)
                raise RuntimeError(f"The fixture {name} yields twice.")

    return lend


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTSIDE] = os.dup(2)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    CLOCK.set(settings.timeout)
    item.stash[SETTINGS] = settings


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    func = fixturedef.func
    if not (inspect.isasyncgenfunction(func) or inspect.iscoroutinefunction(func)):
        return (yield)
    # The fixture's own name for its function is not for writing to, for pyright alone.
    holder: Any = fixturedef
    holder.func = bound_fixture(func, fixturedef.argname)
    try:
        return (yield)
    finally:
        holder.func = func


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    test = pyfuncitem.obj
    examples = getattr(test, "hypothesis", None)
    holder, name = (examples, "inner_test") if examples else (pyfuncitem, "obj")
    before = getattr(holder, name)
    if inspect.iscoroutinefunction(before):
        setattr(holder, name, bound_test(before, pyfuncitem.name))
    try:
        return (yield)
    finally:
        setattr(holder, name, before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    settings, outside = item.stash.get(SETTINGS, None), item.config.stash[OUTSIDE]
    if settings is None:
        return (yield)
    seconds = min(TEARDOWN_SECONDS, settings.timeout)
    item.config.hook.pytest_timeout_set_timer(item=item, settings=settings._replace(timeout=seconds))
    last = threading.Timer(seconds * LAST, give_up, (item.nodeid, outside))
    last.daemon = True
    last.start()
    try:
        return (yield)
    finally:
        last.cancel()
        CLOCK.seconds = None


def give_up(name: str, outside: int) -> None:
    """Ends the worker, after it has said what every thread does."""
    lines = [f"\nThe teardown of {name} does not end, and its process is given up."]
    for frame in sys._current_frames().values():  # pyright: ignore[reportPrivateUsage]  # there is no other way
        lines += ["-- a thread:", *traceback.format_stack(frame)]
    os.write(outside, "\n".join(lines).encode())
    os._exit(1)
