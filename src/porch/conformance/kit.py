"""All checks of one server, in order, and what became of each."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from porch.conformance import approvals, cursors, doors, kills, readers, telling
from porch.conformance.case import Case, Pace, refusal
from porch.conformance.model import CHECKS, Report
from porch.conformance.recording import Recording
from porch.conformance.server import Server
from porch.contract.errors import InvalidInput, PorchError

INSIDE = "shows only between a server and its model's provider"
NO_SCRIPT = "needs the scripted model, which the agent of --agent may not have"
Tell = Callable[[str], None]


class Unusable(InvalidInput):
    """Raised when the kit cannot begin as it was called."""

    code = "unusable"


@asynccontextmanager
async def opened(
    url: str,
    token: str,
    *,
    also: Sequence[str] = (),
    agent: str | None = None,
    stranger: str | None = None,
    kill: Callable[[], None] | None = None,
    pace: Pace | None = None,
) -> AsyncGenerator[Case]:
    """A server's case, with a throw-away agent unless one is given. Raises Unusable, WrongAddress."""
    if len({url, *also}) <= len(also):
        raise Unusable("One address is given twice. Give each replica's own, once.")
    servers = [Server(address, token) for address in (url, *also)]
    strange = Server(url, stranger) if stranger else None
    case = Case(servers[0], servers[1:], "", "", scripted=agent is None, pace=pace or Pace(), kill=kill)
    case.stranger = strange
    try:
        await _introduce(case, agent)
        yield case
    finally:
        for name in case.made:
            for server in servers:
                if (await server.ask("DELETE", f"{case.agents}/{name}", seconds=10.0)).status in (204, 404):
                    break
        for server in (*servers, case.stranger):
            if server:
                await server.close()


async def check(case: Case, tell: Tell = lambda _: None) -> Report:
    """Everything that can be checked here; `tell` hears what is being done."""
    case.report.skip(INSIDE, "unknown", "decoding")
    case.report.skip("no script can make an agent remember", "memory")
    if not case.scripted:
        script = ("cut", "nul-out", "retries", "leaving", "slow", "silence", "readers", "cancel", "future")
        case.report.skip(NO_SCRIPT, *script, "approvals", "elsewhere", "reaching", *kills.KEYS)
    async with asyncio.TaskGroup() as group:
        if case.scripted:
            group.create_task(attempt(case, ("silence",), lambda: readers.check_silence(case)))
        group.create_task(_one_by_one(case, tell))
    if case.scripted:
        tell("A reader that does not read, beside one that does …")
        await attempt(case, ("slow",), lambda: readers.check_slow(case))
        await _replicas(case, tell)
        await _kill(case, tell)
    _explain(case)
    return case.report


async def _one_by_one(case: Case, tell: Tell) -> None:
    talk = Recording()

    async def begin() -> None:
        nonlocal talk
        talk = await telling.check_talk(case)

    tell("A whole answer, its laws, and coming back to it …")
    await attempt(case, ("start",), begin)
    for keys, action in (
        (("replay",), cursors.check_replay),
        (("rest", "stronger", "done"), cursors.check_rest),
        (("ahead", "garbled"), cursors.check_odd),
        (("schema",), cursors.check_schema),
        (("message", "state"), telling.check_message),
        (("token", "another"), doors.check_walls),
    ):
        if talk.ended:
            await attempt(case, keys, partial(action, case, talk))
    tell("What HTTP promises of runs …")
    for keys, action in (
        (("start",), doors.check_start),
        (("twice", "other-body"), doors.check_keys),
        (("missing",), doors.check_missing),
        (("nul-in", "nul-out"), telling.check_nul),
    ):
        await attempt(case, keys, partial(action, case))
    if not case.scripted:
        return
    tell("Failures, retries, and readers that come and go …")
    for keys, action in (
        (("cut",), telling.check_failures),
        (("reasons",), telling.check_reasons),
        (("retries",), telling.check_retries),
        (("approvals",), approvals.check_approvals),
        (("cancel",), doors.check_cancel),
        (("leaving",), readers.check_leaving),
        (("readers",), readers.check_together),
        (("future",), cursors.check_future),
    ):
        await attempt(case, keys, partial(action, case))


async def _replicas(case: Case, tell: Tell) -> None:
    if not case.others:
        case.report.skip("needs another replica: give --also URL", "everywhere", "elsewhere", "reaching")
        return
    tell("Other replicas …")
    await attempt(case, ("everywhere",), lambda: cursors.check_everywhere(case))
    await attempt(case, ("elsewhere",), lambda: readers.check_elsewhere(case))
    await attempt(case, ("reaching",), lambda: readers.check_reaching(case))


async def _kill(case: Case, tell: Tell) -> None:
    if case.kill is None:
        case.report.skip("nothing may be killed: give --pid PID", *kills.KEYS)
        return
    tell("The server's process is killed in mid-answer …")
    await attempt(case, kills.KEYS, lambda: kills.check_kill(case))


async def attempt(case: Case, keys: Sequence[str], action: Callable[[], Awaitable[object]]) -> None:
    """A check that cannot come to its end is a breach, and what it did not reach is skipped."""
    try:
        await action()
    except* TimeoutError:
        case.report.breach(keys[0], f"It did not come to its end within {case.pace.answer:.0f} s.")
    except* PorchError as errors:
        case.report.breach(keys[0], str(errors.exceptions[0]))


def _explain(case: Case) -> None:
    """Why a check that a whole run would have shown was not made."""
    broken = {breach.check.key for breach in case.report.breaches}
    for one in CHECKS:
        if one.key not in case.report.seen and one.key not in broken:
            case.report.skip("no event came that could show it", one.key)


async def _introduce(case: Case, agent: str | None) -> None:
    me = await _known(case.server)
    for other in case.others:
        await _known(other)
    if agent is not None:
        workspace, _, name = agent.removeprefix("@").partition("/")
        if not (agent.startswith("@") and workspace and name):
            raise Unusable(f"{agent!r} is no agent's name; write @workspace/name.")
        case.workspace, case.agent = workspace, name
        try:
            await case.conversation()
        except InvalidInput as error:
            raise Unusable(error.message) from error
        return
    reached: list[dict[str, str]] = me.get("workspaces") or []
    case.workspace = reached[0]["handle"] if reached else ""
    made = await case.make_agent("", model=telling.MODEL, tools=["clock"])
    if made.status not in (200, 201):
        raise Unusable(
            f"No agent with a scripted model could be made: {refusal(made)} Give one of yours, --agent @workspace/name."
        )
    case.agent = case.made[0]
    case.stranger = case.stranger or await doors.admit_stranger(case)


async def _known(server: Server) -> dict[str, Any]:
    """Who the token stands for at this address. Raises Unusable."""
    try:
        answer = await server.ask("GET", "/api/v1/me")
    except PorchError as error:
        raise Unusable(error.message) from error
    if answer.status == 0:
        raise Unusable(f"No server answers at {server.url}. Give the address of one that runs.")
    if answer.status != 200:
        raise Unusable(f"{server.url} does not know the token: {refusal(answer)}")
    return answer.told
