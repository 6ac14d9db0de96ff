"""Tasks that work in the background: how they are ended, and at what one stands that does not end."""

import asyncio
import gc
import logging
from collections.abc import Coroutine, Generator, Iterable
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, cast

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
# A cancel can get lost in a library: Python 3.11's own `wait_for` drops one that comes as its work is done.
AGAIN_SECONDS = 1.5
MOST_PLACES = 4
_WALKED: tuple[type[Any], ...] = (CoroutineType, GeneratorType, AsyncGeneratorType, asyncio.Task)


async def end(
    *tasks: "asyncio.Task[Any] | None", grace: float = 0.0, seconds: float = PATIENCE_SECONDS
) -> bool:
    """Cancel tasks and wait until they are gone: again and again, but no longer than so many seconds.

    With `grace` they have so long to end by themselves first. False when some are left, which the log names with the
    place where they stand. Who is cancelled here meanwhile is so when this is over, and not before.
    """
    loop = asyncio.get_running_loop()
    left = {task for task in tasks if task is not None}
    cancelled: asyncio.CancelledError | None = None
    began = loop.time()
    while left and (rest := began + grace + seconds - loop.time()) > 0:
        pause = began + grace - loop.time()
        if pause <= 0 or cancelled:
            for task in left:
                task.cancel()
            pause = AGAIN_SECONDS
        try:
            left = (await asyncio.wait(left, timeout=min(pause, rest)))[1]
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if task is not None and task.done() and not task.cancelled():
            task.exception()  # else asyncio says that nobody asked for it
    if left:
        log.warning("Left behind, since they did not end in %g s: %s", seconds, describe_all(left))
    if cancelled:
        raise cancelled
    return not left


def is_cancelled() -> bool:
    """Whether somebody has cancelled this task: in the midst of a statement, what is raised may say something else."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def describe_all(tasks: "Iterable[asyncio.Task[Any]]") -> str:
    """Tasks by name, each with where it stands."""
    return "; ".join(sorted(map(describe, tasks)))


def describe(task: "asyncio.Task[Any]") -> str:
    """Its name and where it stands, the innermost place first: `lease at asyncpg/pool.py:1057 in release, …`."""
    places = [describe_frame(frame) for frame in reversed(_frames(task))]
    return f"{task.get_name()} at {', '.join(places[:MOST_PLACES]) or 'its end'}"


def describe_frame(frame: FrameType) -> str:
    """`runs/lease.py:118 in _keep`."""
    code = frame.f_code
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}:{frame.f_lineno} in {code.co_name}"


def _frames(task: "asyncio.Task[Any]") -> list[FrameType]:
    """From the outermost to where it waits. `Task.get_stack` knows the outermost alone."""
    found: list[FrameType] = []
    awaited: Any = task.get_coro()
    seen: set[int] = set()
    while awaited is not None and id(awaited) not in seen:
        seen.add(id(awaited))
        for name in ("cr_frame", "gi_frame", "ag_frame"):
            if (frame := getattr(awaited, name, None)) is not None:
                found.append(frame)
        awaited = _awaited_by(awaited)
        if isinstance(awaited, asyncio.Task):
            awaited = cast("asyncio.Task[Any]", awaited).get_coro()
    return found


def _awaited_by(awaited: Any) -> Any:
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(awaited, name):
            return getattr(awaited, name)
    # What stands between two of them (a step of a generator, another task that is awaited) names neither.
    referents: list[Any] = gc.get_referents(awaited)
    return next((each for each in referents if isinstance(each, _WALKED)), None)


class Stepped:
    """The rest of a coroutine that was stepped by hand up to its first suspension."""

    def __init__(self, step: Coroutine[Any, Any, None], waiting: Any) -> None:
        self._step = step
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, None]:
        waiting = self._waiting
        while True:
            try:
                sent = yield waiting
            except BaseException as error:
                resume, value = self._step.throw, error
            else:
                resume, value = self._step.send, sent
            try:
                waiting = resume(value)
            except StopIteration:
                return
