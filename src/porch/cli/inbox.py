"""`porch inbox`, `porch approve` and `porch deny`: what waits for a person, and their word."""

import json
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from porch.cli.attach import Link, reached
from porch.cli.invocation import common, current, program
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.cli.tables import print_table
from porch.cli.terminal import is_terminal, paint
from porch.contract.errors import InvalidInput

if TYPE_CHECKING:
    from porch.client import AsyncPorch

DONE = {"approve": "approved", "deny": "denied"}


@click.command(epilog="Example: porch inbox --json")
@click.option("--decided", is_flag=True, help="What was decided, in place of what waits.")
@common(json=True)
def inbox(decided: bool) -> None:
    """What waits for you: tool calls with exactly the parameters that would run."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        found = link.run(_collect(link, decided=decided))
    if invocation.json:
        print(json.dumps({"items": found}, ensure_ascii=False))
        return
    if not is_terminal(sys.stdout):
        print_table((), [_row(one) for one in found], empty="")
        return
    prose = Prose(sys.stdout)
    if not found:
        prose.line("Nothing was decided yet." if decided else "Nothing waits for you.", "dim")
    for one in found:
        show(one, prose)
        if not one["decision"]:
            for act in ("approve", "deny"):
                prose.raw(paint(f"  {program()} {act}{invocation.options} {one['id']}", "cyan", prose.file))
        prose.line()


@click.command(epilog="Example: porch approve apr_0199…")
@click.argument("approval", metavar="ID")
@common(json=True)
def approve(approval: str) -> None:
    """Let a tool call run, with the parameters that were shown."""
    _decide(approval, "approve", None)


@click.command(epilog='Example: porch deny apr_0199… --note "Not before Monday."')
@click.argument("approval", metavar="ID")
@click.option("--note", metavar="TEXT", help="What the agent reads beside it.")
@common(json=True)
def deny(approval: str, note: str | None) -> None:
    """Refuse a tool call; the agent is told and goes on without it."""
    _decide(approval, "deny", note)


def show(approval: dict[str, Any], prose: Prose) -> None:
    """An approval with exactly what would run."""
    prose.line(f"{approval['agent']}  {approval['name']}", "bold")
    prose.line(approval["canonical"], "yellow")
    prose.line(approval["reason"], "dim")
    if approval["decision"]:
        done = DONE[approval["decision"]]
        prose.line(f"{done} by {approval['decided_by']} at {_minute(approval['decided_at'])}", "dim")
    else:
        prose.line(f"denied if nobody decides before {_minute(approval['expires_at'])}", "dim")


async def waiting_of(client: "AsyncPorch", run: str) -> list[dict[str, Any]]:
    """What a run waits for that this person may decide."""
    waits: dict[str, Any] | None = (await client.get_run(run)).get("waits_for")
    return [one for one in waits["approvals"] if one["may_decide"]] if waits else []


async def quota_of(client: "AsyncPorch", run: str) -> str:
    """What a run that waits for quota waits for, and until when."""
    waits: dict[str, Any] | None = (await client.get_run(run)).get("waits_for")
    latest = f", at the latest at {_minute(waits['until'])}" if waits and waits["until"] else ""
    return f"The workspace's quota is used up; the answer goes on when there is more{latest}."


async def settle(client: "AsyncPorch", waiting: list[dict[str, Any]], prose: Prose) -> bool:
    """Ask the person at the terminal about each call. False when they leave one undecided."""
    for one in waiting:
        prose.line()
        show(one, prose)
        said = _ask(prose)
        if said is None:
            return False
        await (client.approve if said else client.deny)(one["run"], one["id"])
    return bool(waiting)


def tell_waiting(waiting: list[dict[str, Any]], aside: Prose, options: str) -> None:
    """What must be decided elsewhere before the answer goes on."""
    for one in waiting:
        aside.line(f"The answer waits for a decision about {one['name']} {one['canonical']}", "yellow")
        for act in ("approve", "deny"):
            aside.raw(paint(f"  {program()} {act}{options} {one['id']}", "cyan", aside.file))


def _ask(prose: Prose) -> bool | None:
    """Yes, no, or neither: it waits on. Nothing else is going on meanwhile, so that the loop may stand still."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            prose.text("Let it run? [y/n, Enter decides later] ")
            prose.file.flush()
            try:
                said = sys.stdin.readline().strip().lower()
            except UnicodeDecodeError:
                said = "?"
            if said in ("", "y", "yes", "n", "no"):
                return said.startswith("y") if said else None
    except KeyboardInterrupt:
        prose.end(always=True)
        return None
    finally:
        signal.signal(signal.SIGINT, before)


def _decide(approval: str, decision: str, note: str | None) -> None:
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        one = link.run(_send(link, approval, decision, note))
    if invocation.json:
        print(json.dumps(one, ensure_ascii=False))
        return
    prose = Prose(sys.stdout)
    prose.line(f"{one['name']} {one['canonical']} is {DONE[one['decision']]}.")


async def _send(link: Link, approval: str, decision: str, note: str | None) -> dict[str, Any]:
    if not re.fullmatch(r"apr_\w+", approval):
        raise InvalidInput(f"{approval!r} is no approval's id. See those that wait: porch inbox")
    known = await link.client.approvals.get(approval)
    if decision == "approve":
        return await link.client.approve(known["run"], approval)
    return await link.client.deny(known["run"], approval, note=note)


async def _collect(link: Link, *, decided: bool) -> list[dict[str, Any]]:
    return [one async for one in link.client.approvals.list(decided=decided)]


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    state = DONE[one["decision"]] if one["decision"] else f"until {_minute(one['expires_at'])}"
    return one["id"], one["agent"], one["name"], one["canonical"], state


def _minute(time: str) -> str:
    return time[:16].replace("T", " ") + " UTC"
