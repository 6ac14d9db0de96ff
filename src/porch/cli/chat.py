"""`porch chat`: a conversation at the terminal. Ctrl-C stops an answer, not the program."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from porch.cli.attach import Link, reached
from porch.cli.given import not_utf8, read_stdin
from porch.cli.invocation import INTERRUPTED, Invocation, as_invoked, common, current, program
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.cli.terminal import has_colour, has_unicode, is_terminal, speak_safely
from porch.contract.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from porch.cli.reply import Outcome, Reply
    from porch.client import AsyncPorch, RunStream

HISTORY = "chat_history"
HISTORY_LINES = 500


@click.command(epilog='Example: porch chat @home/hello --message "Good evening!"')
@click.argument("agent", metavar="@WORKSPACE/AGENT")
@click.option("--conversation", metavar="ID", help="Go on with this one.")
@click.option("--message", "-m", metavar="TEXT", help="Say this, print the answer, and leave.")
@common(json=True)
def chat(agent: str, conversation: str | None, message: str | None) -> None:
    """Talk with an agent.

    Without --message this is a dialogue; where stdin is no terminal, what it holds is the message. Ctrl-C stops
    an answer; pressed twice at the prompt it leaves. A lost connection is taken up again.
    """
    invocation = current()
    speak_safely()
    if message is None and not is_terminal(sys.stdin):
        message = read_stdin("The message")
    with reached(invocation.resolve(), QuietStart()) as link:
        workspace, name = split_address(agent, link.server.workspace)
        if conversation is None:
            conversation = _begin(invocation, link, workspace, name)
            fresh = True
        else:
            fresh = False
        if message is not None:
            say_once(invocation, link, conversation, message, f"@{workspace}/{name}")
            return
        prose = Prose(sys.stdout)
        prose.line()
        prose.line(f"@{workspace}/{name}", "bold")
        prose.line("Ctrl-C stops an answer, twice leaves.", "dim")
        if not fresh:
            link.run(_catch_up(link.client, conversation, prose))
        try:
            converse(link, conversation, prose, history=invocation.settings().data_dir / HISTORY)
        finally:
            address = f"@{workspace}/{name}"
            prose.line()
            prose.line("Come back with:", "dim")
            prose.raw(f"  {program()} chat{invocation.options} {address} --conversation {conversation}")


def converse(
    link: Link, conversation: str, prose: Prose, *, history: Path | None = None, leave_on_empty: bool = False
) -> None:
    """Ask at the prompt and show the answers, until the person leaves."""
    with _remembered(history):
        pressed = False
        while True:
            prose.line()
            try:
                message = input(_prompt(prose))
            except EOFError:
                prose.end(always=True)
                return
            except UnicodeDecodeError:
                prose.line(not_utf8("The message"), "red")
                continue
            except KeyboardInterrupt:
                prose.end(always=True)
                if pressed or leave_on_empty:
                    return
                pressed = True
                prose.line("Ctrl-C once more leaves.", "dim")
                continue
            pressed = False
            if not message.strip():
                if leave_on_empty:
                    return
                continue
            prose.line()
            _speak(link, conversation, message, prose)


def split_address(agent: str, own: str) -> tuple[str, str]:
    """`@ws/agent`, or `agent` in one's own workspace, as its two names. Raises InvalidInput."""
    workspace, slash, name = agent.removeprefix("@").rpartition("/")
    if not name or "/" in workspace or (slash and not workspace):
        raise InvalidInput(f"{agent!r} names no agent; write @workspace/agent, such as @{own}/hello.")
    return workspace or own, name


async def answer(
    client: "AsyncPorch",
    conversation: str,
    message: str,
    prose: Prose,
    aside: Prose | None = None,
    *,
    quiet: bool = False,
) -> "Outcome":
    """Say something and show the answer; Ctrl-C cancels it. A failure is told with a way forward."""
    from porch.cli.reply import Reply

    reply = Reply(prose, aside, quiet=quiet)
    return await _follow_on(client, client.stream(conversation, message), reply, aside or prose)


async def _follow_on(client: "AsyncPorch", stream: "RunStream", reply: "Reply", aside: Prose) -> "Outcome":
    """Show an answer over its pauses: calls that wait for this person are asked about, then it goes on."""
    from porch.cli.inbox import quota_of, settle, tell_waiting, waiting_of

    outcome = await _follow(client, stream, reply, aside)
    while outcome.status == "paused" and outcome.run and outcome.cursor:
        if outcome.reason == "quota":
            aside.line(await quota_of(client, outcome.run), "yellow")
            break
        waiting = await waiting_of(client, outcome.run)
        if not (is_terminal(sys.stdin) and aside.terminal):
            tell_waiting(waiting, aside, current().options)
            break
        if not await settle(client, waiting, aside):
            tell_waiting(await waiting_of(client, outcome.run), aside, current().options)
            break
        outcome.status = "open"
        outcome = await _follow(client, client.resume(outcome.run, outcome.cursor), reply, aside)
    return outcome


def _speak(link: Link, conversation: str, message: str, prose: Prose) -> None:
    """One turn of a dialogue."""
    from porch.contract.errors import PorchError

    try:
        link.run(answer(link.client, conversation, message, prose))
    except PorchError as error:
        # A refused message ends a turn and not the dialogue.
        prose.line(as_invoked(error.message), "red")


