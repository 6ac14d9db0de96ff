"""The command, on servers that run: green where all is well, red where a check was taken out."""

import asyncio
import json
import os
import sys
from typing import Any

import pytest

from porch.storage.connection import connected
from tests.chaos.server import Server, installed
from tests.conftest import FreshUrls

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)


async def run(server: Server, *options: str, token: str = "") -> tuple[int, str, str]:
    """The command's exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "porch.cli.main", "security", "isolation", server.url, *options),
        env={
            "HOME": "/nonexistent",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            **({"PORCH_TOKEN": token} if token else {}),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode(), said.decode()


async def test_it_is_green_by_invitation_and_red_without_a_check(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls()
    settings: dict[str, Any] = {"database_url": urls.app, "migration_url": urls.owner, "multi_user": True}
    async with installed(**settings) as server:
        code, told, said = await run(server)
        assert (code, told) == (2, "")
        assert "Give a token of its operator" in said
        token = server.credentials.token
        code, told, said = await run(server, "--json", token=token)
        found = json.loads(told)
        assert (code, found["breaches"], found["unchecked"], said) == (0, [], [], "")
        assert found["cells"] > 4000
        assert len(found["left"]) == 3
        async with connected(urls.admin) as connection:
            text: str = await connection.fetchval(
                "SELECT pg_get_functiondef('porch.authenticate_credential(bytea)'::regprocedure)"
            )
            assert "(t.revoked_at IS NULL)" in text
            await connection.execute(text.replace("(t.revoked_at IS NULL)", "true"))
        code, told, said = await run(server, "--json", token=token)
        whys = {breach["why"] for breach in json.loads(told)["breaches"]}
        assert (code, said) == (1, "")
        assert "A revoked token: GET /api/v1/me is answered with 200, not 401." in whys
        assert {breach["caller"] for breach in json.loads(told)["breaches"]} >= {"a revoked token"}


async def test_a_server_of_one_person_is_tried_as_far_as_it_goes() -> None:
    async with installed() as server:
        code, told, said = await run(server, "--json", token=server.credentials.token)
        assert said == ""
        found = json.loads(told)
        assert (code, found["breaches"], found["left"], found["alone"]) == (0, [], [], True)
        assert found["cells"] > 900
