"""`porch conformance`: whether a server keeps the stream contract, law by law, seen from outside."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import click

from porch.cli.invocation import common, current
from porch.cli.prose import Prose
from porch.cli.terminal import console, has_colour, is_terminal, neutral, paint, plain
from porch.client.credentials import find_access
from porch.conformance import kit
from porch.conformance.model import Finding, Report
from porch.contract.errors import SetupError

WIDE, MOST_BREACHES = 100, 3
SIGNS = {"ok": ("ok", "green"), "breach": ("BREACH", "red"), "skipped": ("skipped", "yellow")}
EPILOG = "Example: porch conformance http://localhost:8642 --also http://localhost:8643 --pid 4711"


@click.command(epilog=EPILOG)
@click.argument("url")
@click.option("--token", metavar="TOKEN", help="A token of this server (PORCH_TOKEN).")
@click.option("--agent", metavar="@WS/NAME", help="Ask this agent, and skip what needs the scripted model.")
@click.option("--also", multiple=True, metavar="URL", help="Another replica of it; may repeat.")
@click.option(
    "--pid",
    type=click.IntRange(min=2),
    metavar="PID",
    help="The process behind URL, which may be killed (SIGKILL).",
)
@click.option("--stranger", metavar="TOKEN", help="A token of somebody else, who must see nothing.")
@common(json=True)
def conformance(
    url: str,
    token: str | None,
    agent: str | None,
    also: tuple[str, ...],
    pid: int | None,
    stranger: str | None,
) -> None:
    """Check a server by the stream contract, from outside, and exit with 1 where it breaks a law.

    It need not be Porch. A throw-away agent with the scripted model answers, and is removed afterwards. With --pid
    that process is killed in the middle of an answer: the servers of --also must go on with it.
    """
    try:
        folder = current().data_dir
        environ = {**os.environ, "PORCH_DATA_DIR": folder} if folder else os.environ
        access = find_access(url, token, environ=environ)
        others = [find_access(other, access.token).url for other in also]
    except SetupError as error:
        raise click.UsageError(error.message) from error
    kill = _killer(pid) if pid is not None else None
    aside, began = Prose(sys.stderr), time.monotonic()
    report = asyncio.run(_check(access.url, access.token, others, agent, stranger, kill, aside))
    aside.rest()
    findings = report.findings()
    if current().json:
        _print_json(access.url, findings)
    else:
        _print(access.url, findings, time.monotonic() - began)
    if report.breaches:
        click.get_current_context().exit(1)


async def _check(
    url: str,
    token: str,
    also: Sequence[str],
    agent: str | None,
    stranger: str | None,
    kill: Callable[[], None] | None,
    aside: Prose,
) -> Report:
    try:
        async with kit.opened(url, token, also=also, agent=agent, stranger=stranger, kill=kill) as case:
            return await kit.check(case, aside.wait)
    except kit.Unusable as error:
        aside.rest()
        raise click.UsageError(error.message) from error


def _killer(pid: int) -> Callable[[], None]:
    """What kills that process. Raises UsageError where there is none, or it is not ours to kill."""
    if pid == os.getpid():
        raise click.UsageError(f"{pid} is this program itself. Give the server's process.")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise click.UsageError(f"There is no process {pid}. Give that of the server behind URL.") from None
    except PermissionError:
        raise click.UsageError(
            f"Process {pid} belongs to somebody else. Run this as its user, or leave --pid out."
        ) from None
    return lambda: os.kill(pid, signal.SIGKILL)


def _print_json(url: str, findings: Sequence[Finding]) -> None:
    items = [
        {
            "law": found.check.law,
            "check": found.check.key,
            "what": found.check.what,
            "verdict": found.verdict,
            "why": found.why,
            "evidence": found.evidence,
        }
        for found in findings
    ]
    print(json.dumps({"url": url, "items": items}))


def _print(url: str, findings: Sequence[Finding], seconds: float) -> None:
    if is_terminal(sys.stdout):
        _print_table(findings)
    else:
        for found in findings:
            cells = (found.check.law, found.check.key, found.check.what, found.verdict, found.why)
            print("\t".join(neutral(cell) for cell in cells))
    prose = Prose(sys.stdout)
    told = Counter[str]()
    for found in findings:
        told[found.check.key] += found.verdict == "breach"
        if found.verdict == "breach" and told[found.check.key] <= MOST_BREACHES:
            prose.line()
            law = f"Law {found.check.law}: " if found.check.law.isdigit() else f"{found.check.law}: "
            prose.hanging(paint(law, "red", sys.stdout), len(law), neutral(found.why))
            _print_evidence(found.evidence)
    counted = Counter({found.check.key: found.verdict for found in findings}.values())
    summary = ", ".join(f"{counted[kind]} {sign}" for kind, (sign, _) in SIGNS.items())
    prose.line()
    prose.line(f"{summary} · {url} in {seconds:.0f} s")


def _print_evidence(frames: Sequence[str]) -> None:
    """What the server sent, below the sentence that it proves."""
    if not is_terminal(sys.stdout):
        for frame in frames:
            print(f"  {neutral(frame)}")
        return
    from rich.padding import Padding
    from rich.text import Text

    for frame in frames:
        shown = Text(plain(neutral(frame), sys.stdout), style="dim", overflow="fold")
        console().print(Padding(shown, (0, 2, 0, 4)))


def _print_table(findings: Sequence[Finding]) -> None:
    """Why stands beside the verdict where there is room, else below what was checked; the same reason once."""
    from rich.table import Table
    from rich.text import Text

    wide = console().width >= WIDE
    table = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("", "law", "checked", "", *([""] if wide else [])):
        table.add_column(
            name, style="cyan" if name == "law" else "", no_wrap=name == "law" or (wide and bool(name))
        )
    law = reason = ""
    ways = Counter(found.check.key for found in findings)
    for found in {found.check.key: found for found in findings}.values():
        new = found.check.law != law
        why = found.why if new or found.why != reason else ""
        if found.verdict == "breach":
            why = f"in {ways[found.check.key]} ways" if ways[found.check.key] > 1 else ""
        law, reason = found.check.law, found.why
        sign, colour = SIGNS[found.verdict]
        what = Text(plain(found.check.what, sys.stdout))
        about = Text(plain(neutral(why), sys.stdout), style="dim")
        if why and not wide:
            what = Text("\n").join((what, about))
        verdict = Text(sign, style=colour if has_colour(sys.stdout) else "", no_wrap=True)
        table.add_row("", law if new else "", what, verdict, *([about] if wide else []))
    console().print(table)