async def _follow(client: "AsyncPorch", stream: "RunStream", reply: "Reply", aside: Prose) -> "Outcome":
    following = asyncio.create_task(reply.follow(stream))
    cancelling: list[asyncio.Task[Any]] = []

    def press() -> None:
        if cancelling:
            following.cancel()
        else:
            cancelling.append(asyncio.create_task(_cancel(client, stream)))

    with _on_interrupt(press), _unechoed():
        try:
            outcome = await following
        except asyncio.CancelledError:
            if not following.cancelled():
                following.cancel()
                raise
            outcome = reply.outcome
    for task in cancelling:
        task.cancel()
    _tell_end(outcome, aside)
    return outcome


async def _cancel(client: "AsyncPorch", stream: "RunStream") -> None:
    await client.cancel(await stream.known())


def _tell_end(outcome: "Outcome", aside: Prose) -> None:
    match outcome.status:
        case "failed" if outcome.error:
            aside.line(as_invoked(outcome.error.message), "red")
            ways = {"auth": "models", "quota": "models", "bad_request": "models", "not_found": "models"}
            way = ways.get(outcome.error.category, "doctor")
            again = "Ask again, or see what is wrong with" if outcome.error.retryable else "See"
            aside.line(f"{again}: {program()} {way}", "dim")
        case "cancelled":
            aside.line("Stopped; what was said so far is kept.", "dim")
        case "open":
            aside.line("Left alone; the answer goes on without us.", "dim")
        case _:
            pass


def _begin(invocation: Invocation, link: Link, workspace: str, name: str) -> str:
    """A new conversation's id. Raises NotFound with the way on when there is no such agent."""
    from porch.client import ApiError

    try:
        return str(link.run(link.client.conversations.create(workspace, name))["id"])
    except ApiError as error:
        if error.status != NotFound.status:
            raise
        call, options = program(), invocation.options
        raise NotFound(
            f"{error.message} See those you have ({call} agents list{options}), or make it "
            f"({call} new{options} {name})."
        ) from error


def say_once(invocation: Invocation, link: Link, conversation: str, message: str, address: str) -> None:
    """Say one message, print the answer alone, and leave with what became of it."""
    from porch.cli.reply import result_of
    from porch.client import ConnectionLost

    aside = Prose(sys.stderr)
    prose = Prose(sys.stdout, margin=0)
    try:
        outcome = link.run(answer(link.client, conversation, message, prose, aside, quiet=invocation.json))
    except ConnectionLost as error:
        _tell_lost(error, aside, invocation.options, f"{address} --conversation {conversation}")
        raise click.exceptions.Exit(1) from error
    if invocation.json:
        print(json.dumps({"conversation": conversation, **result_of(outcome)}, ensure_ascii=False))
    if outcome.status in ("cancelled", "open"):
        raise click.exceptions.Exit(INTERRUPTED)
    if outcome.status != "finished":
        raise click.exceptions.Exit(1)


def _tell_lost(error: Exception, aside: Prose, options: str, place: str) -> None:
    from porch.cli.commands import tell_commands

    aside.line(as_invoked(str(error)), "red")
    call = program()
    tell_commands(
        aside,
        [(f"{call} up{options}", "start the server"), (f"{call} chat{options} {place}", "see the answer")],
    )


async def _catch_up(client: "AsyncPorch", conversation: str, prose: Prose) -> None:
    """Show the last exchange, and follow an answer that is still being given."""
    from porch.cli.reply import Reply

    messages = [message async for message in client.conversations.messages(conversation)]
    for message in messages[-2:]:
        said = "".join(part.get("text", "") for part in message["parts"] if part["type"] == "text")
        prose.line()
        prose.line(f"{_mark(prose) if message['role'] == 'user' else ''}{said}", "dim")
    if messages and (run := messages[-1].get("run")) and messages[-1]["role"] == "user":
        state = await client.get_run(run)
        if state["status"] in ("running", "paused"):
            prose.line()
            await _follow_on(client, client.resume(run), Reply(prose), prose)


def _mark(prose: Prose) -> str:
    return "› " if has_unicode(prose.file) else "> "


def _prompt(prose: Prose) -> str:
    # readline must know which signs take no room.
    return (
        f"  \001\x1b[1;36m\002{_mark(prose)}\001\x1b[0m\002"
        if has_colour(prose.file)
        else f"  {_mark(prose)}"
    )


@contextlib.contextmanager
def _on_interrupt(press: Callable[[], None]) -> Generator[None]:
    loop = asyncio.get_running_loop()

    def interrupt(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(press)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _unechoed() -> Generator[None]:
    """Keys pressed while an answer is written do not appear in it; the next prompt gets them."""
    if not is_terminal(sys.stdin):
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = before.copy()
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _remembered(file: Path | None) -> Generator[None]:
    """Line editing, and the lines of earlier chats from `file` where the platform has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    readline.clear_history()
    if file:
        with contextlib.suppress(OSError):
            readline.read_history_file(file)
        readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        if file:
            with contextlib.suppress(OSError):
                os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
                readline.write_history_file(file)
