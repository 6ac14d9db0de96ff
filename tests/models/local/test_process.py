"""The demo model's child: a real process with the real weights, killed, orphaned and stopped."""

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from porch.contract.errors import SetupError, Unavailable
from porch.models.local import process, weights
from porch.models.local.process import Endpoint, LocalModel
from porch.models.local.serve import CONTEXT_TOKENS, MODEL_NAME


def _weights_missing() -> bool:
    try:
        weights.find(Path("nowhere"))
    except SetupError:
        return True
    return False


needs_weights = pytest.mark.skipif(_weights_missing(), reason="the demo model is missing: run `uv sync`")


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[LocalModel]:
    local = LocalModel(tmp_path)
    yield local
    await local.stop()


async def ask(endpoint: Endpoint, text: str, **settings: object) -> tuple[int, list[dict[str, Any]]]:
    """Status and the data frames of one streamed chat completion."""
    body = {"messages": [{"role": "user", "content": text}], "stream": True, **settings}
    headers = {"Authorization": f"Bearer {endpoint.api_key}"}
    url = f"{endpoint.base_url}/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        raw = (await answer.read()).decode()
        if answer.status != 200:
            return answer.status, [json.loads(raw)]
        frames = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: {")]
        return answer.status, [json.loads(frame) for frame in frames]


def text_of(frames: list[dict[str, Any]]) -> str:
    deltas = [choice["delta"] for frame in frames for choice in frame["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def wait_for_death(pid: int) -> None:
    """Wait until a child of this process is dead, and leave it to be buried by its owner."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@needs_weights
async def test_a_question_gets_a_streamed_answer_with_usage(model: LocalModel) -> None:
    assert model.state == "idle"
    endpoint = await model.endpoint()
    assert model.state == "ready"
    status, frames = await ask(
        endpoint, "Say hello in one sentence.", max_tokens=16, stream_options={"include_usage": True}
    )
    assert status == 200
    assert text_of(frames)
    assert frames[-1]["usage"]["completion_tokens"] <= 16
    assert {frame["model"] for frame in frames} == {MODEL_NAME}


@needs_weights
async def test_two_conversations_are_answered_at_the_same_time_and_the_same_question_alike(
    model: LocalModel,
) -> None:
    endpoint = await model.endpoint()
    answers = await asyncio.gather(*(ask(endpoint, "What can you do?", max_tokens=12) for _ in range(2)))
    first, second = (text_of(frames) for _, frames in answers)
    assert first == second != ""


@needs_weights
async def test_callers_at_the_same_time_share_one_start(model: LocalModel) -> None:
    starts = [asyncio.create_task(model.endpoint()) for _ in range(4)]
    await asyncio.sleep(0)
    assert model.state == "starting"
    starts[0].cancel()
    endpoints = await asyncio.gather(*starts[1:])
    assert len(set(endpoints)) == 1
    assert len(_children("porch.models.local.serve")) == 1


@needs_weights
async def test_a_killed_model_comes_back_with_the_next_question(model: LocalModel) -> None:
    before = after = await model.endpoint()
    for _ in range(2):
        assert model.pid is not None
        pid = model.pid
        os.kill(pid, signal.SIGKILL)
        wait_for_death(pid)
        assert model.state.startswith("failed: The bundled model was killed (signal 9")
        after = await model.endpoint()
        assert after != before
        assert model.state == "ready"
    status, _ = await ask(after, "Hello", max_tokens=2)
    assert status == 200


@needs_weights
async def test_stopping_leaves_no_process_and_starting_again_works(model: LocalModel) -> None:
    await model.start()
    assert model.pid is not None
    pid = model.pid
    await model.stop()
    assert model.state == "idle"
    assert not _alive(pid)
    await model.start()
    assert model.state == "ready"


@needs_weights
async def test_stopping_in_the_middle_of_a_start_leaves_no_process(model: LocalModel) -> None:
    start = asyncio.create_task(model.start())
    while not (pids := _children("porch.models.local.serve")):
        await asyncio.sleep(0)
    await model.stop()
    with pytest.raises(Unavailable, match="was stopped while it started"):
        await start
    assert not any(_alive(pid) for pid in pids)
    assert model.state == "idle"


@needs_weights
def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from porch.models.local.process import LocalModel\n"
        "async def main():\n"
        "    model = LocalModel(pathlib.Path(sys.argv[1]))\n"
        "    await model.start()\n"
        "    print(model.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watched = os.pidfd_open(child)
        parent.kill()
    try:
        assert select.select([watched], [], [], 10)[0], "the model outlived its parent"
    finally:
        os.close(watched)


@needs_weights
async def test_the_child_refuses_whoever_lacks_its_key_and_lets_no_page_read_it(model: LocalModel) -> None:
    endpoint = await model.endpoint()
    status, frames = await ask(Endpoint(endpoint.base_url, "guessed"), "Hello")
    assert (status, frames[0]["error"]["type"]) == (401, "authentication_error")
    assert endpoint.api_key not in repr(endpoint)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{endpoint.base_url}/models", headers={"Origin": "https://page.example"}) as answer,
    ):
        assert answer.status == 401
        assert answer.headers.get("Access-Control-Allow-Origin") not in {"*", "https://page.example"}


@needs_weights
async def test_the_child_sees_none_of_the_servers_keys_and_keeps_out_of_its_session(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-the-child")
    await model.start()
    assert model.pid is not None
    assert os.getsid(model.pid) == model.pid
    if sys.platform == "linux":
        assert b"sk-not-for-the-child" not in Path(f"/proc/{model.pid}/environ").read_bytes()


@needs_weights
async def test_a_prompt_beyond_the_context_is_refused_with_its_size(model: LocalModel) -> None:
    status, frames = await ask(await model.endpoint(), "word " * CONTEXT_TOKENS)
    assert status == 400
    assert frames[0]["error"]["type"] == "exceed_context_size_error"
    assert frames[0]["error"]["n_ctx"] == CONTEXT_TOKENS


@needs_weights
async def test_instructions_read_ahead_are_not_read_again(model: LocalModel) -> None:
    instructions = "You are a helpful assistant on a porch. " * 8
    await model.warm(instructions)
    endpoint = await model.endpoint()
    # Written alongside it and longer than it: when this one is done, so is the reading ahead.
    await ask(endpoint, "Tell me about the garden.", max_tokens=40)
    messages = [{"role": "system", "content": instructions}, {"role": "user", "content": "Hello"}]
    _, frames = await ask(endpoint, "", messages=messages, max_tokens=1)
    assert frames[-1]["timings"]["cache_n"] > 40


async def test_missing_weights_name_the_command_that_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = dataclasses.replace(weights.SMOLLM2, package="porch_has_no_such_package")
    monkeypatch.setattr(weights, "find", functools.partial(weights.find, release=absent))
    model = LocalModel(tmp_path)
    assert model.state == "absent"
    with pytest.raises(SetupError, match="porch model install"):
        await model.endpoint()


async def test_a_child_that_cannot_load_says_why_and_where_its_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(data_dir: Path) -> Path:
        return data_dir / "broken.gguf"

    find(tmp_path).write_bytes(b"not a model")
    monkeypatch.setattr(weights, "find", find)
    model = LocalModel(tmp_path)
    with pytest.raises(Unavailable, match="did not start") as raised:
        await model.endpoint()
    assert str(model.log) in raised.value.message
    assert "broken.gguf" in model.log.read_text()
    assert model.state.startswith("failed: The bundled model did not start")


async def test_a_model_that_keeps_dying_rests_instead_of_being_started_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "find", Path)
    monkeypatch.setattr(process, "FIRST_PAUSE", 0.0)
    model = LocalModel(tmp_path, command=[sys.executable, "-c", "raise SystemExit(3)"])
    for _ in range(process.MOST_CRASHES):
        with pytest.raises(Unavailable, match="did not start: it ended by itself with exit code 3"):
            await model.start()
    with pytest.raises(Unavailable, match=r"stopped 20 times within a minute and rests for \d+ s"):
        await model.start()


async def test_a_child_that_reads_nothing_does_not_hold_up_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "find", Path)
    monkeypatch.setattr(process, "STOP_SECONDS", 0.1)
    report = json.dumps({"url": "http://127.0.0.1:1", "api_key": "", "load_seconds": 0})
    # It is killed long before that minute is over, and where it is not the minute leaves no child behind.
    code = f"import time; print({report!r}, flush=True); time.sleep(60)"
    model = LocalModel(tmp_path, command=[sys.executable, "-c", code])
    await model.start()
    assert model.pid is not None
    pid = model.pid
    saying = asyncio.create_task(model.warm("x" * 1_000_000))
    await asyncio.sleep(0)  # its thread fills the pipe
    async with asyncio.timeout(10):
        await model.stop()
        await saying
    assert not _alive(pid)


def test_nothing_is_said_to_a_child_whose_end_came_first() -> None:
    child = process._Child([sys.executable, "-c", ""])  # pyright: ignore[reportPrivateUsage]  # threads meet there alone
    child.end()
    child.say("You are a porch.")
    assert child.process.returncode == 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _children(needle: str) -> list[int]:
    """This process's children whose command line holds `needle`."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end between the listing and the reading
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and needle.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
