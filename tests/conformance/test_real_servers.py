"""The kit on real servers: two replicas of Porch on one PostgreSQL, of which the one that holds a run is killed."""

import asyncio
import json
import sys

import pytest

from tests.chaos.server import Server, installed
from tests.conftest import FreshUrls

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)

# What no script can bring about, seen from outside.
UNSEEN = {"unknown", "decoding", "memory"}


async def judge(server: Server, *options: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Run the command; its exit code, what it found by check, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "porch.cli.main", "conformance", server.url, "--json", *options),
        env={"PORCH_TOKEN": server.credentials.token, "HOME": str(server.settings.data_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, said = await process.communicate()
    items: list[dict[str, str]] = json.loads(told)["items"] if told else []
    assert process.returncode is not None
    return process.returncode, {item["check"]: item for item in items}, said.decode()


async def test_two_replicas_keep_every_law_while_the_one_that_holds_a_run_is_killed(
    fresh_urls: FreshUrls,
) -> None:
    urls = await fresh_urls()
    shared = {"database_url": urls.app, "migration_url": urls.owner}
    async with installed(**shared) as first, installed(**shared) as second:
        code, found, said = await judge(first, "--also", second.url, "--pid", str(first.pid))
        broken = [item for item in found.values() if item["verdict"] == "breach"]
        assert (code, broken, said) == (0, [], "")
        assert {key for key, item in found.items() if item["verdict"] == "skipped"} == UNSEEN
        assert await first.gone() == -9

        code, found, said = await judge(second, "--agent", "@nobody/nowhere")
        assert (code, found) == (2, {})
        assert "No conversation could be begun: 404" in said
        code, found, said = await judge(second, "--token", "porch_pat_wrong")
        assert (code, found) == (2, {})
        assert "does not know the token" in said
        code, found, said = await judge(second, "--pid", str(first.pid))
        assert (code, found) == (2, {})
        assert f"There is no process {first.pid}" in said
