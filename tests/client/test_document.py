"""docs/client.md: its examples are the files beside this one, and print what the page says."""

import asyncio
import re
import runpy
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from porch.client import AsyncPorch, Porch
from porch.contract.events import ApprovalRequested, ApprovalResolved, RunPaused, RunResumed
from tests.chaos.server import Server, installed
from tests.client.examples.approve import ask_a_person
from tests.client.fake import answers, frames, serving, streams
from tests.client.test_stream import WHOLE

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", PAGE, re.DOTALL | re.MULTILINE))
EXAMPLES = {path.stem: path for path in (HERE / "examples").glob("[a-z]*.py")}
STAND_IN = "approve"


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with installed(lease_seconds=10.0) as server:
        async with AsyncPorch(server.url, server.credentials.token) as porch:
            hello = {"name": "hello", "instructions": "Act.", "model": "scripted:test", "tools": ["clock"]}
            await porch.agents.create(server.credentials.workspace, hello)
        yield server


def test_every_example_of_the_page_is_a_file_that_is_checked() -> None:
    assert sorted(BLOCKS) == sorted(path.read_text(encoding="utf-8") for path in EXAMPLES.values())
    assert {name for name, path in EXAMPLES.items() if not BLOCKS[path.read_text(encoding="utf-8")]} == {
        STAND_IN
    }


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for its processes in /proc")
@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {STAND_IN}))
async def test_an_example_prints_what_the_page_says(
    server: Server,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PORCH_DATA_DIR", str(server.settings.data_dir))
    monkeypatch.delenv("PORCH_URL", raising=False)
    monkeypatch.delenv("PORCH_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(runpy.run_path, str(EXAMPLES[name]))
    assert capsys.readouterr().out == BLOCKS[EXAMPLES[name].read_text(encoding="utf-8")]


async def test_the_example_about_approvals_asks_a_person_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ApprovalRequested(
        approval="apr_1",
        call="c1",
        name="send",
        arguments={"to": "a"},
        reason="It costs.",
        expires=datetime(2026, 11, 24, tzinfo=UTC),
    )
    paused = [*WHOLE[:2], request, RunPaused(reason="approval")]
    decided = [
        RunResumed(reason="approval"),
        ApprovalResolved(approval="apr_1", decision="deny", by="user:usr_1"),
    ]
    acts = (streams(frames(*paused)), answers(200, {}), streams(frames(*paused, *decided, *WHOLE[2:])))

    def deny(_: str) -> str:
        return "n"

    monkeypatch.setattr("builtins.input", deny)
    async with serving(*acts) as (stand_in, fake):
        with Porch(stand_in.connection.base_url, "x") as porch:
            said = await asyncio.to_thread(ask_a_person, porch, "conv_1", "Send it")
    assert said == "Good evening."
    assert fake.requests[1][1].endswith("/approvals/apr_1")
    assert fake.bodies[1] == b'{"decision":"deny"}'
