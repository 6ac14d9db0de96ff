"""What Porch adds to a token and to a run: `uv run python -m benchmarks.stream [--rounds N] [--streams N]`.

A mock provider, a baseline without a platform in it, and a whole Porch server (authentication, row-level security,
committed messages, journal) run side by side and are asked in turn; figures are ratios within one run. The server
under test has a core of its own where there are two; PostgreSQL, provider and readers have the other. CPU time is
the server process' own, from /proc (Linux).
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import msgspec

from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.migrate import migrate
from porch.web.sockets import open_sockets

TESTS = {
    # name: pace, requests, at once, ramp in seconds
    "single": ("mock-ttft20-tok50-itl5", 30, 1, 0.0),
    "request": ("mock-tok1", 400, 4, 0.0),
    "slow": ("mock-ttft100-tok100-itl50", 500, 500, 2.0),
}


class Process:
    """A server under test, pinned to a core."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        self.name, self.port, self.process = name, port, process

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spawn(core: int, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A Python module as a process on one core."""
    process = subprocess.Popen([sys.executable, "-m", *words], env={**os.environ, **(env or {})})
    with contextlib.suppress(OSError):
        os.sched_setaffinity(process.pid, {core % (os.cpu_count() or 1)})
    return process


def free_port() -> int:
    sockets = open_sockets("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    for sock in sockets:
        sock.close()
    return port


async def listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def servers(folder: Path) -> AsyncGenerator[tuple[Process, Process, dict[str, str]]]:
    """The baseline, Porch, and the headers that Porch wants."""
    upstream, baseline, port = free_port(), free_port(), free_port()
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    postgres = EmbeddedPostgres(DataDir(folder / "postgres"))
    urls = await postgres.start()
    await migrate(urls.owner)
    env = {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
        "PORCH_DATABASE_URL": urls.app,
        "PORCH_MIGRATION_URL": urls.owner,
        "PORCH_LOCAL_MODEL": "false",
        "PORCH_LOG_LEVEL": "warning",
    }
    up = ["porch.cli.main", "up", "--data-dir", str(folder / "porch"), "--port", str(port)]
    started = [
        spawn(1, "benchmarks.upstream", str(upstream)),
        spawn(0, "benchmarks.baseline", str(baseline), str(upstream)),
        spawn(0, *up, env=env),
    ]
    try:
        for each in (upstream, baseline, port):
            await listening(each)
        # The port is open before the server is ready; its answer is not.
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://localhost:{port}/readyz") as answer,
        ):
            answer.raise_for_status()
        credentials = msgspec.json.decode((folder / "porch" / "credentials.json").read_bytes())
        headers = {"Authorization": f"Bearer {credentials['token']}"}
        yield Process("baseline", baseline, started[1]), Process("porch", port, started[2]), headers
    finally:
        for process in started:
            process.terminate()
            process.wait()
        await postgres.stop()


def raw(path: str, headers: dict[str, str], body: Any) -> str:
    data = msgspec.json.encode(body).decode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(data)}\r\n{lines}\r\n{data}"


async def requests_for(target: Process, headers: dict[str, str], pace: str, count: int) -> list[str]:
    """Raw requests; Porch's conversations are made beforehand and not timed."""
    if target.name == "baseline":
        body = {"model": pace, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        return [raw("/v1/chat/completions", {}, body)] * count
    base = f"http://localhost:{target.port}/api/v1"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{base}/me") as answer:
            workspace = (await answer.json())["workspaces"][0]["handle"]
        agents = f"{base}/workspaces/{workspace}/agents"
        await session.post(agents, json={"name": "bench", "instructions": "", "model": "openai:mock"})
        made: list[str] = []
        for _ in range(count):
            async with session.post(f"{agents}/bench/conversations", json={}) as answer:
                made.append((await answer.json())["id"])
    wanted = {**headers, "Accept": "text/event-stream"}
    body = {"input": f"Hello [[{pace}]]"}
    return [raw(f"/api/v1/conversations/{name}/runs", wanted, body) for name in made]


async def measure(target: Process, headers: dict[str, str], test: str, streams: int) -> dict[str, float]:
    pace, count, at_once, ramp = TESTS[test]
    if test == "slow":
        count = at_once = streams
    plan = {
        "port": target.port,
        "requests": await requests_for(target, headers, pace, count),
        "at_once": at_once,
        "ramp": ramp,
        "mark": '"type":"stream.chunk"',
    }
    before = target.cpu_seconds()
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, _ = await load.communicate(msgspec.json.encode(plan))
    found: dict[str, float] = msgspec.json.decode(out)
    spent = target.cpu_seconds() - before
    if found["complete"] != count:
        raise SystemExit(
            f"{target.name}, {test}: only {found['complete']} of {count} streams came to their end."
        )
    return {**found, "cpu_us_per_token": spent * 1e6 / found["tokens"], "cpu_us_per_run": spent * 1e6 / count}


async def run(rounds: int, streams: int) -> None:
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="porch-bench-") as folder:
        Path(folder).chmod(0o755)
        async with servers(Path(folder)) as (baseline, porch, headers):
            for number in range(rounds + 1):  # the first warms both up
                for test in TESTS:
                    for target in (baseline, porch):
                        found = await measure(target, headers, test, streams if number else 20)
                        if number:
                            results.setdefault((target.name, test), []).append(found)
                        print(f"round {number} {test:8} {target.name}", file=sys.stderr, flush=True)
    report(results, rounds)


def report(results: dict[tuple[str, str], list[dict[str, float]]], rounds: int) -> None:
    """Medians over the rounds, and Porch's ratio to the baseline."""

    def of(target: str, test: str, figure: str) -> float:
        return median(found[figure] for found in results[target, test])

    print(f"Medians of {rounds} round(s), {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores\n")
    print(f"{'':44}{'baseline':>10}{'porch':>10}{'ratio':>8}")
    rows = [
        ("time to first token, one stream (ms)", "single", "first_ms"),
        ("time to first token p99, slow streams (ms)", "slow", "first_p99_ms"),
        ("server CPU per token, slow streams (us)", "slow", "cpu_us_per_token"),
        ("server CPU per run of one token (us)", "request", "cpu_us_per_run"),
        ("runs per second, four at a time", "request", "runs_per_second"),
    ]
    for text, test, figure in rows:
        base, ours = of("baseline", test, figure), of("porch", test, figure)
        print(f"{text:44}{base:10.1f}{ours:10.1f}{ours / base:8.2f}")
    added = of("porch", "single", "first_ms") - of("baseline", "single", "first_ms")
    print(f"\nadded time to first token, p50: {added:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=500, help="streams at once in the slow test")
    options = parser.parse_args()
    asyncio.run(run(options.rounds, options.streams))


if __name__ == "__main__":
    main()
