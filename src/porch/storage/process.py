"""Child processes of the embedded PostgreSQL: under its account, in a session of their own."""

import asyncio
import os
import sys
from pathlib import Path
from typing import IO

from porch.contract.errors import SetupError
from porch.storage.account import Account

LAUNCHER = Path(__file__).with_name("launcher.py")


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """What a PostgreSQL program may see: no PG* variable of the user's, messages in English."""
    kept = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if key in os.environ}
    return {"PATH": "/usr/bin:/bin", **kept, "LC_ALL": "C", **(extra or {})}


async def spawn(
    command: list[str],
    account: Account,
    *,
    output: IO[bytes] | int,
    stdin: int | None = None,
    errors: IO[bytes] | int = asyncio.subprocess.STDOUT,
    die_with_us: bool = True,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> asyncio.subprocess.Process:
    """Starts `command` as `account`. `die_with_us` sends it SIGINT when we die (Linux).

    To be awaited in the event loop's own thread: the parent-death signal is tied to the forking thread.
    """
    uid, gid = (account.uid, account.gid) if account.drops else (-1, -1)
    parent = os.getpid() if die_with_us else 0
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(LAUNCHER),
        str(uid),
        str(gid),
        str(parent),
        *command,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
        stdout=output,
        stderr=errors,
        env=child_environment(env),
        cwd=cwd or "/",
        start_new_session=True,
    )


async def run(
    command: list[str],
    account: Account,
    *,
    what: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Runs `command` to its end and returns what it printed. Raises SetupError with its last words."""
    process = await spawn(command, account, output=asyncio.subprocess.PIPE, env=env, cwd=cwd)
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    text = output.decode(errors="replace").strip()
    if process.returncode != 0:
        raise SetupError(f"{what} failed ({describe_exit(process.returncode)}): {_last_words(text)}")
    return text


def _last_words(text: str) -> str:
    """The lines that name what went wrong; a program's cleaning up after it is nobody's concern."""
    lines = text.splitlines()
    errors = [line for line in lines if "error:" in line.lower() or "FATAL:" in line or "PANIC:" in line]
    return " ".join(line.strip() for line in (errors or lines)[-3:])[-600:] or "no words"


def describe_exit(code: int | None) -> str:
    """`exit code 1`, `signal 9`: how a process ended, for a sentence."""
    if code is None:
        return "still running"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
