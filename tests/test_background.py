"""Background tasks end: also those that lose a cancel, and those that hear none are named and left."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from porch import background
from porch.background import describe, end


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.01)


async def deaf(times: int) -> None:
    """Loses so many cancels."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if times <= 0:
                raise
            times -= 1


async def begun(task: "asyncio.Task[None]") -> "asyncio.Task[None]":
    await asyncio.sleep(0)
    return task


async def test_a_task_that_loses_a_cancel_gets_another_one() -> None:
    task = await begun(asyncio.create_task(deaf(2)))
    assert await end(task, None)
    assert task.cancelled()


async def test_a_task_that_hears_no_cancel_is_named_with_its_place_and_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = await begun(asyncio.create_task(deaf(10**6), name="stubborn"))
    other = await begun(asyncio.create_task(deaf(0), name="obedient"))
    assert not await end(task, other, seconds=0.05)
    assert "did not end in 0.05 s: stubborn at asyncio/locks.py" in caplog.text
    assert "tests/test_background.py" in caplog.text
    assert "obedient" not in caplog.text
    task.get_coro().close()


async def test_with_grace_a_task_may_end_by_itself() -> None:
    done = asyncio.Event()
    task = await begun(asyncio.create_task(done.wait()))  # pyright: ignore[reportArgumentType]  # whatever it answers
    asyncio.get_running_loop().call_later(0.02, done.set)
    assert await end(task, grace=5)
    assert not task.cancelled()


async def test_a_failure_of_a_task_that_is_ended_is_its_own() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    assert await end(await begun(asyncio.create_task(fail())))


async def test_who_is_cancelled_while_it_ends_others_has_ended_them_all_the_same() -> None:
    task = await begun(asyncio.create_task(deaf(3)))
    ending = asyncio.create_task(end(task))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    assert ending.cancelled()
    assert task.cancelled()


async def test_of_a_task_the_innermost_place_is_told_through_whatever_it_waits_in() -> None:
    @asynccontextmanager
    async def held() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await innermost()

    async def innermost() -> None:
        await asyncio.get_running_loop().create_future()

    async def inner() -> None:
        async with held():
            pass

    async def outer() -> None:
        await asyncio.create_task(inner())

    task = asyncio.create_task(outer(), name="outer")
    for _ in range(3):
        await asyncio.sleep(0)
    said = describe(task)
    assert said.startswith("outer at tests/test_background.py:")
    assert "in innermost, tests/test_background.py" in said
    assert "in held" in said
    await end(task)
